"""The 2-D Gaussian toy over seeds: how well `ganforge train gan --data gaussian` recovers it.

python benchmarks/toys.py --out benchmarks/toys.json
"""

import argparse
import datetime
import json
import tempfile
import time
from pathlib import Path

import torch

import ganforge
from ganforge.engine import accelerate


def main() -> None:
    """Train and judge each seed, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            ganforge.train("gan", "gaussian", run=f"{folder}/run", seed=seed, quiet=True)
            seconds = time.monotonic() - begun
            scores = {score.name: score.value for score in ganforge.evaluate(f"{folder}/run")}
        rows.append(
            {
                "seed": seed,
                "largest_mean_error": round(scores["largest_mean_error"], 3),
                "largest_covariance_error_percent": round(scores["largest_covariance_error"], 1),
                "seconds": round(seconds, 1),
            }
        )
        print(rows[-1], flush=True)
    result = {
        "command": f"python benchmarks/toys.py --seeds {given.seeds}",
        "what": "ganforge train gan --data gaussian; errors against the exact values, 10,000 samples",
        "rows": rows,
        "machine": accelerate.describe_machine(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
