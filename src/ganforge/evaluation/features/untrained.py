"""Features that nothing has trained: pixels and random convolutions, the floor of what features can see."""

import itertools
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from ganforge.data.batch import to_float, to_uint8
from ganforge.errors import UserError

PIXEL_SIDE = 16
STAGE_WIDTHS = (32, 64, 128)


@final
class PixelFeatures:
    """Pixels themselves, of images averaged down to 16x16 at most: what needs no network at all.

    They see colour, brightness and coarse layout, and hardly anything of shape.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._shape = channels, height, width
        side = min(height, PIXEL_SIDE), min(width, PIXEL_SIDE)
        self._side = side
        self.feature_size = channels * side[0] * side[1]
        self.identity = f"pixels {self._shape} {side}"
        self.description = (
            f"pixels in [-1, 1] at {side[0]}x{side[1]} (area average), {self.feature_size} features, "
            "rounded to 8 bit; a floor: no network"
        )

    def features(self, images: Tensor) -> Tensor:
        """`[n, feature_size]` of `images` in [-1, 1] of this shape; raises UserError for another."""
        _check_shape(images, self._shape)
        return F.adaptive_avg_pool2d(to_float(to_uint8(images)), self._side).flatten(1)


@final
class RandomConvolutions:
    """Mean activations of three stages of random 3x3 convolutions: 224 features for any images.

    Weights are drawn from the seed 0 on the CPU, He-scaled, and never trained; each stage halves the image
    and gives the mean of each channel. They see textures and edges but know no objects. Random features tell
    distributions apart although they know nothing (Rahimi and Recht 2007), so a large distance is meaningful
    and a small one is not.
    """

    batch_size = 250

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._shape = channels, height, width
        generator = torch.Generator().manual_seed(0)
        widths = (channels, *STAGE_WIDTHS)
        self._kernels = [
            torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
            for inputs, outputs in itertools.pairwise(widths)
        ]
        self.feature_size = sum(STAGE_WIDTHS)
        self.identity = f"random convolutions {self._shape} {STAGE_WIDTHS} seed 0"
        self.description = (
            f"random convolutions of widths {', '.join(map(str, STAGE_WIDTHS))}, seed 0, "
            f"{self.feature_size} features, images rounded to 8 bit; a floor: nothing was trained"
        )

    def features(self, images: Tensor) -> Tensor:
        """`[n, feature_size]` of `images` in [-1, 1] of this shape; raises UserError for another."""
        _check_shape(images, self._shape)
        if not len(images):
            return torch.empty(0, self.feature_size)
        with torch.no_grad():
            return torch.cat([self._of(part) for part in images.split(self.batch_size)])

    def _of(self, images: Tensor) -> Tensor:
        hidden, found = to_float(to_uint8(images)), []
        for kernel in self._kernels:
            hidden = F.conv2d(hidden, kernel.to(hidden.device), padding=1).relu()
            found.append(hidden.mean(dim=(2, 3)))
            hidden = F.avg_pool2d(hidden, 2, ceil_mode=True)
        return torch.cat(found, 1)


def _check_shape(images: Tensor, shape: tuple[int, int, int]) -> None:
    if images.dim() != 4 or tuple(images.shape[1:]) != shape:
        raise UserError(f"images {list(images.shape)}: expected [n, {', '.join(map(str, shape))}]")
