"""PixelCNN with residual blocks and Gated PixelCNN: logits of every sub-pixel, given those before it.

Van den Oord et al. 2016: "Pixel Recurrent Neural Networks", arXiv 1601.06759, and "Conditional Image
Generation with PixelCNN Decoders", arXiv 1606.05328.
"""

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, relu

from ganforge.nn.layers import MaskedConv2d, colour_spans
from ganforge.nn.networks.pixel_cache import (
    BlockCache,
    CachedBlock,
    Context,
    PixelCache,
    Product,
    Row,
    RowsAbove,
)

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
        """Logits `[batch, levels, colours, height, width]` of images in [-1, 1]; labels are ignored."""
        maps = self.first(images)
        for block in self.blocks:
            maps = block(maps)
        return self.head(relu(maps))

    def start(self, count: int, width: int, labels: Tensor | None = None) -> PixelCache:
        """What is kept while `count` images of that width are made pixel by pixel."""
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


def initialise_open(convolution: nn.Conv2d, gain: float) -> None:
    """Draw weights from N(0, gain^2 / inputs), of the inputs that a mask leaves open, and set biases to 0."""
    if isinstance(convolution, MaskedConv2d):
        inputs = convolution.open_inputs
    else:
        inputs = math.prod(convolution.weight.shape[1:])
    nn.init.normal_(convolution.weight, 0.0, gain / math.sqrt(max(inputs, 1.0)))
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


class HeadCache:
    """The head; `source` `[count, inputs]` is what it sees, of the pixel at hand."""

    def __init__(self, head: "Head", source: Tensor) -> None:
        first, second, last = (Product(layer, head.colours) for layer in (head.first, head.second, head.last))
        self.source = source
        self.first, self.second, self.last = first, second, last
        spans = colour_spans(len(first.bias), head.colours)
        self.low = source.new_zeros(len(source), len(first.bias))
        self.high = source.new_zeros(len(source), len(second.bias))
        self.low_parts = [self.low[:, span] for span in spans]
        self.high_parts = [self.high[:, span] for span in spans]
        self.output = source.new_empty(len(source), head.levels)

    def logits(self, colour: int) -> Tensor:
        """Logits `[count, levels]` of a colour; a buffer."""
        first, second, last = self.first, self.second, self.last
        low, high = self.low_parts[colour], self.high_parts[colour]
        torch.addmm(first.biases[colour], self.source, first.matrices[colour], out=low).relu_()
        torch.addmm(second.biases[colour], self.low, second.matrices[colour], out=high).relu_()
        return torch.addmm(last.biases[colour], self.high, last.matrices[colour], out=self.output)


class StackCache:
    """A `MaskedStack`: its first convolution, its blocks and its head."""

    def __init__(self, network: "MaskedStack", count: int, width: int) -> None:
        of, colours = network.first.weight.detach(), network.colours
        self.first = Product(network.first, colours)
        reach = network.first.side
        self.pixels = Row(of, count, width, colours, colours, left=reach)
        self.above = RowsAbove(of, count, width, colours, reach, reach)
        self.context = Context(of, count, width, self.first.columns)
        self.blocks = [
            block.start(count, width, colours) for block in cast(Iterable[CachedBlock], network.blocks)
        ]
        last = Row(of, count, width, len(self.first.bias), colours)
        self.rows = [*(block.source for block in self.blocks), last]
        self.head = HeadCache(network.head, of.new_zeros(count, len(self.first.bias)))
        self.head_parts = [self.head.source[:, span] for span in last.spans]
        self.begun = False

    def begin_row(self) -> None:
        """Go to the next row."""
        if self.begun:
            self.above.push(self.pixels.maps())
            for block in self.blocks:
                block.begin_row()
        self.begun = True
        self.context.fill(
            conv2d(self.above.values, self.first.above, self.first.bias)[:, :, 0].transpose(1, 2)
        )

    def logits(self, column: int, colour: int) -> Tensor:
        """Logits `[count, levels]` of a sub-pixel."""
        torch.addmm(
            self.context.cells[colour][column],
            self.pixels.windows[column],
            self.first.matrices[colour],
            out=self.rows[0].cells[colour][column],
        )
        for block, target in zip(self.blocks, self.rows[1:], strict=True):
            block.step(column, colour, target)
        torch.clamp_min(self.rows[-1].cells[colour][column], 0, out=self.head_parts[colour])
        return self.head.logits(colour)


class ResidualCache:
    """A `ResidualBlock`: its middle convolution sees the row above and the pixel to the left."""

    def __init__(self, block: "ResidualBlock", count: int, width: int, colours: int) -> None:
        of = block.up.weight.detach()
        self.down, self.middle = Product(block.down, colours), Product(block.middle, colours)
        self.up = Product(block.up, colours).with_bias()
        features = len(self.down.bias)
        self.source = Row(of, count, width, 2 * features, colours)
        self.seen = Row(of, count, width, features, colours, left=1)
        self.context = Context(of, count, width, self.middle.columns)
        self.context.fill(self.middle.bias.expand(count, width, -1))
        # One pixel's features: of the source after its ReLU, and of the middle with a 1.
        self.opened = Row(of, count, 1, 2 * features, colours)
        self.sums = Row(of, count, 1, features, colours, constant=True)

    def begin_row(self) -> None:
        """What the complete row adds to the one below it."""
        above = conv1d(self.seen.maps(), self.middle.above[:, :, 0], self.middle.bias, padding=1)
        self.context.fill(above.transpose(1, 2))

    def step(self, column: int, colour: int, target: Row) -> None:
        """One colour of one pixel."""
        down, middle, own = self.down, self.middle, self.source.cells[colour][column]
        seen, sums = self.seen.cells[colour][column], self.sums.cells[colour][0]
        torch.clamp_min(own, 0, out=self.opened.cells[colour][0])
        torch.addmm(down.biases[colour], self.opened.windows[0], down.matrices[colour], out=seen).relu_()
        context, window = self.context.cells[colour][column], self.seen.windows[column]
        torch.addmm(context, window, middle.matrices[colour], out=sums).relu_()
        torch.addmm(own, self.sums.windows[0], self.up[colour], out=target.cells[colour][column])
