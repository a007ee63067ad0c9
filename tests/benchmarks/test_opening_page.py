"""The figures of docs/data.md about opening a folder are those of benchmarks/opening.json."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_stored_figures() -> None:
    stored = json.loads((ROOT / "benchmarks/opening.json").read_text(encoding="utf-8"))
    page = " ".join((ROOT / "docs/data.md").read_text(encoding="utf-8").split())
    first, second = (stored[name] for name in ("first", "second"))
    assert first["fingerprint"] == second["fingerprint"]
    assert (
        f"folder of {first['images']:,} PNG files of 64x64 pixels is opened in {first['seconds']:.0f} s"
        in page
    )
    assert f"and in {second['seconds']:.1f} s after that" in page
