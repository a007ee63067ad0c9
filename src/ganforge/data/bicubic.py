"""Bicubic resampling as MATLAB's `imresize` does it, which super-resolution is compared with."""

import functools
import math

import torch
from torch import Tensor


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """`images` float `[count, channels, own height, own width]` at `height` x `width`, in its precision.

    Keys' cubic with a = -1/2; where a side becomes shorter the kernel is as many times wider (antialiasing);
    at the border the image is reflected.
    Nothing is rounded or clamped: a cubic overshoots. Columns first where the width shrinks the more, as
    `imresize` does.
    """
    scales = {2: height / images.shape[2], 3: width / images.shape[3]}
    for dim in sorted(scales, key=lambda dim: scales[dim]):
        images = _along(images, dim, (height, width)[dim - 2])
    return images


def _along(images: Tensor, dim: int, length: int) -> Tensor:
    """Weighted sums of rows or columns: large images need no large matrix."""
    if images.shape[dim] == length:
        return images
    places, weights = _taps(images.shape[dim], length)
    shape = [length if axis == dim else 1 for axis in range(4)]
    total: Tensor | None = None
    for place, weight in zip(places.to(images.device), weights.to(images), strict=True):
        part = images.index_select(dim, place).mul_(weight.reshape(shape))
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


@functools.lru_cache(maxsize=32)
def _taps(own: int, length: int) -> tuple[Tensor, Tensor]:
    """The `own` pixels that each new one is a mean of, int64 `[taps, length]`, and their weights."""
    scale = length / own
    shrunk = min(scale, 1.0)
    centres = (torch.arange(length, dtype=torch.float64) + 0.5) / scale - 0.5
    first = torch.floor(centres - 2 / shrunk).long()
    places = first + torch.arange(math.ceil(4 / shrunk) + 2)[:, None]
    weights = _cubic((centres - places) * shrunk)
    weights /= weights.sum(0)
    mirrored = places % (2 * own)
    mirrored = torch.where(mirrored < own, mirrored, 2 * own - 1 - mirrored)
    used = (weights != 0).any(1)
    return mirrored[used], weights[used]


def _cubic(distances: Tensor) -> Tensor:
    """Keys 1981, equation 15."""
    far = distances.abs()
    near = (1.5 * far - 2.5) * far.square() + 1
    outer = ((-0.5 * far + 2.5) * far - 4) * far + 2
    return torch.where(far <= 1, near, torch.where(far <= 2, outer, 0.0))
