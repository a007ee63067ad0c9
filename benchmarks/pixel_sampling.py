"""Sampling of PixelCNN and PixelRNN with caches against a full pass for every pixel.

python benchmarks/pixel_sampling.py --out benchmarks/pixel_sampling.json
"""

import argparse
import time
from pathlib import Path

import torch
from record import record

from ganforge.data.batch import DataSpec
from ganforge.systems.discovery import find

DIGITS = DataSpec(channels=1, height=28, width=28, num_images=50_000, binary=True)
NETWORKS = (("pixelcnn", "gated"), ("pixelcnn", "original"), ("pixelrnn", "diagonal"), ("pixelrnn", "row"))
COUNT, TIMED_PASSES = 16, 5


@torch.no_grad()
def seconds(name: str, network: str) -> dict[str, float]:
    """For `COUNT` images: with caches, the fastest of three; naively, the fastest pass times all pixels."""
    torch.set_num_threads(1)
    kind = find(name)
    suggested = {field: value for field, (value, _) in kind.suggest(DIGITS).items()}
    system = kind(kind.Config(**(suggested | {"network": network})), DIGITS).eval()
    images = torch.ones(COUNT, *DIGITS.shape)
    cached, passes = [], []
    for _ in range(3):
        begun = time.process_time()
        system.sample(COUNT)
        cached.append(time.process_time() - begun)
    for _ in range(TIMED_PASSES):
        begun = time.process_time()
        system.network(images)
        passes.append(time.process_time() - begun)
    naive = min(passes) * DIGITS.height * DIGITS.width
    return {
        "cached_seconds": round(min(cached), 3),
        "naive_seconds_extrapolated": round(naive, 1),
        "times_faster": round(naive / min(cached)),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result = {
        "command": "python benchmarks/pixel_sampling.py",
        "what": f"CPU time of one thread for {COUNT} images of 28x28 at two levels; "
        f"sizes suggested; naive: the fastest of {TIMED_PASSES} full passes times 784 pixels, not all of "
        "which were run",
        "networks": {network: seconds(name, network) for name, network in NETWORKS},
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
