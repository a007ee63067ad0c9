"""The data of the playground: the built-in sets of points, and points that were drawn by hand."""

import base64
import binascii
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset, points_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.toys import TOYS
from ganforge.errors import UserError

DRAWN = "drawn.csv"
REACH, LEVELS = 1.5, 4096
"""Dabs lie in [-1.5, 1.5] squared, each coordinate in 12 bits."""
MOST_DABS, POINTS_PER_DAB, DAB_STD = 400, 12, 0.04
LEAST_POINTS = 8
NUM_SHOWN = 1_000


@lru_cache(maxsize=len(TOYS))
def preset(name: str) -> Dataset:
    """A built-in set; raises UserError where there is none of that name."""
    if name not in TOYS:
        raise UserError(f"data {name[:40]!r}: expected one of {', '.join(TOYS)}, or drawn dabs")
    return open_dataset(DataOptions(data=name))


def drawn(text: str) -> Dataset:
    """The set of points around dabs: base64 of three bytes for each, 12 bits for each coordinate.

    The same dabs give the same points. Raises UserError for what is no dabs, and for too few or many.
    """
    points = scattered(dabs_of(text))
    return points_dataset(torch.from_numpy(points), DataOptions(data=DRAWN))


def dabs_of(text: str) -> NDArray[np.float64]:
    """The dabs float64 `[count, 2]` in `text`."""
    try:
        packed = np.frombuffer(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise UserError("the drawn points cannot be read: draw them again") from error
    if len(packed) % 3 or not 1 <= len(packed) // 3 <= MOST_DABS:
        raise UserError(f"{len(packed) // 3} dabs: expected 1 to {MOST_DABS}: draw on the canvas")
    first, middle, last = packed.reshape(-1, 3).astype(np.int64).T
    levels = np.stack([first << 4 | middle >> 4, (middle & 15) << 8 | last], axis=1)
    return (levels / (LEVELS - 1) * 2 - 1) * REACH


def scattered(dabs: NDArray[np.float64]) -> NDArray[np.float32]:
    """Points float32 `[count, 2]` around each dab."""
    random = np.random.Generator(np.random.Philox(key=len(dabs)))
    noise = DAB_STD * random.standard_normal((len(dabs), POINTS_PER_DAB, 2))
    return (dabs[:, None] + noise).reshape(-1, 2).astype(np.float32)


def shown_points(dataset: Dataset, count: int = NUM_SHOWN) -> Tensor:
    """Some real points `[at most count, 2]`; the sets are in random order but the drawn one."""
    split = dataset.splits["train"]
    rows = torch.arange(min(count, len(split))) * len(split) // min(count, len(split))
    return split.read(rows).flatten(1)


def window_of(points: Tensor) -> tuple[float, float, float]:
    """Centre x and y, and half the side, of a square around the points with room for those that go astray."""
    low, high = points.amin(0), points.amax(0)
    centre = (low + high) / 2
    half = 1.45 * float((high - low).max() / 2)
    return round(float(centre[0]), 4), round(float(centre[1]), 4), round(max(half, 0.3), 4)
