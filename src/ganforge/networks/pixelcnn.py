"""PixelCNN with residual blocks and Gated PixelCNN: logits of every sub-pixel, given those before it.

Van den Oord et al. 2016: "Pixel Recurrent Neural Networks", arXiv 1601.06759, and "Conditional Image
Generation with PixelCNN Decoders", arXiv 1606.05328.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from ganforge.layers import MaskedConv2d
from ganforge.networks.pixel_cache import BlockCache, GatedCache, PixelCache, ResidualCache, StackCache

FIRST_REACH = 3  # of the first convolution, 7x7


class Head(nn.Module):
    """Three convolutions 1x1 with mask B, ReLU between them; the last gives logits.

    Maps `[batch, maps_in * in_features, height, width]` to logits `[batch, levels, colours, height, width]`.
    """

    def __init__(self, in_features: int, width: int, levels: int, colours: int, maps_in: int = 1) -> None:
        super().__init__()
        self.levels, self.colours = levels, colours
        self.first = MaskedConv2d(in_features, width, "B", colours, maps_in=maps_in)
        self.second = MaskedConv2d(width, width, "B", colours)
        self.last = MaskedConv2d(width, levels * colours, "B", colours)
        for layer, gain in ((self.first, math.sqrt(2)), (self.second, math.sqrt(2)), (self.last, 1.0)):
            initialise_open(layer, gain)

    def forward(self, maps: Tensor) -> Tensor:
        """Logits."""
        logits = self.last(relu(self.second(relu(self.first(maps)))))
        return logits.unflatten(1, (self.colours, self.levels)).transpose(1, 2)


class MaskedStack(nn.Module):
    """A convolution 7x7 with mask A, blocks that each add to its 2 x width features, ReLU and the head."""

    def __init__(
        self, blocks: Sequence[nn.Module], *, width: int, head_width: int, levels: int, colours: int
    ) -> None:
        super().__init__()
        self.colours = colours
        self.first = MaskedConv2d(colours, 2 * width, "A", colours, above=FIRST_REACH, side=FIRST_REACH)
        self.blocks = nn.ModuleList(blocks)
        self.head = Head(2 * width, head_width, levels, colours)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits `[batch, levels, colours, height, width]` of images in [-1, 1]; labels are not heeded."""
        maps = self.first(images)
        for block in self.blocks:
            maps = block(maps)
        return self.head(relu(maps))

    def start(self, count: int, width: int, labels: Tensor | None = None) -> PixelCache:
        """What is kept while `count` pictures of that width are made pixel by pixel."""
        return StackCache(self, count, width)


class ResidualBlock(nn.Module):
    """ReLU, 1x1 to half the features, ReLU, 3x3, ReLU, 1x1 back, all with mask B, added to the input."""

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.down = MaskedConv2d(2 * width, width, "B", colours)
        self.middle = MaskedConv2d(width, width, "B", colours, above=1, side=1)
        self.up = MaskedConv2d(width, 2 * width, "B", colours)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        return maps + self.up(relu(self.middle(relu(self.down(relu(maps))))))

    def start(self, count: int, width: int, colours: int) -> BlockCache:
        """The block's part of a cache."""
        return ResidualCache(self, count, width, colours)


