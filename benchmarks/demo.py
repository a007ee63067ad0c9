"""`ganforge demo` in a fresh process, and its scores next to those of the untrained generator.

    python benchmarks/demo.py --out benchmarks/demo.json

It makes `runs/demo` where it is run, which must not be there yet. That run remakes the image of the README:
    ganforge sample runs/demo --count 96 --seed 7 --out docs/images/demo.png
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from record import record

from ganforge.cli.demo import DEMO
from ganforge.data.open import open_dataset
from ganforge.evaluation.evaluate import score_run
from ganforge.reporting.evaluations import read_evaluations
from ganforge.runs.folder import Run
from ganforge.runs.trained import Trained

COMMAND = "import sys; from ganforge.cli.main import program; sys.exit(program())"


def main() -> None:
    """Run the demo, evaluate it and an untrained copy, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", COMMAND, "demo"], check=True)
    seconds = time.monotonic() - begun
    run = Run.open(Path("runs/demo"))
    scores = read_evaluations(run.path)[0][0].scores
    start, end = run.metrics("start")[0], run.metrics("end")[-1]
    rates = [line["images_per_second"] for line in run.metrics("train")]
    before = score_run(Trained(run, None), open_dataset(run.config.data), weights="raw")
    result = {
        "command": "python benchmarks/demo.py",
        "what": f"ganforge demo, that is ganforge train {' '.join(DEMO)}, then ganforge evaluate",
        "seconds_in_all": round(seconds, 1),
        "training_seconds": end["seconds"],
        "startup_seconds": start["startup_seconds"],
        "images_per_second": round(statistics.median(rates), 1),
        "peak_memory_mb": round(end["peak_memory_bytes"] / 1e6),
        "precision": start["precision"],
        "scores": {score["name"]: round(score["value"], 3) for score in scores},
        "scores_untrained": {score.name: round(score.value, 3) for score in before},
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
