"""A million tiny images as tar shards, against the same images in memory: speed and memory.

    OMP_NUM_THREADS=1 python benchmarks/shards.py --out benchmarks/shards.json

The tars are written here, in WebDataset's form and without an index. Each round reads batches of both streams
and trains DCGANs of three widths on both, in turn. Memory is that of a process which reads a whole epoch.
"""

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import record

import ganforge
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions

SIDE, SHARDS, BATCH = 8, 12, 128
TRAINING = {"batch": BATCH, "device": "cpu", "precision": "fp32", "quiet": True}
STEPS = {32: 400, 128: 160, 256: 80}
"""Steps for each width."""


def images(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images uint8 `[count, 8, 8, 1]` of two grey levels with noise, drawn with seed 0."""
    random = np.random.default_rng(0)
    rows = random.integers(0, 200, size=(count, SIDE, 1, 1), dtype=np.uint8)
    return rows + random.integers(0, 56, size=(count, SIDE, SIDE, 1), dtype=np.uint8)


def write_shards(pixels: np.ndarray[Any, np.dtype[np.uint8]], folder: Path) -> None:
    """The images as PNG files in tars."""
    for number, part in enumerate(np.array_split(pixels, SHARDS)):
        with tarfile.open(folder / f"train-{number:06d}.tar", "w") as archive:
            for row, image in enumerate(part):
                buffer = io.BytesIO()
                Image.fromarray(image[..., 0]).save(buffer, "PNG")
                member = tarfile.TarInfo(f"{number:03d}{row:07d}.png")
                member.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(member, buffer)


def read_speed(dataset: Any, batches: int) -> float:
    """Images a second of the stream that training takes, one batch ahead."""
    stream = Loader(dataset.splits["train"], BATCH, seed=0).iterate(0)
    next(stream)
    begun = time.perf_counter()
    for _ in range(batches):
        next(stream)
    return batches * BATCH / (time.perf_counter() - begun)


def train_speed(data: Any, run: Path, width: int) -> float:
    """The median images a second of a training's log, but for its start."""
    quiet = {"sample_every": 10**6, "checkpoint_every": 10**6, "log_every": 10}
    ganforge.train("dcgan", data, run=run, width=width, steps=STEPS[width], **quiet, **TRAINING)
    lines = map(json.loads, (run / "metrics.jsonl").read_text("utf-8").splitlines())
    return statistics.median([line["images_per_second"] for line in lines if line["kind"] == "train"][2:])


def memory(data: str) -> None:
    """Print the MB that this process has had at most after a few batches, and after an epoch."""
    dataset = open_dataset(DataOptions(data=data))
    split = dataset.splits["train"]
    stream = Loader(split, BATCH, seed=0).iterate(0)
    found = []
    for number in range(len(split) // BATCH):
        next(stream)
        if number in (100, len(split) // BATCH - 1):
            found.append(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    print(json.dumps(found))
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        memory(arguments.memory)
    result: dict[str, Any] = {"images": arguments.count, "shards": SHARDS, "batch": BATCH}
    pixels = images(arguments.count)
    with tempfile.TemporaryDirectory() as place:
        os.environ["GANFORGE_CACHE"] = f"{place}/cache"
        folder = Path(place) / "packed"
        folder.mkdir()
        begun = time.perf_counter()
        write_shards(pixels, folder)
        result["seconds_to_write"] = round(time.perf_counter() - begun, 1)
        result["megabytes"] = round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6)
        for name in ("first", "later"):
            begun = time.perf_counter()
            shards = open_dataset(DataOptions(data=f"wds:{folder}"))
            result[f"seconds_to_open_{name}"] = round(time.perf_counter() - begun, 2)
        whole = open_dataset(DataOptions(data="python:whole"), pixels)
        speeds: dict[str, list[int]] = defaultdict(list)
        for turn in range(arguments.rounds):
            for kind, dataset in (("memory", whole), ("shards", shards)):
                speeds[f"read_{kind}"].append(round(read_speed(dataset, 300)))
            for width in STEPS:
                for kind, data in (("memory", pixels), ("shards", f"wds:{folder}")):
                    speed = train_speed(data, Path(place) / f"{kind}-{width}-{turn}", width)
                    speeds[f"train_{width}_{kind}"].append(round(speed))
            print(dict(speeds), file=sys.stderr, flush=True)
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        result["images_per_second"] = speeds
        result["train_ratios"] = {
            width: round(medians[f"train_{width}_shards"] / medians[f"train_{width}_memory"], 3)
            for width in STEPS
        }
        done = subprocess.run(
            [sys.executable, __file__, "--memory", f"wds:{folder}"],
            capture_output=True,
            text=True,
            check=True,
        )
        result["peak_mb_after_100_batches"], result["peak_mb_after_an_epoch"] = json.loads(done.stdout)
    result["load_average"] = [round(value, 1) for value in os.getloadavg()]
    record(result, arguments.out)


if __name__ == "__main__":
    main()
