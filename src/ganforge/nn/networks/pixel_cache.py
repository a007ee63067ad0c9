"""Making images sub-pixel by sub-pixel at the cost of a pixel each: what is kept of the pixels before.

A cache makes the rows of all maps from the left to the right. What the rows above contribute to a row is
computed once, for the whole row; a pixel then costs a few small matrix products in each layer, written into
preallocated buffers. With several colours a product computes the features of one colour, from its slice of
the masked weights; features of later colours are stale then, and meet weights of 0.
"""

from typing import Protocol

import torch
from torch import Tensor

from ganforge.nn.layers import MaskedConv2d, colour_spans


class PixelCache(Protocol):
    """Images in the making."""

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


class CachedBlock(Protocol):
    """A block that makes its own cache."""

    def start(self, count: int, width: int, colours: int) -> BlockCache:
        """A cache of `count` images of that width."""


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
