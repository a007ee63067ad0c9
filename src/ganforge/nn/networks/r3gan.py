"""Architecture E of Huang et al. 2024 (R3GAN): residual, grouped, without any normalisation."""

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from ganforge.nn.stages import Start, sides_of

SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2 / (1 + SLOPE**2))


def _initialise(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> None:
    """Weights from N(0, gain / sqrt(fan in)), biases 0."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class ResidualBlock(nn.Module):
    """x + f(x), f: 1x1 to twice the width, 3x3 in groups, 1x1 back; the identity at the start.

    `num_blocks` of the whole network scales the first weights by its power -1/4, so that depth leaves the
    size of the features as it is (Zhang et al. 2019, Fixup).
    """

    def __init__(self, width: int, group_size: int, num_blocks: int) -> None:
        super().__init__()
        inner = 2 * width
        gain = LEAKY_GAIN * num_blocks**-0.25
        self.expand = nn.Conv2d(width, inner, 1)
        self.spread = nn.Conv2d(inner, inner, 3, padding=1, groups=max(1, inner // group_size))
        self.shrink = nn.Conv2d(inner, width, 1, bias=False)
        _initialise(self.expand, gain)
        _initialise(self.spread, gain)
        _initialise(self.shrink, 0.0)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        inner = leaky_relu(self.expand(maps), SLOPE)
        return maps + self.shrink(leaky_relu(self.spread(inner), SLOPE))


class Resample(nn.Module):
    """Twice or half the height and width by the filter [1, 3, 3, 1], as in the released code.

    Up it is bilinear interpolation, away from the border; down it is the adjoint of that, divided by 4.
    """

    weight: Tensor

    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / (4 if up else 8)
        self.width, self.up = width, up
        self.register_buffer("weight", torch.outer(line, line).repeat(width, 1, 1, 1), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the other size."""
        # In float32: CPUs have no kernel for transposed convolutions of single maps in bf16, and take fifty
        # times as long, upwards in the forward and downwards in the backward pass.
        with torch.autocast(maps.device.type, enabled=False):
            resample = conv_transpose2d if self.up else conv2d
            exact = maps.to(self.weight.dtype)
            return resample(exact, self.weight, stride=2, padding=1, groups=self.width).to(maps.dtype)


def _blocks(width: int, group_size: int, blocks: int, total: int) -> list[nn.Module]:
    return [ResidualBlock(width, group_size, total) for _ in range(blocks)]


def _widths(width: int, doublings: int, halvings: int) -> list[int]:
    """Channels at every size of the maps, the smallest first."""
    return [width >> max(0, index + halvings - doublings) for index in range(doublings + 1)]


def _other_width(inputs: int, outputs: int) -> list[nn.Module]:
    """A 1x1 convolution where the width changes: always at the smaller of the two sizes."""
    if inputs == outputs:
        return []
    layer = nn.Conv2d(inputs, outputs, 1, bias=False)
    _initialise(layer)
    return [layer]


class R3GANGenerator(nn.Module):
    """Latents `[batch, latent_size]` to unbounded images; `blocks` residual blocks at each size of the maps.

    The smallest maps are learned and scaled channel by channel, and have `width` channels; at the largest
    `halvings` sizes the width is halved, each time once more. With `num_classes`, labels are embedded into
    as many numbers as a latent has and are appended to it.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        channels: int,
        start: Start,
        doublings: int,
        width: int,
        group_size: int,
        blocks: int,
        halvings: int = 0,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        total = blocks * (doublings + 1)
        widths = _widths(width, doublings, halvings)
        self.embedding = nn.Embedding(num_classes, latent_size) if num_classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, num_classes**-0.5)
        self.basis = nn.Parameter(torch.randn(width, *sides_of(start)))
        self.scale = nn.Linear(latent_size * (2 if num_classes else 1), width, bias=False)
        _initialise(self.scale)
        layers = _blocks(width, group_size, blocks, total)
        for inputs, outputs in pairwise(widths):
            layers += [*_other_width(inputs, outputs), Resample(outputs, up=True)]
            layers += _blocks(outputs, group_size, blocks, total)
        self.layers = nn.Sequential(*layers)
        self.output = nn.Conv2d(widths[-1], channels, 1, bias=False)
        _initialise(self.output)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images, of the labels `[batch]` where the network has classes."""
        if self.embedding is not None:
            assert labels is not None
            latents = torch.cat([latents, self.embedding(labels)], 1)
        maps = self.scale(latents)[:, :, None, None] * self.basis
        return self.output(self.layers(maps)).float()


class R3GANDiscriminator(nn.Module):
    """Images to logits `[batch]`: the generator's mirror, ending in a depthwise convolution of all pixels.

    With `num_classes` the logit is the last features times the embedding of the label.
    """

    image_first: ClassVar = "layers"

    def __init__(
        self,
        *,
        channels: int,
        start: Start,
        doublings: int,
        width: int,
        group_size: int,
        blocks: int,
        halvings: int = 0,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        total = blocks * (doublings + 1)
        widths = _widths(width, doublings, halvings)[::-1]
        self.input = nn.Conv2d(channels, widths[0], 1, bias=False)
        _initialise(self.input)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [*_blocks(inputs, group_size, blocks, total), Resample(inputs, up=False)]
            layers += _other_width(inputs, outputs)
        self.layers = nn.Sequential(*layers, *_blocks(width, group_size, blocks, total))
        self.basis = nn.Conv2d(width, width, sides_of(start), groups=width, bias=False)
        self.head = nn.Linear(width, width if num_classes else 1, bias=False)
        _initialise(self.basis)
        _initialise(self.head)
        self.embedding = nn.Embedding(num_classes, width) if num_classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, (num_classes * width) ** -0.5)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits, of the labels `[batch]` where the network has classes."""
        features = self.head(self.basis(self.layers(self.input(images))).flatten(1))
        if self.embedding is None:
            return features.squeeze(1)
        assert labels is not None
        return (features * self.embedding(labels)).sum(1)
