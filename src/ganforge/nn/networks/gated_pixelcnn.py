"""Gated PixelCNN: logits of every sub-pixel, given those before it.

Van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", arXiv 1606.05328.
"""

import math
from collections.abc import Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

from ganforge.nn.layers import MaskedConv2d, colour_spans
from ganforge.nn.networks.pixel_cache import Context, PixelCache, Product, Row, RowsAbove
from ganforge.nn.networks.pixelcnn import FIRST_REACH, Head, HeadCache, initialise_open


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
        """What is kept while `count` images of that width are made pixel by pixel."""
        return GatedCache(self, count, width, labels)
