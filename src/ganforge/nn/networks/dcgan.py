"""The all-convolutional pair of Radford et al. 2015, figure 1 and the released faces code."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from ganforge.nn.layers import initialise_normal


def stages_of(size: int) -> tuple[int, int] | None:
    """Side of the smallest feature map and number of doublings that reach `size`: 64 -> (4, 4), 28 -> (7, 2).

    None where `size` is neither 4 nor 7 times a power of two from 2 up.
    """
    for start in (4, 7):
        doublings = round(math.log2(size / start))
        if doublings >= 1 and start * 2**doublings == size:
            return start, doublings
    return None


def _padding(kernel_size: int) -> tuple[int, int]:
    """Padding and output padding with which stride 2 halves or doubles exactly."""
    return {5: (2, 1), 4: (1, 0)}[kernel_size]


class DCGANGenerator(nn.Module):
    """Latents `[batch, latent_size]` to images in [-1, 1]: dense, then stride-2 transposed convolutions.

    `width` is the number of channels before the last convolution, doubled at each coarser map (64x64, width
    128: 1024, 512, 256, 128). Batch norm everywhere but the output; with kernel 5 the first is per unit, as
    in the released code, with kernel 4 per channel, as in the PyTorch ports.
    """

    def __init__(
        self, *, latent_size: int, channels: int, start: int, doublings: int, width: int, kernel_size: int
    ) -> None:
        super().__init__()
        padding, output_padding = _padding(kernel_size)
        widths = [width * 2**i for i in reversed(range(doublings))]
        self.start = start
        self.per_unit = kernel_size == 5
        self.dense = nn.Linear(latent_size, widths[0] * start * start, bias=False)
        self.dense_norm: nn.Module = (
            nn.BatchNorm1d(widths[0] * start * start) if self.per_unit else nn.BatchNorm2d(widths[0])
        )
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, [*widths[1:], channels], strict=True):
            last = len(layers) == 3 * (doublings - 1)
            layers.append(
                nn.ConvTranspose2d(inputs, outputs, kernel_size, 2, padding, output_padding, bias=last)
            )
            if not last:
                layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Images."""
        dense = self.dense(latents)
        unflatten = (-1, self.start, self.start)
        maps = (
            self.dense_norm(dense).unflatten(1, unflatten)
            if self.per_unit
            else self.dense_norm(dense.unflatten(1, unflatten))
        )
        return torch.tanh(self.layers(torch.relu(maps)).float())


class DCGANDiscriminator(nn.Module):
    """Images to logits `[batch]`: stride-2 convolutions with leaky ReLU 0.2, then a dense layer.

    Batch norm everywhere but the input layer. `width` counts the channels of the first convolution. A
    Wasserstein critic has no `output_bias`, which its loss does not depend on.
    """

    def __init__(
        self,
        *,
        channels: int,
        start: int,
        doublings: int,
        width: int,
        kernel_size: int,
        output_bias: bool = True,
    ) -> None:
        super().__init__()
        padding, _ = _padding(kernel_size)
        layers: list[nn.Module] = []
        inputs = channels
        for index in range(doublings):
            outputs = width * 2**index
            layers.append(nn.Conv2d(inputs, outputs, kernel_size, 2, padding, bias=False))
            if index:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(inputs * start * start, 1, bias=output_bias)
        initialise_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.layers(images).flatten(1)).squeeze(1)

    def features(self, images: Tensor) -> Tensor:
        """The maps after every activation, max-pooled to 4x4, one after the other: `[batch, n]`.

        Radford et al. 2015, section 5.1.
        """
        maps = []
        for layer in self.layers:
            images = layer(images)
            if isinstance(layer, nn.LeakyReLU):
                maps.append(adaptive_max_pool2d(images, 4).flatten(1))
        return torch.cat(maps, 1)