class GatedLayer(nn.Module):
    """One layer of the vertical stack, which sees the rows above, and of the horizontal one, which sees both.

    An n x n convolution of the vertical stack is one of n // 2 + 1 rows that end in its own row; on its way
    to the horizontal stack it is shifted down by one row. `residual` False leaves out the horizontal stack's
    way to a next layer; in the first layer (mask A) it has nothing to be added to. Section 2 and figure 2.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        mask: Literal["A", "B"],
        colours: int,
        *,
        kernel_size: int,
        num_classes: int,
        residual: bool,
    ) -> None:
        super().__init__()
        self.reach = kernel_size // 2
        self.adds = mask == "B"
        self.vertical = nn.Conv2d(in_features, 2 * width, (self.reach + 1, 2 * self.reach + 1))
        self.link = nn.Conv2d(2 * width, 2 * width, 1, bias=False)
        self.horizontal = MaskedConv2d(in_features, width, mask, colours, side=self.reach, maps_out=2)
        self.residual = MaskedConv2d(width, width, "B", colours) if residual else None
        self.labels = nn.Embedding(num_classes, 4 * width) if num_classes else None
        if self.labels is not None:
            nn.init.zeros_(self.labels.weight)
        # A gate lets through less than half of its sums, and the vertical stack adds nothing back: at torch's
        # scale what it knows of the rows above is 0.002 as large after seven layers.
        initialise_open(self.vertical, 2.0)
        initialise_open(self.link, math.sqrt(2))
        initialise_open(self.horizontal, math.sqrt(2))
        if self.residual is not None:
            initialise_open(self.residual, 0.5)

    def biases(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What labels int64 `[batch]` add to either stack's sums: `[batch, 2 * width]` twice."""
        assert self.labels is not None
        vertical, horizontal = self.labels(labels).chunk(2, dim=1)
        return vertical, horizontal

    def forward(
        self, vertical: Tensor, horizontal: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The vertical and the horizontal stack after this layer, and what goes to the head."""
        reach = self.reach
        above = self.vertical(pad(vertical, (reach, reach, reach, 0)))
        sums = self.horizontal(horizontal)
        if self.labels is not None:
            assert labels is not None, "a conditional network needs labels"
            of_vertical, of_horizontal = self.biases(labels)
            above, sums = above + of_vertical[:, :, None, None], sums + of_horizontal[:, :, None, None]
        gated = gate(sums + self.link(pad(above, (0, 0, 1, -1))))
        if self.residual is None:
            return above, horizontal, gated  # the last layer: the head sees `gated` alone
        passed = self.residual(gated)
        return gate(above), horizontal + passed if self.adds else passed, gated


def gate(sums: Tensor) -> Tensor:
    """The tanh of the first half of the features times the sigmoid of the second: equation 2."""
    values, gates = sums.chunk(2, dim=1)
    return torch.tanh(values) * torch.sigmoid(gates)


def initialise_open(convolution: nn.Conv2d, gain: float) -> None:
    """Draw weights from N(0, gain^2 / inputs), of the inputs that a mask leaves open, and set biases to 0."""
    if isinstance(convolution, MaskedConv2d):
        inputs = convolution.open_inputs
    else:
        inputs = math.prod(convolution.weight.shape[1:])
    nn.init.normal_(convolution.weight, 0.0, gain / math.sqrt(max(inputs, 1.0)))
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


class GatedPixelCNN(nn.Module):
    """Gated layers, the first 7x7 with mask A; the head sees what all of them send it.

    `num_classes` 0 leaves the labels out.
    """

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        kernel_size: int,
        head_width: int,
        levels: int,
        colours: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.colours = colours
        self.layers = nn.ModuleList(
            GatedLayer(
                width if index else colours,
                width,
                "B" if index else "A",
                colours,
                kernel_size=kernel_size if index else 2 * FIRST_REACH + 1,
                num_classes=num_classes,
                residual=index < layers - 1,
            )
            for index in range(layers)
        )
        self.head = Head(width, head_width, levels, colours, maps_in=layers)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits `[batch, levels, colours, height, width]` of images in [-1, 1], labels int64 `[batch]`."""
        vertical = horizontal = images
        sent = []
        for layer in self.layers:
            vertical, horizontal, gated = layer(vertical, horizontal, labels)
            sent.append(gated)
        return self.head(torch.cat(sent, dim=1))

    def start(self, count: int, width: int, labels: Tensor | None = None) -> PixelCache:
        """What is kept while `count` pictures of that width are made pixel by pixel."""
        return GatedCache(self, count, width, labels)
