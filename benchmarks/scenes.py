"""Whether samples show what captions of held-out combinations say, and how they vary within a caption.

python benchmarks/scenes.py runs/gan_cls-scenes --out benchmarks/scenes.json

Of runs of gan_cls and stackgan on scenes, the scores that `ganforge evaluate` gives too, with the options
and the minutes of the training.
"""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import torch
from record import record

import ganforge
from ganforge.evaluation.score import NUM_SAMPLES, Evaluated
from ganforge.evaluation.scores.scenes import score_scenes
from ganforge.text.embeddings import data_of


def measure(place: Path, seed: int) -> dict[str, Any]:
    """The scores of a run, and what its training took."""
    trained = ganforge.load(place)
    dataset = data_of(trained.run)
    protocol = {"weights": "ema", "seed": seed, "step": trained.step}
    unused = torch.empty(NUM_SAMPLES, *dataset.spec.shape, dtype=torch.uint8)
    scores = score_scenes(Evaluated(dataset, unused, protocol, trained=trained))
    lines = [json.loads(line) for line in (trained.run.path / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in lines if line.get("kind") == "train" and "seconds" in line]
    return {
        "run": place.name,
        "system": trained.run.config.system,
        "step": trained.step,
        "options": trained.run.config.config,
        "minutes": round(max(seconds, default=0) / 60, 1),
        "scores": {score.name: round(score.value, 3) for score in scores},
        "protocol": scores[0].protocol,
    }


def main() -> None:
    """Measure the runs, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="runs of gan_cls or stackgan on scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [measure(run, given.seed) for run in given.runs]
    command = shlex.join(["python", "benchmarks/scenes.py", *map(str, given.runs)])
    record({"command": command, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
