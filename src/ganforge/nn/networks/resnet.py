"""The residual pair for small images of Gulrajani et al. 2017, in the form of Miyato et al. 2018."""

import math
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ganforge.nn.layers import ConditionalBatchNorm2d, ProjectionHead, normalise_spectrally
from ganforge.nn.stages import Start, sides_of

# Of the released code, whose framework has another default than torch.
EPS = 2e-5
RESIDUAL_GAIN, SHORTCUT_GAIN = math.sqrt(2), 1.0


def _convolution(inputs: int, outputs: int, kernel_size: int, gain: float) -> nn.Conv2d:
    """A convolution that keeps the size; weights Glorot uniform of this gain, biases 0."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2)
    nn.init.xavier_uniform_(convolution.weight, gain)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def _norm(features: int, num_classes: int) -> nn.Module:
    """Batch norm, by class where there are classes."""
    if num_classes:
        return ConditionalBatchNorm2d(features, num_classes, EPS)
    return nn.BatchNorm2d(features, EPS)


Upsampling = Literal["nearest", "bilinear"]
MOST_TIMES = 16
"""How many times as wide as the finest maps the coarsest are, at most, where they are doubled."""


class UpBlock(nn.Module):
    """Maps to maps of twice the side: norm, ReLU and convolution, twice, and a shortcut.

    `[batch, inputs, size, size]` to `[batch, outputs, 2 size, 2 size]`. The doubling comes before the first
    convolution, as in both released codes.
    """

    def __init__(
        self, inputs: int, outputs: int, num_classes: int = 0, upsampling: Upsampling = "nearest"
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.norm1, self.norm2 = _norm(inputs, num_classes), _norm(outputs, num_classes)
        self.convolution1 = _convolution(inputs, outputs, 3, RESIDUAL_GAIN)
        self.convolution2 = _convolution(outputs, outputs, 3, RESIDUAL_GAIN)
        self.shortcut = _convolution(inputs, outputs, 1, SHORTCUT_GAIN)

    def forward(self, maps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps; `labels` int64 `[batch]` where the norms are conditional."""
        classes = () if labels is None else (labels,)
        hidden = self.convolution1(self._double(torch.relu(self.norm1(maps, *classes))))
        hidden = self.convolution2(torch.relu(self.norm2(hidden, *classes)))
        # A 1x1 convolution gives the same before the doubling as after it, at a quarter of the cost.
        return hidden + self._double(self.shortcut(maps))

    def _double(self, maps: Tensor) -> Tensor:
        return interpolate(maps, scale_factor=2, mode=self.upsampling)


class ResNetGenerator(nn.Module):
    """Latents `[batch, latent_size]` to images in [-1, 1]: dense, residual blocks, norm, ReLU, convolution.

    From maps of `start`, each of the `doublings` blocks doubles the side. All maps have `width` channels;
    with `widening` only the finest, and each coarser one twice as many, up to 16 times. With `num_classes`
    the norms of the blocks are conditional; the last norm is not, as in the released code
    (pfnet-research/sngan_projection). Miyato et al. 2018, table 4.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        channels: int,
        start: Start,
        doublings: int,
        width: int,
        num_classes: int = 0,
        widening: bool = False,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        self.start = sides_of(start)
        times = [min(2**level, MOST_TIMES) if widening else 1 for level in reversed(range(doublings + 1))]
        widths = [width * each for each in times]
        self.dense = nn.Linear(latent_size, widths[0] * math.prod(self.start))
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        self.blocks = nn.ModuleList(
            UpBlock(inputs, outputs, num_classes, upsampling) for inputs, outputs in pairwise(widths)
        )
        self.norm = nn.BatchNorm2d(width, EPS)
        self.output = _convolution(width, channels, 3, 1.0)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images; `labels` int64 `[batch]` where there are classes."""
        maps = self.dense(latents).unflatten(1, (-1, *self.start))
        for block in self.blocks:
            maps = block(maps, labels)
        return torch.tanh(self.output(torch.relu(self.norm(maps))).float())


class FirstBlock(nn.Module):
    """Images to maps of half the side: convolution, ReLU, convolution, pooling, and a shortcut.

    No ReLU before the first convolution: it would cut the image's negative half.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolution1 = _convolution(channels, width, 3, RESIDUAL_GAIN)
        self.convolution2 = _convolution(width, width, 3, RESIDUAL_GAIN)
        self.shortcut = _convolution(channels, width, 1, SHORTCUT_GAIN)

    def forward(self, images: Tensor) -> Tensor:
        """Maps."""
        hidden = self.convolution2(torch.relu(self.convolution1(images)))
        return avg_pool2d(hidden, 2) + self.shortcut(avg_pool2d(images, 2))


class DownBlock(nn.Module):
    """Maps to maps, of half the side where `down`: ReLU and convolution, twice, and a shortcut."""

    def __init__(self, width: int, down: bool) -> None:
        super().__init__()
        self.convolution1 = _convolution(width, width, 3, RESIDUAL_GAIN)
        self.convolution2 = _convolution(width, width, 3, RESIDUAL_GAIN)
        self.shortcut = _convolution(width, width, 1, SHORTCUT_GAIN) if down else None

    def forward(self, maps: Tensor) -> Tensor:
        """Maps."""
        hidden = self.convolution2(torch.relu(self.convolution1(torch.relu(maps))))
        if self.shortcut is None:
            return maps + hidden
        # As in the first block, the pooling first: the same for a 1x1 convolution, at a quarter of the cost.
        return avg_pool2d(hidden, 2) + self.shortcut(avg_pool2d(maps, 2))


class ResNetDiscriminator(nn.Module):
    """Images to logits `[batch]`: blocks that halve the maps, two plain blocks, ReLU, pooling, dense.

    All maps have `width` channels; no batch norm, so images do not affect each other. Maps are halved to 8x8
    or 7x7 (32x32 images twice, as in the paper, 28x28 twice, 64x64 three times), but once at least.
    With `num_classes` the last layer is a projection. `spectral` normalises every weight. Miyato et al. 2018,
    table 4, and the released code, which pools by "sum"; Gulrajani et al. 2017 pool by "mean".
    """

    image_first: ClassVar = "blocks"

    def __init__(
        self,
        *,
        channels: int,
        start: Start,
        doublings: int,
        width: int,
        num_classes: int = 0,
        spectral: bool,
        pooling: Literal["sum", "mean"],
    ) -> None:
        super().__init__()
        self.pooling = pooling
        halvings = max(1, doublings - 1 if min(sides_of(start)) <= 4 else doublings)
        downs = [True] * (halvings - 1) + [False, False]
        self.blocks = nn.Sequential(FirstBlock(channels, width), *(DownBlock(width, down) for down in downs))
        self.head = ProjectionHead(width, num_classes)
        if spectral:
            normalise_spectrally(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits; `labels` int64 `[batch]` where there are classes."""
        maps = torch.relu(self.blocks(images)).float()
        return self.head(maps.sum((2, 3)) if self.pooling == "sum" else maps.mean((2, 3)), labels)
