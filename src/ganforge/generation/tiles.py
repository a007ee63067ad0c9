"""Process images of any size with a generator: padded, in overlapping tiles, in bounded memory."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.errors import UserError
from ganforge.system import Tiling

Translate = Callable[[Iterator[Tensor]], Iterator[Tensor]]
SMALLEST_TILE = 16
BLENDED_SHARE = 0.25
"""The overlap of two blended neighbours, as a share of a tile's side."""


@dataclass(frozen=True)
class _Axis:
    """How one side of an image is cut: tiles of `size` at `starts`, in pixels of the source.

    `cuts` lie between neighbours, in the middle of what both see; within `ramp` pixels around a cut the first
    fades into the second.
    """

    length: int
    size: int
    starts: tuple[int, ...]
    cuts: tuple[float, ...]
    ramp: float

    def weights(self, index: int, scale: int) -> Tensor:
        """The share of tile `index` in each pixel of its result; over all tiles these sum to 1."""
        places = self.starts[index] + (torch.arange(self.size * scale, dtype=torch.float64) + 0.5) / scale
        shares = torch.ones_like(places)
        if index:
            shares = self._risen(places, self.cuts[index - 1])
        if index < len(self.cuts):
            shares = shares - self._risen(places, self.cuts[index])
        return shares.float()

    def _risen(self, places: Tensor, cut: float) -> Tensor:
        if not self.ramp:
            return (places > cut).double()
        return ((places - cut) / (2 * self.ramp) + 0.5).clamp(0, 1)


def bands(translate: Translate, tiling: Tiling, image: NDArray[Any], tile: int) -> Iterator[Tensor]:
    """The result of `image` uint8 or uint16 `[channels, height, width]`, from top to bottom.

    Each band is float `[channels, rows, width * scale]` in [-1, 1]. `tile` is the side of the tiles, in
    pixels of the image, without what is added around them. Where `tiling.reach` is known every pixel is
    what the whole image would give it; else neighbouring tiles are blended over a quarter of their side or
    more, and are at least two multiples, and `tiling.least`, large. An image is padded with its mirror image
    to the next multiple; one no larger than a tile is processed whole. Raises UserError for a `tile` below
    16, and for NaN.
    """
    if tile < SMALLEST_TILE:
        raise UserError(f"--tile {tile}: expected {SMALLEST_TILE} or more")
    rows, columns = (_axis(length, tiling, tile) for length in image.shape[1:])
    scale = tiling.scale
    largest = float(np.iinfo(image.dtype).max)

    def tiles() -> Iterator[Tensor]:
        for row in rows.starts:
            for column in columns.starts:
                part = image[:, row : row + rows.size, column : column + columns.size]
                missing = (rows.size - part.shape[1], columns.size - part.shape[2])
                part = np.pad(part, ((0, 0), (0, missing[0]), (0, missing[1])), "reflect")
                yield torch.from_numpy(part.astype(np.float32) * (2 / largest) - 1)[None]

    outputs = translate(tiles())
    buffer: Tensor | None = None
    for row, start in enumerate(rows.starts):
        for column, left in enumerate(columns.starts):
            result = next(outputs)[0]
            if not result.isfinite().all():
                raise UserError("this run outputs NaN or infinity: it diverged in training")
            if buffer is None:
                width = max(columns.length, columns.starts[-1] + columns.size) * scale
                buffer = torch.zeros(result.shape[0], rows.size * scale, width)
            share = rows.weights(row, scale)[:, None] * columns.weights(column, scale)
            place = slice(left * scale, left * scale + result.shape[2])
            buffer[:, :, place].addcmul_(result, share)
        assert buffer is not None
        last = row + 1 == len(rows.starts)
        end = rows.length if last else rows.starts[row + 1]
        done = (end - start) * scale
        yield buffer[:, :done, : columns.length * scale]
        buffer = torch.cat([buffer[:, done:], torch.zeros_like(buffer[:, :done])], 1)


def _axis(length: int, tiling: Tiling, tile: int) -> _Axis:
    """In units of `multiple`, so that every tile begins where a stride of the network would."""
    unit, reach = tiling.multiple, tiling.reach
    if reach is None:
        size = max(2, max(tile, tiling.least) // unit)
        overlap = math.ceil(BLENDED_SHARE * size)
    else:
        size, overlap = math.ceil((tile + 2 * reach) / unit), math.ceil(2 * reach / unit)
    whole = math.ceil(length / unit)
    if whole <= size:
        return _Axis(length, whole * unit, (0,), (), 0.0)
    count = math.ceil((whole - size) / (size - overlap)) + 1
    starts = [index * (whole - size) // (count - 1) * unit for index in range(count)]
    cuts = tuple((before + size * unit + after) / 2 for before, after in pairwise(starts))
    return _Axis(length, size * unit, tuple(starts), cuts, 0.0 if reach is not None else overlap * unit / 2)
