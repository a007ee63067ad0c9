"""How long `data check` takes for sprites: palettes, transparency, animation, 1,200 sizes, copies.

python benchmarks/data_check.py --out benchmarks/data_check.json
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from record import record

from ganforge.data.check import check
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions

NUM_SIZES = 1200


def sprite(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """A trunk and four limbs that reach the corners, on a transparent ground, as a palette image."""
    image = Image.new("P", (width, height), 0)
    palette = random.integers(0, 256, (16, 3), dtype=np.uint8)
    image.putpalette(palette.tobytes())
    draw = ImageDraw.Draw(image)
    middle, centre = width / 2, height / 2
    for end in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        draw.line(
            (middle, centre, *end), fill=int(random.integers(1, 16)), width=max(1, min(width, height) // 8)
        )
    box = (middle - width / 5, centre - height / 4, middle + width / 5, centre + height / 4)
    draw.ellipse(box, fill=int(random.integers(1, 16)))
    return image


def make_sprites(folder: Path, count: int, seed: int = 0) -> None:
    """Write `count` GIF and PNG files: every third GIF is animated, every eighteenth file is a copy."""
    random = np.random.default_rng(seed)
    numbers = random.choice(112 * 112, NUM_SIZES, replace=False)
    sizes = [(16 + int(number) % 112, 16 + int(number) // 112) for number in numbers]
    folder.mkdir(parents=True, exist_ok=True)
    data, suffix = b"", ".gif"
    for index in range(count):
        if index % 18 or not data:
            size = sizes[index % NUM_SIZES]
            first, suffix = sprite(random, *size), (".gif", ".png")[index % 2]
            path = folder / f"{index:05}{suffix}"
            more = [sprite(random, *size) for _ in range(3)] if index % 6 == 0 else []
            settings = {"save_all": True, "append_images": more, "disposal": 2} if more else {}
            first.save(path, transparency=0, **settings)
            data = path.read_bytes()
        else:
            (folder / f"{index:05}{suffix}").write_bytes(data)


def measure(count: int) -> dict[str, object]:
    """Seconds of `check` and of opening for training, and the lines that `check` prints."""
    with tempfile.TemporaryDirectory() as folder:
        make_sprites(Path(folder) / "sprites", count)
        options = DataOptions(data=str(Path(folder) / "sprites"))
        started, began = time.perf_counter(), time.process_time()
        report = check(options)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - began
        started = time.perf_counter()
        dataset = open_dataset(options)
        opened = time.perf_counter() - started
    return {
        "command": f"python benchmarks/data_check.py --count {count}",
        "images": count,
        "check_seconds": round(seconds, 2),
        "check_cpu_seconds": round(cpu_seconds, 2),
        "open_seconds": round(opened, 2),
        "fit": dataset.options.fit,
        "report": [line for line in report.lines() if not line.startswith("data")],
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3500)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    record(measure(options.count), options.out)


if __name__ == "__main__":
    main()
