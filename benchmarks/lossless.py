"""Bits per dimension of held-out images as lossless files, next to the likelihood of a model.

python benchmarks/lossless.py --data emoji --size 32 --out benchmarks/lossless_emoji.json
"""

import argparse
import io
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from record import record

from ganforge.data.dataset import held_out
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.evaluation.score import stored_parts

FORMS = {
    "png": {"format": "PNG", "optimize": True},
    "webp": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6, "exact": True},
}


def num_bits(images: Iterable[NDArray[np.uint8]], form: str) -> int:
    """Sizes of the files of images `[height, width, channels]`, headers included."""
    total = 0
    for pixels in images:
        buffer = io.BytesIO()
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, **FORMS[form])
        total += 8 * len(buffer.getvalue())
    return total


def main() -> None:
    """Measure one file for each image, and one for many, whose headers weigh nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="emoji")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    name, images = held_out(open_dataset(DataOptions(data=given.data, size=given.size)))
    pixels = torch.cat(list(stored_parts(images))).permute(0, 2, 3, 1).numpy()
    per_row = math.isqrt(len(pixels))
    rows = [np.concatenate(list(pixels[at : at + per_row]), 1) for at in range(0, per_row**2, per_row)]
    sheet = np.concatenate(rows)
    result = {
        "command": f"python benchmarks/lossless.py --data {given.data} --size {given.size}",
        "what": f"bits of a sub-pixel of {len(pixels)} images, split {name}, in files without loss: one "
        f"file each, headers included, and the first {per_row**2} as one square image",
        "separate": {form: round(num_bits(pixels, form) / pixels.size, 4) for form in FORMS},
        "together": {form: round(num_bits([sheet], form) / sheet.size, 4) for form in FORMS},
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
