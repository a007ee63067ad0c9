"""The figures of docs/data.md about shards are those of benchmarks/shards.json."""

import json
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_stored_figures() -> None:
    stored = json.loads((ROOT / "benchmarks/shards.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    speeds = {name: f"{statistics.median(each):,.0f}" for name, each in stored["images_per_second"].items()}
    assert f"by one process | {speeds['read_memory']} | {speeds['read_shards']} | |" in page
    for width, ratio in stored["train_ratios"].items():
        memory, shards = (speeds[f"train_{width}_{kind}"] for kind in ("memory", "shards"))
        assert f"| `dcgan --width {width}`: images/s | {memory} | {shards} | {ratio:.2f} |" in page
    first, last = (stored[f"peak_mb_after_{when}"] for when in ("100_batches", "an_epoch"))
    assert f"{first:,} MB after a hundred batches and {last:,} MB after an epoch" in page
