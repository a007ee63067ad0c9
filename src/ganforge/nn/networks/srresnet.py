"""The generator SRResNet and the discriminator of Ledig et al. 2016, figure 4."""

import math
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from ganforge.nn.layers import initialise_normal

SLOPE = 0.2
DENSE_UNITS = 1024


class SRResNet(nn.Module):
    """Small images in [0, 1] to images `scale` times as high and wide, about in [-1, 1], not bounded.

    Convolution of kernel 9 and PReLU; `num_blocks` residual blocks; convolution and batch norm, to which the
    first maps are added; for each doubling a convolution to four times the channels, pixel shuffle (Shi et
    al. 2016) and PReLU; convolution of kernel 9 without an activation. `scale` is a power of two; all maps
    have `width` channels. Each PReLU has one slope, which starts at 0.25. Weights start as torch's do.
    """

    def __init__(self, *, channels: int, width: int, num_blocks: int, scale: int) -> None:
        super().__init__()
        self.scale, self.num_blocks = scale, num_blocks
        self.first = nn.Sequential(nn.Conv2d(channels, width, 9, 1, 4), nn.PReLU())
        self.blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(num_blocks))
        self.last_of_blocks = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )
        doublings = [
            nn.Sequential(nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU())
            for _ in range(round(math.log2(scale)))
        ]
        self.doublings = nn.Sequential(*doublings)
        self.output = nn.Conv2d(width, channels, 9, 1, 4)

    @property
    def reach(self) -> int:
        """How many pixels of the source, each way, one pixel of the result can depend on, beyond its own."""
        of_doublings = sum(0.5**level for level in range(len(self.doublings)))
        return math.ceil(4 + 2 * self.num_blocks + 1 + of_doublings + 4 / self.scale)

    def forward(self, images: Tensor) -> Tensor:
        """Large images."""
        first = self.first(images)
        maps = first
        for block in self.blocks:
            maps = block(maps)
        return self.output(self.doublings(first + self.last_of_blocks(maps))).float()


class _ResidualBlock(nn.Module):
    """Convolution, batch norm, PReLU, convolution, batch norm, and the sum with what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps."""
        return maps + self.layers(maps)


class SRDiscriminator(nn.Module):
    """Images of `side` x `side` to logits `[batch]`: eight convolutions of kernel 3, two dense layers.

    `width`, 2, 4 and 8 times as many channels, each twice, the second of each with stride 2; leaky ReLU 0.2;
    batch norm except after the first; 1,024 dense units for `width` 64, as many times `width` for others.
    """

    image_first: ClassVar = "layers"

    def __init__(self, *, channels: int, width: int, side: int) -> None:
        super().__init__()
        widths = [width * 2 ** (index // 2) for index in range(8)]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise([channels, *widths])):
            # On maps of one pixel a stride changes nothing, but oneDNN leaves bf16 gradients unset there.
            shrinks = index % 2 == 1 and side > 2 ** (index // 2)
            layers.append(nn.Conv2d(before, after, 3, 2 if shrinks else 1, 1, bias=index == 0))
            if index:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.LeakyReLU(SLOPE, inplace=True))
        self.layers = nn.Sequential(*layers)
        units = DENSE_UNITS * width // 64
        self.dense = nn.Linear(widths[-1] * math.ceil(side / 16) ** 2, units)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        self.head = nn.Linear(units, 1)
        initialise_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = self.layers(images).flatten(1)
        return self.head(self.activation(self.dense(maps))).squeeze(1)
