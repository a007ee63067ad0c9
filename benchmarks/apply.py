"""What `ganforge apply` takes for a large image, and whether the result shows where its tiles met.

python benchmarks/apply.py runs/srgan-photos photos.zip --out benchmarks/apply_srgan.json

The image, 4000x3000 unless --width and --height say otherwise, is laid out of the images of a folder or
.zip side by side, as they come. A seam is a step: the absolute difference of neighbouring pixels of the
result (8 bits, mean of the colours), averaged over the height for columns and over the width for rows, at
the places where tiles meet, against the same elsewhere. Where the input's own images meet does not count.
Where the network's reach is known, the tiled result of a smaller piece is compared with the whole one too.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from record import record

import ganforge
from ganforge.data.sources.storage import is_image_name
from ganforge.generation import tiles
from ganforge.generation.apply import DEFAULT_TILE, tiling_of
from ganforge.system import Tiling

Image.MAX_IMAGE_PIXELS = None  # results are ours, and large


def lay_out(photos: Path, width: int, height: int, grey: bool) -> tuple[Image.Image, set[int], set[int]]:
    """The image, and the columns and rows at which an image of its own begins."""
    with ZipFile(photos) as archive:
        names = [name for name in sorted(archive.namelist()) if is_image_name(name)]
        opened = [Image.open(BytesIO(archive.read(name))).convert("L" if grey else "RGB") for name in names]
    side = opened[0].width
    whole = Image.new(opened[0].mode, (width, height))
    across, down = range(0, width, side), range(0, height, side)
    for number, (top, left) in enumerate((top, left) for top in down for left in across):
        whole.paste(opened[number % len(opened)], (left, top))
    return whole, set(across) - {0}, set(down) - {0}


def steps_at(image: NDArray[np.uint8], axis: int) -> NDArray[np.float64]:
    """The mean absolute step from each line of pixels to the next along `axis` of `[rows, columns, ...]`."""
    lines = np.moveaxis(image, axis, 0)
    found = [np.abs(lines[i + 1].astype(np.int16) - lines[i]).mean() for i in range(len(lines) - 1)]
    return np.array(found)


def seams(image: NDArray[np.uint8], axis: int, tiling: Tiling, own: set[int]) -> dict[str, Any]:
    """Steps where tiles meet along `axis`, and elsewhere; `own`: where the input's images begin."""
    scale = tiling.scale
    cut = tiles._axis(image.shape[axis] // scale, tiling, DEFAULT_TILE)
    # Blended tiles can show where the one begins, where both weigh the same, and where the other ends.
    places = {round((at + off) * scale) - 1 for at in cut.cuts for off in {-cut.ramp, 0.0, cut.ramp}}
    steps = steps_at(image, axis)
    ignored = {at * scale + off for at in own for off in range(-2 * scale, 2 * scale)}
    elsewhere = [steps[i] for i in range(len(steps)) if i not in ignored and i not in places]
    met = [steps[i] for i in sorted(places) if i not in ignored]
    return {
        "places": len(met),
        "mean_at_seams": round(float(np.mean(met)), 4),
        "mean_elsewhere": round(float(np.mean(elsewhere)), 4),
        "largest_at_seams": round(float(np.max(met)), 4),
        "largest_elsewhere": round(float(np.max(elsewhere)), 4),
    }


def run_apply(run: Path, image: Path, out: Path) -> dict[str, float]:
    """Seconds, CPU seconds and peak memory of the command as a process of its own."""
    begun = time.monotonic()
    program = str(Path(sys.executable).with_name("ganforge"))
    process = subprocess.Popen([program, "apply", str(run), str(image), "--out", str(out), "--size", "own"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"ganforge apply ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_memory_mb": round(usage.ru_maxrss * 1024 / 1e6),
    }


def against_whole(run: Path, image: Image.Image, folder: Path) -> dict[str, int]:
    """The largest difference, in levels of 8 bits, of a tiled result from the one made in one piece."""
    image.crop((0, 0, 400, 300)).save(folder / "piece.png")
    for name, tile in (("tiled", 96), ("whole", 400)):
        ganforge.apply(run, folder / "piece.png", folder / f"{name}.png", tile=tile, size="own")
    tiled, whole = (np.asarray(Image.open(folder / f"{name}.png"), np.int16) for name in ("tiled", "whole"))
    return {"largest_difference_of_tiled_from_whole": int(np.abs(tiled - whole).max())}


def main() -> None:
    """Lay out, apply, measure, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("photos", type=Path, help="a .zip of images of one size")
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    trained = ganforge.load(given.run)
    tiling, spec = tiling_of(trained), trained.run.config.spec
    assert spec.source_shape is not None
    grey = spec.source_shape[0] == 1
    image, columns, rows = lay_out(given.photos, given.width, given.height, grey)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image.save(folder / "large.png")
        cost = run_apply(given.run, folder / "large.png", folder / "result.png")
        result = np.asarray(Image.open(folder / "result.png"))
        found = {"columns": seams(result, 1, tiling, columns), "rows": seams(result, 0, tiling, rows)}
        exact = against_whole(given.run, image, folder) if tiling.reach is not None else {}
    record(
        {
            "command": shlex.join(
                ["python", "benchmarks/apply.py", f"runs/{given.run.name}", given.photos.name]
            ),
            "system": trained.run.config.system,
            "image": [given.width, given.height],
            "result": [given.width * tiling.scale, given.height * tiling.scale],
            **cost,
            **exact,
            "steps_in_levels": found,
        },
        given.out,
    )


if __name__ == "__main__":
    main()
