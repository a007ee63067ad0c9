"""The networks of Chen et al. 2016 (InfoGAN), table 1: generator, discriminator, recogniser of codes."""

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganforge.nn.layers import initialise_normal

RECOGNISER_UNITS = 128


class InfoGANGenerator(nn.Module):
    """Latents `[batch, latent_size]` to images in [-1, 1]: two dense layers, then stride-2 transposed ones.

    `width` is the number of channels before the last convolution, doubled at each coarser map (28x28, width
    64: 1024 units, 128x7x7, 64x14x14). Batch norm, per unit after the dense layers, and ReLU everywhere but
    at the output, a sigmoid scaled to [-1, 1]. Weights start in N(0, 0.02).
    """

    def __init__(
        self, *, latent_size: int, channels: int, start: int, doublings: int, width: int, dense_units: int
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in reversed(range(doublings))]
        coarsest = widths[0] * start * start
        self.start = start
        self.dense = nn.Sequential(
            nn.Linear(latent_size, dense_units, bias=False),
            nn.BatchNorm1d(dense_units),
            nn.ReLU(inplace=True),
            nn.Linear(dense_units, coarsest, bias=False),
            nn.BatchNorm1d(coarsest),
            nn.ReLU(inplace=True),
        )
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        layers.append(nn.ConvTranspose2d(width, channels, 4, 2, 1))
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Images."""
        maps = self.dense(latents).unflatten(1, (-1, self.start, self.start))
        return 2 * torch.sigmoid(self.layers(maps).float()) - 1


class InfoGANDiscriminator(nn.Module):
    """Images in [-1, 1] to logits `[batch]` and the features `[batch, dense_units]` of its last hidden layer.

    The features are what it shares with the recogniser. Stride-2 convolutions, of `width` channels at first
    and doubled at every halving, then a dense layer; batch norm everywhere but at the input, leaky ReLU of
    `leaky_slope`. Sees pixels in [0, 1]. Weights start in N(0, 0.02).
    """

    image_first: ClassVar = "trunk"

    def __init__(
        self,
        *,
        channels: int,
        start: int,
        doublings: int,
        width: int,
        dense_units: int,
        leaky_slope: float,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(leaky_slope, inplace=True),
        ]
        widths = [width * 2**i for i in range(doublings)]
        for inputs, outputs in itertools.pairwise(widths):
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.LeakyReLU(leaky_slope, inplace=True)]
        self.trunk = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(widths[-1] * start * start, dense_units, bias=False),
            nn.BatchNorm1d(dense_units),
            nn.LeakyReLU(leaky_slope, inplace=True),
        )
        self.head = nn.Linear(dense_units, 1)
        initialise_normal(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features."""
        features = self.trunk((images + 1) / 2)
        return self.head(features).squeeze(1), features


class InfoGANRecogniser(nn.Module):
    """What is Q's own: the discriminator's features `[batch, in_features]` to `[batch, num_outputs]`.

    One hidden layer of 128 units with batch norm and leaky ReLU. Weights start in N(0, 0.02).
    """

    def __init__(self, *, in_features: int, num_outputs: int, leaky_slope: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, RECOGNISER_UNITS, bias=False),
            nn.BatchNorm1d(RECOGNISER_UNITS),
            nn.LeakyReLU(leaky_slope, inplace=True),
            nn.Linear(RECOGNISER_UNITS, num_outputs),
        )
        initialise_normal(self)

    def forward(self, features: Tensor) -> Tensor:
        """Parameters of Q(code | image)."""
        return self.layers(features)
