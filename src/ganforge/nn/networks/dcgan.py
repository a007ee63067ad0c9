"""The all-convolutional pair of Radford et al. 2015, figure 1 and the released faces code."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from ganforge.nn.layers import initialise_normal
from ganforge.nn.stages import Sides, Start, sides_of


def _padding(kernel_size: int) -> tuple[int, int]:
    """Padding and output padding with which stride 2 halves or doubles exactly."""
    return {5: (2, 1), 4: (1, 0)}[kernel_size]


def _odd(kernel_size: int) -> tuple[int, int]:
    """Kernel size and padding with which stride 2 goes from an odd side to its half, rounded up, and back."""
    return {5: (5, 2), 4: (3, 1)}[kernel_size]


def _coarsest(start: Start, odd_stage: bool) -> Sides:
    """Height and width of the smallest maps: those of `start`, with `odd_stage` half of them, rounded up."""
    height, width = sides_of(start)
    return ((height + 1) // 2, (width + 1) // 2) if odd_stage else (height, width)


def _dense(
    inputs: int, units: int, activation: nn.Module, norm: Literal["batch", "group"] = "batch"
) -> nn.Sequential:
    """A dense layer with its norm; nothing for no units."""
    if not units:
        return nn.Sequential()
    normalisation = _group_norm(units) if norm == "group" else nn.BatchNorm1d(units)
    return nn.Sequential(nn.Linear(inputs, units, bias=False), normalisation, activation)


def _group_norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups, as many as divide the channels into groups of four or more.

    32 groups from 128 channels on, as in OSGAN's code; a group of one unit of a dense layer would be 0.
    """
    groups = (n for n in range(32, 1, -1) if channels % n == 0 and channels // n >= 4)
    return nn.GroupNorm(next(groups, 1), channels)


class DCGANGenerator(nn.Module):
    """Latents `[batch, latent_size]` to images in [-1, 1]: dense, then stride-2 transposed convolutions.

    `width` is the number of channels before the last convolution, doubled at each coarser map (64x64, width
    128: 1024, 512, 256, 128). Batch norm everywhere but the output; with kernel 5 the first is per unit, as
    in the released code, with kernel 4 per channel, as in the PyTorch ports. `dense_units` adds a dense layer
    of so many units before the maps, as InfoGAN has (Chen et al. 2016); `odd_stage` one more stage, from half
    of `start`, rounded up: 28x28 from 4x4 over 7x7.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        channels: int,
        start: Start,
        doublings: int,
        width: int,
        kernel_size: int,
        dense_units: int = 0,
        odd_stage: bool = False,
    ) -> None:
        super().__init__()
        self.hidden = _dense(latent_size, dense_units, nn.ReLU(inplace=True))
        padding, output_padding = _padding(kernel_size)
        stages = doublings + odd_stage
        widths = [width * 2**i for i in reversed(range(stages))]
        self.start = _coarsest(start, odd_stage)
        pixels = math.prod(self.start)
        self.per_unit = kernel_size == 5
        self.dense = nn.Linear(dense_units or latent_size, widths[0] * pixels, bias=False)
        self.dense_norm: nn.Module = (
            nn.BatchNorm1d(widths[0] * pixels) if self.per_unit else nn.BatchNorm2d(widths[0])
        )
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, [*widths[1:], channels], strict=True):
            last = len(layers) == 3 * (stages - 1)
            shape = (kernel_size, 2, padding, output_padding)
            if odd_stage and not layers:
                kernel, padded = _odd(kernel_size)
                shape = (kernel, 2, padded, 0)
            layers.append(nn.ConvTranspose2d(inputs, outputs, *shape, bias=last))
            if not last:
                layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Images."""
        dense = self.dense(self.hidden(latents))
        unflatten = (-1, *self.start)
        maps = (
            self.dense_norm(dense).unflatten(1, unflatten)
            if self.per_unit
            else self.dense_norm(dense.unflatten(1, unflatten))
        )
        return torch.tanh(self.layers(torch.relu(maps)).float())


class DCGANDiscriminator(nn.Module):
    """Images to logits `[batch]`: stride-2 convolutions with leaky ReLU 0.2, then a dense layer.

    Batch norm everywhere but the input layer, or with `norm` "group" group norm, with which no image sees
    another. `width` counts the channels of the first convolution. A Wasserstein critic has no `output_bias`,
    which its loss does not depend on. `dense_units` adds a dense layer of so many units, which sees the whole
    image at once; `odd_stage` one more stage, as in the generator.
    """

    image_first: ClassVar = "layers"

    def __init__(
        self,
        *,
        channels: int,
        start: Start,
        doublings: int,
        width: int,
        kernel_size: int,
        dense_units: int = 0,
        odd_stage: bool = False,
        output_bias: bool = True,
        norm: Literal["batch", "group"] = "batch",
    ) -> None:
        super().__init__()
        padding, _ = _padding(kernel_size)
        layers: list[nn.Module] = []
        inputs = channels
        for index in range(doublings + odd_stage):
            outputs = width * 2**index
            kernel, padded = (kernel_size, padding) if index < doublings else _odd(kernel_size)
            layers.append(nn.Conv2d(inputs, outputs, kernel, 2, padded, bias=False))
            if index:
                layers.append(_group_norm(outputs) if norm == "group" else nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        size = inputs * math.prod(_coarsest(start, odd_stage))
        self.hidden = _dense(size, dense_units, nn.LeakyReLU(0.2, inplace=True), norm)
        self.head = nn.Linear(dense_units or size, 1, bias=output_bias)
        initialise_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.hidden(self.layers(images).flatten(1))).squeeze(1)

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
