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

SHOWN = {
    "gaussian": ("largest_mean_error", "largest_covariance_error"),
    "ring": ("modes", "high_quality", "reverse_kl"),
    "grid": ("modes", "high_quality", "reverse_kl"),
}


def measure(data: str, seed: int) -> dict[str, float | str]:
    """Train and judge one toy; the errors of `gaussian` are against its exact mean and covariance (%)."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        ganforge.train("gan", data, run=f"{folder}/run", seed=seed, quiet=True)
        seconds = time.monotonic() - begun
        scores = {score.name: score.value for score in ganforge.evaluate(f"{folder}/run")}
    row: dict[str, float | str] = {"data": data, "seed": seed}
    row |= {name: round(scores[name], 3) for name in SHOWN[data]}
    row["seconds"] = round(seconds, 1)
    print(row, flush=True)
    return row


def main() -> None:
    """Measure all, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="of gaussian")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [measure("gaussian", seed) for seed in range(given.seeds)]
    rows += [measure(data, 0) for data in ("ring", "grid")]
    result = {
        "command": f"python benchmarks/toys.py --seeds {given.seeds}",
        "what": "ganforge train gan --data gaussian|ring|grid, then ganforge evaluate",
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
