"""Making pictures sub-pixel by sub-pixel at the cost of a pixel each: what is kept of the pixels before.

A cache makes the rows of all maps from the left to the right. What the rows above contribute to a row is
computed once, for the whole row; a pixel then costs a few small matrix products in each layer, written into
preallocated buffers. With several colours a product computes the features of one colour, from its slice of
the masked weights; features of later colours are stale then, and meet weights of 0.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, linear

from ganforge.layers import MaskedConv2d, colour_spans

if TYPE_CHECKING:
    from ganforge.networks.pixelcnn import GatedLayer, GatedPixelCNN, Head, MaskedStack, ResidualBlock


class PixelCache(Protocol):
    """Pictures in the making."""

    pixels: "Row"

    def begin_row(self) -> None:
        """Go to the next row: the one before, in `pixels`, is complete."""

    def logits(self, column: int, colour: int) -> Tensor:
        """Logits `[count, levels]` of a sub-pixel, a buffer; all earlier ones are in `pixels`."""


class BlockCache(Protocol):
    """One block of a `MaskedStack`."""

    source: "Row"

    def begin_row(self) -> None:
        """Take in the row that is complete."""

    def step(self, column: int, colour: int, target: "Row") -> None:
        """From the block's `source` write one colour's features of one pixel to `target`."""


class _Starts(Protocol):
    def start(self, count: int, width: int, colours: int) -> BlockCache: ...


class Row:
    """One row of maps, `values` `[count, left + width, features]`; the first `left` columns stay 0.

    `windows[x]` is column x with the `left` ones before it, as a matrix `[count, (left + 1) * features]`, and
    `cells[colour][x]` that colour's features of column x: both are views. `constant` appends a feature that
    is always 1, which is in the windows only.
    """

    def __init__(
        self,
        of: Tensor,
        count: int,
        width: int,
        features: int,
        colours: int,
        left: int = 0,
        constant: bool = False,
    ) -> None:
        self.left = left
        values = of.new_zeros(count, left + width, features + constant)
        if constant:
            values[..., -1] = 1
        self.values = values
        self.windows = [values[:, x : x + left + 1].view(count, -1) for x in range(width)]
        self.spans = colour_spans(features, colours)
        self.cells = [[values[:, left + x, span] for x in range(width)] for span in self.spans]

    def maps(self) -> Tensor:
        """The row as `[count, features, width]`."""
        return self.values[:, self.left :].transpose(1, 2)


class RowsAbove:
    """The last rows of maps, padded with zeros: `values` `[count, features, rows, width + 2 * side]`."""

    def __init__(self, of: Tensor, count: int, width: int, features: int, rows: int, side: int) -> None:
        self.values = of.new_zeros(count, features, rows, width + 2 * side)
        self.columns = slice(side, side + width)

    def push(self, maps: Tensor) -> None:
        """Add the row `[count, features, width]` and forget the oldest."""
        self.values = self.values.roll(-1, dims=2)
        self.values[:, :, -1, self.columns] = maps


class Context:
    """What is known of the sums of a row before its pixels are: `cells[colour][x]` `[count, columns]`."""

    def __init__(self, of: Tensor, count: int, width: int, columns: list[Tensor]) -> None:
        self.columns = columns
        self.buffers = [of.new_empty(width, count, len(chosen)) for chosen in columns]
        self.cells = [list(buffer.unbind(0)) for buffer in self.buffers]

    def fill(self, sums: Tensor) -> None:
        """Take `sums` `[count, width, features]`."""
        for buffer, chosen in zip(self.buffers, self.columns, strict=True):
            buffer.copy_(sums[:, :, chosen].transpose(0, 1))


class Product:
    """The current row's part of a masked convolution, as one matrix for each colour.

    `matrices[colour]` is `[(side + 1) * inputs, columns]` and `biases[colour]` `[columns]`, where
    `columns[colour]` are that colour's features of all maps of the output.
    """

    def __init__(self, convolution: MaskedConv2d, colours: int) -> None:
        weight = convolution.masked_weight().detach()
        assert convolution.bias is not None
        self.above = weight[:, :, :-1].contiguous()
        self.bias = convolution.bias.detach()
        self.inputs = weight.shape[1]
        self.columns = columns_of(len(weight), colours, convolution.maps_out, weight.device)
        matrix = weight[:, :, -1, : convolution.side + 1].permute(2, 1, 0).flatten(0, 1)
        self.matrices = [matrix[:, columns].contiguous() for columns in self.columns]
        self.biases = [self.bias[columns] for columns in self.columns]

    def with_bias(self, factor: float = 1.0) -> list[Tensor]:
        """The matrices, times a factor, with the biases as a last row, for inputs that end in a 1."""
        pairs = zip(self.matrices, self.biases, strict=True)
        return [torch.cat([factor * matrix, bias[None]]) for matrix, bias in pairs]


def columns_of(features: int, colours: int, maps: int, device: torch.device) -> list[Tensor]:
    """For each colour its features, int64, among those of `maps` maps of `features` in all."""
    every = torch.arange(features, device=device).view(maps, -1)
    return [every[:, span].flatten() for span in colour_spans(features // maps, colours)]


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
        self.found = source.new_empty(len(source), head.levels)

    def logits(self, colour: int) -> Tensor:
        """Logits `[count, levels]` of a colour; a buffer."""
        first, second, last = self.first, self.second, self.last
        low, high = self.low_parts[colour], self.high_parts[colour]
        torch.addmm(first.biases[colour], self.source, first.matrices[colour], out=low).relu_()
        torch.addmm(second.biases[colour], self.low, second.matrices[colour], out=high).relu_()
        return torch.addmm(last.biases[colour], self.high, last.matrices[colour], out=self.found)


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
            block.start(count, width, colours) for block in cast(Iterable[_Starts], network.blocks)
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


class GatedCache:
    """A `GatedPixelCNN`: the vertical stack a row at a time, the horizontal one pixel by pixel."""

    def __init__(self, network: "GatedPixelCNN", count: int, width: int, labels: Tensor | None) -> None:
        of, colours = network.head.last.weight.detach(), network.colours
        gated = network.head.first.in_channels // len(network.layers)
        # What the layers send to the head; each is followed by a 1, which its own bias needs.
        sent = of.new_zeros(count, len(network.layers), gated + 1)
        sent[..., -1] = 1
        self.layers = [
            GatedLayerCache(layer, count, width, colours, labels, sent[:, index])
            for index, layer in enumerate(cast(Iterable["GatedLayer"], network.layers))
        ]
        self.pixels = self.layers[0].source
        self.head = HeadCache(network.head, sent.flatten(1))
        self.head.first.matrices = [
            torch.nn.functional.pad(
                0.5 * matrix.unflatten(0, (len(self.layers), gated)), (0, 0, 0, 1)
            ).flatten(0, 1)
            for matrix in self.head.first.matrices
        ]
        self.begun = False

    def begin_row(self) -> None:
        """Go to the next row; above the first one the horizontal stack sees nothing."""
        if self.begun:
            maps = self.pixels.maps()
            for layer in self.layers:
                maps = layer.begin_row(maps)
        self.begun = True

    def logits(self, column: int, colour: int) -> Tensor:
        """Logits `[count, levels]` of a sub-pixel."""
        for layer, following in zip(self.layers, self.layers[1:], strict=False):
            layer.step(column, colour)
            layer.pass_on(column, colour, following.source)
        self.layers[-1].step(column, colour)
        return self.head.logits(colour)


class GatedLayerCache:
    """A `GatedLayer`, which writes twice its gated features to `gated` `[count, width + 1]`, ending in a 1.

    The sigmoid of s is (1 + tanh(s / 2)) / 2, so that one call makes both halves: what is sent on is
    tanh (1 + tanh), and the weights that it meets are halved.
    """

    def __init__(
        self, layer: "GatedLayer", count: int, width: int, colours: int, labels: Tensor | None, gated: Tensor
    ) -> None:
        of = layer.link.weight.detach()
        self.layer, self.gated = layer, gated
        self.horizontal = Product(layer.horizontal, colours)
        features = gated.shape[1] - 1
        self.halves = torch.cat([of.new_ones(features), of.new_full((features,), 0.5)])
        self.matrices = [
            matrix * self.halves[columns]
            for matrix, columns in zip(self.horizontal.matrices, self.horizontal.columns, strict=True)
        ]
        self.link = layer.link.weight.detach().flatten(1)
        biases = [layer.vertical.bias.detach()[None], self.horizontal.bias[None]]  # type: ignore[union-attr]
        if layer.labels is not None:
            assert labels is not None, "a conditional network needs labels"
            biases = [own + added for own, added in zip(biases, layer.biases(labels), strict=True)]
        self.vertical_bias, self.horizontal_bias = (bias.detach() for bias in biases)
        inputs = self.horizontal.inputs
        self.above = RowsAbove(of, count, width, inputs, layer.reach + 1, layer.reach)
        self.source = Row(of, count, width, inputs, colours, left=layer.reach)
        self.context = Context(of, count, width, self.horizontal.columns)
        self.context.fill((self.horizontal_bias * self.halves)[:, None].expand(count, width, -1))
        spans = colour_spans(features, colours)
        self.sums = [of.new_empty(count, 2 * (span.stop - span.start)) for span in spans]
        self.sum_halves = [tuple(sums.chunk(2, dim=1)) for sums in self.sums]
        self.gated_parts = [gated[:, span] for span in spans]
        if layer.residual is not None:
            self.residual = Product(layer.residual, colours).with_bias(0.5)
            self.nothing = [of.new_zeros(count, span.stop - span.start) for span in spans]

    def begin_row(self, maps: Tensor) -> Tensor:
        """Take the complete row `[count, inputs, width]` of the vertical stack; returns the next layer's."""
        self.above.push(maps)
        vertical = (
            conv2d(self.above.values, self.layer.vertical.weight)[:, :, 0] + self.vertical_bias[:, :, None]
        )
        sums = linear(vertical.transpose(1, 2), self.link) + self.horizontal_bias[:, None]
        self.context.fill(sums * self.halves)
        values, gates = vertical.chunk(2, dim=1)
        return torch.tanh(values) * torch.sigmoid(gates)

    def step(self, column: int, colour: int) -> None:
        """One colour's gated features of one pixel."""
        context, sums = self.context.cells[colour][column], self.sums[colour]
        torch.addmm(context, self.source.windows[column], self.matrices[colour], out=sums).tanh_()
        values, gates = self.sum_halves[colour]
        torch.addcmul(values, values, gates, out=self.gated_parts[colour])

    def pass_on(self, column: int, colour: int, target: Row) -> None:
        """Write what the next layer's horizontal stack sees to `target`."""
        own = self.source.cells[colour][column] if self.layer.adds else self.nothing[colour]
        torch.addmm(own, self.gated, self.residual[colour], out=target.cells[colour][column])
