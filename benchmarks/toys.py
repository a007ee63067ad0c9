"""The 2-D Gaussian toy over seeds: how well `ganforge train gan --data gaussian` recovers it.

python benchmarks/toys.py --out benchmarks/toys.json
"""

import argparse
import tempfile
import time
from pathlib import Path

from record import record

import ganforge

SHOWN = {
    "gaussian": ("largest_mean_error", "largest_covariance_error"),
    "ring": ("modes", "high_quality", "reverse_kl"),
    "grid": ("modes", "high_quality", "reverse_kl"),
}


def measure(data: str, seed: int) -> dict[str, float | str]:
    """Train and evaluate one toy; the errors of `gaussian` are against its exact mean and covariance (%)."""
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
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
