"""PSNR and SSIM of images that are shrunk and enlarged again: the tables of super-resolution."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.data.decode import Unreadable, decode_exactly
from ganforge.data.derived_pairs import downscale
from ganforge.data.pairs import open_storage
from ganforge.errors import UserError, printable
from ganforge.evaluation.scores.super_resolution import enlarge_bicubic, fidelity, smallest_side
from ganforge.generation.apply import DEFAULT_TILE, tiling_of, to_levels, translator
from ganforge.generation.tiles import bands
from ganforge.runs.trained import Trained

BICUBIC = "bicubic"


@dataclass(frozen=True)
class Row:
    """One image, or the mean of all: size, and of each way to enlarge it dB, SSIM and sharpness.

    The last is None for an image of one colour, which has none, and does not count in the mean.
    """

    name: str
    width: int
    height: int
    found: dict[str, tuple[float, float, float | None]]


def enlarging_scale(runs: Sequence[Trained], scale: int | None) -> int:
    """The scale of all `runs`, or the given one; raises UserError where they are not the same."""
    scales = {name: tiling_of(run).scale for name, run in _by_name(runs).items()}
    for name, own in scales.items():
        if own == 1:
            raise UserError(f"{name} enlarges nothing: expected runs of srresnet or srgan")
    wanted = {*scales.values()} | ({scale} if scale is not None else set())
    if len(wanted) > 1:
        raise UserError(f"--scale: expected one for all, the runs have {sorted(set(scales.values()))}")
    found = wanted.pop() if wanted else 4
    if found < 2:
        raise UserError(f"--scale {found}: expected 2 or more")
    return found


def _by_name(runs: Sequence[Trained]) -> dict[str, Trained]:
    """The runs by the names of their folders, or by whole paths where names repeat."""
    names = Counter(run.run.path.name for run in runs)
    found = {}
    for run in runs:
        name = run.run.path.name
        found[name if names[name] == 1 and name != BICUBIC else str(run.run.path.resolve())] = run
    return found


def score_folder(
    place: str, runs: Sequence[Trained] = (), scale: int | None = None
) -> tuple[list[Row], dict[str, str]]:
    """A row for each image of the folder or .zip `place`, then their mean; and what was skipped: reasons.

    Each image is cut at the right and below to multiples of the scale, shrunk by MATLAB's bicubic
    resampling, enlarged by it and by each of `runs`, and compared on the luma, without as many pixels at each
    border as the scale has. Raises UserError where no image can be compared.
    """
    factor = enlarging_scale(runs, scale)
    if not Path(place).expanduser().exists():
        raise UserError(f"{printable(place)} does not exist: expected a folder or a .zip of images")
    storage = open_storage(Path(place).expanduser(), printable(place))
    rows, skipped, named = list[Row](), dict[str, str](), _by_name(runs)
    for name in storage.image_names:
        try:
            rows.append(_row(name, _whole(storage.read(name), factor), named, factor))
        except Unreadable as error:
            skipped[name] = str(error)
    if not rows:
        first = "".join(f": {printable(name)} ({why})" for name, why in list(skipped.items())[:1])
        raise UserError(f"{printable(place)} holds no image that can be compared{first}")
    means = {way: _means([row.found[way] for row in rows]) for way in rows[0].found}
    return [*rows, Row(f"mean of {len(rows)}", 0, 0, means)], skipped


def _means(found: Sequence[tuple[float, float, float | None]]) -> tuple[float, float, float | None]:
    decibels, likeness, sharpness = zip(*found, strict=True)
    some = [value for value in sharpness if value is not None]
    return fmean(decibels), fmean(likeness), fmean(some) if some else None


def _whole(data: bytes, scale: int) -> NDArray[np.uint8]:
    """The image in 8 bits, its sides multiples of `scale`."""
    image = decode_exactly(data).colours
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    height, width = (side - side % scale for side in image.shape[1:])
    if min(height, width) < smallest_side(scale):
        raise Unreadable(f"{width}x{height} pixels: SSIM needs {smallest_side(scale)} a side")
    return image[:, :height, :width]


def _row(name: str, image: NDArray[np.uint8], runs: dict[str, Trained], scale: int) -> Row:
    original = torch.from_numpy(np.array(image))[None]
    height, width = original.shape[2:]
    small = downscale(original, scale)
    made: dict[str, Tensor] = {BICUBIC: enlarge_bicubic(small, height, width)}
    for label, run in runs.items():
        made[label] = _enlarged(run, small[0].numpy())
        if made[label].shape[1] != len(image):
            raise Unreadable(f"in colour, but {label} enlarges grey images")
    found: dict[str, tuple[float, float, float | None]] = {}
    for way, pixels in made.items():
        values = fidelity(pixels, original, scale)
        sharpness = float(values.sharpness)
        found[way] = (float(values.psnr), float(values.ssim), None if isnan(sharpness) else sharpness)
    return Row(name, width, height, found)


def _enlarged(run: Trained, small: NDArray[Any]) -> Tensor:
    """`small` `[channels, height, width]` as `ganforge apply` enlarges it, uint8 `[1, channels, ...]`."""
    translate = translator(run, len(small), 0, "ema")
    parts: Iterator[Tensor] = bands(translate, tiling_of(run), small, DEFAULT_TILE)
    levels = np.concatenate([to_levels(band, small.dtype) for band in parts])
    return torch.from_numpy(levels).permute(2, 0, 1)[None]
