"""The standard convolutional pair of Miyato et al. 2018, table 3."""

import itertools
import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganforge.nn.layers import ConditionalBatchNorm2d, ProjectionHead, initialise_normal, normalise_spectrally
from ganforge.nn.stages import Start, sides_of


class SNGANGenerator(nn.Module):
    """Latents `[batch, latent_size]` to images in [-1, 1]: dense, transposed convolutions, a convolution.

    `width` is the number of channels of the finest maps, doubled at each coarser one (32x32, width 64: 512,
    256, 128, 64). Batch norm, conditional with `num_classes`, and ReLU after each transposed convolution;
    none after the dense layer, as in the table. Weights start in N(0, 0.02).
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
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in reversed(range(doublings + 1))]
        self.start = sides_of(start)
        self.dense = nn.Linear(latent_size, widths[0] * math.prod(self.start))
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 4, 2, 1) for inputs, outputs in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(
            ConditionalBatchNorm2d(features, num_classes) if num_classes else nn.BatchNorm2d(features)
            for features in widths[1:]
        )
        self.output = nn.Conv2d(width, channels, 3, padding=1)
        initialise_normal(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images; `labels` int64 `[batch]` where there are classes."""
        classes = () if labels is None else (labels,)
        maps = self.dense(latents).unflatten(1, (-1, *self.start))
        for double, norm in zip(self.doublings, self.norms, strict=True):
            maps = torch.relu(norm(double(maps), *classes))
        return torch.tanh(self.output(maps).float())


class SNGANDiscriminator(nn.Module):
    """Images to logits `[batch]`: for each halving convolutions of stride 1 and 2, then one more, and dense.

    `width` is the number of channels of the first pair, doubled from pair to pair and once more in the last
    convolution (32x32, width 64: 64, 128, 256, then 512). Leaky ReLU 0.1, no batch norm, so images do not
    affect each other; the last layer, a projection with `num_classes`, sees all positions of the last maps.
    `spectral` normalises every weight. Weights start in N(0, 0.02).
    """

    image_first: ClassVar = "layers"

    def __init__(
        self,
        *,
        channels: int,
        start: Start,
        doublings: int,
        width: int,
        num_classes: int = 0,
        spectral: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for index in range(doublings):
            outputs = width * 2**index
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.LeakyReLU(0.1, inplace=True)]
            layers += [nn.Conv2d(outputs, outputs, 4, 2, 1), nn.LeakyReLU(0.1, inplace=True)]
            inputs = outputs
        layers += [nn.Conv2d(inputs, 2 * inputs, 3, 1, 1), nn.LeakyReLU(0.1, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.head = ProjectionHead(2 * inputs * math.prod(sides_of(start)), num_classes)
        initialise_normal(self)
        if spectral:
            normalise_spectrally(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits; `labels` int64 `[batch]` where there are classes."""
        return self.head(self.layers(images).flatten(1), labels)
