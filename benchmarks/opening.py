"""Seconds to open a folder of 100,000 images: for the first time, and again from the cache of decoded images.

    OMP_NUM_THREADS=1 python benchmarks/opening.py --out benchmarks/opening.json

The images are emoji of 64x64 pixels, each with its colours turned by another angle, as PNG files in ten
folders. Each opening is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from record import record

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions

PROGRAM = """
import json, resource, sys, time
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
begun = time.perf_counter()
dataset = open_dataset(DataOptions(data=sys.argv[1]))
seconds = time.perf_counter() - begun
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": round(seconds, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
                  "peak_mb": round(used.ru_maxrss / 1024), "fingerprint": dataset.fingerprint,
                  "images": sum(len(images) for images in dataset.splits.values())}))
"""


def write_images(folder: Path, count: int) -> None:
    """The files, in ten folders that are classes."""
    images = open_dataset(DataOptions(data="emoji")).splits["train"]
    assert images.pixels is not None
    plain = [Image.fromarray(image.permute(1, 2, 0).numpy()).convert("HSV") for image in images.pixels]
    for number in range(count):
        hue, saturation, value = plain[number % len(plain)].split()
        turned = hue.point([(level + 7 * (number // len(plain))) % 256 for level in range(256)])
        place = folder / f"class{number % 10}"
        place.mkdir(exist_ok=True)
        merged = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
        merged.save(place / f"{number:06d}.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        begun = time.perf_counter()
        write_images(folder, arguments.count)
        print(f"written in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        environment = os.environ | {"GANFORGE_CACHE": f"{place}/cache"}
        for name in ("first", "second", "third"):
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, str(folder)],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            result[name] = json.loads(done.stdout)
            print(result[name], file=sys.stderr, flush=True)
    result["load_average"] = [round(value, 1) for value in os.getloadavg()]
    record(result, arguments.out)


if __name__ == "__main__":
    main()
