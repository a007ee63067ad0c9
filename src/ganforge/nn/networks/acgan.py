"""The CIFAR-10 pair of Odena et al. 2016: the discriminator also names the class."""

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganforge.nn.layers import initialise_normal
from ganforge.nn.stages import Start, sides_of


class GaussianNoise(nn.Module):
    """Adds noise of the standard deviation `std` in training; changes nothing in evaluation."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, maps: Tensor) -> Tensor:
        """Noisy maps."""
        return maps + self.std * torch.randn_like(maps) if self.training and self.std else maps


class ACGANGenerator(nn.Module):
    """Latents `[batch, latent_size]` and one-hot classes `[batch, num_classes]` to images in [-1, 1].

    Both together, dense to maps of side `start` with ReLU, then `doublings` transposed convolutions k5 s2,
    with batch norm and ReLU but for the last. `width` is the number of channels before the last one, doubled
    at each coarser map (32x32, width 96: 384, 192, 96).
    """

    def __init__(
        self, *, latent_size: int, num_classes: int, channels: int, start: Start, doublings: int, width: int
    ) -> None:
        super().__init__()
        rows, columns = sides_of(start)
        widths = [width * 2**i for i in reversed(range(doublings))]
        layers: list[nn.Module] = [
            nn.Linear(latent_size + num_classes, widths[0] * rows * columns),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[0], rows, columns)),
        ]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 5, 2, padding=2, output_padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        layers.append(nn.ConvTranspose2d(width, channels, 5, 2, padding=2, output_padding=1))
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, latents: Tensor, classes: Tensor) -> Tensor:
        """Images."""
        return torch.tanh(self.layers(torch.cat([latents, classes], 1)).float())


class ACGANDiscriminator(nn.Module):
    """Images to logits `[batch]` of being real and to class logits `[batch, num_classes]`.

    Six convolutions k3 of stride 2, 1, 2, 1, 2, 1 and `width` channels, doubled at each, the same at every
    size; batch norm but for the first, leaky ReLU 0.2, dropout, noise; then one dense layer for both.
    """

    image_first: ClassVar = "layers"

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        num_classes: int,
        width: int,
        dropout: float = 0.5,
        activation_noise: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, height, columns = shape
        layers: list[nn.Module] = []
        for index in range(6):
            outputs, stride = width * 2**index, 2 - index % 2
            layers.append(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not index))
            if index:
                layers.append(nn.BatchNorm2d(outputs))
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout), GaussianNoise(activation_noise)]
            inputs = outputs
            height, columns = -(-height // stride), -(-columns // stride)
        self.layers = nn.Sequential(*layers)
        self.heads = nn.Linear(inputs * height * columns, 1 + num_classes)
        initialise_normal(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and class logits."""
        logits = self.heads(self.layers(images).flatten(1))
        return logits[:, 0], logits[:, 1:]
