"""Row LSTM and Diagonal BiLSTM of "Pixel Recurrent Neural Networks", arXiv 1601.06759."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from ganforge.nn.layers import MaskedConv2d, colour_spans
from ganforge.nn.networks.lstm import diagonal_scan, lstm_step
from ganforge.nn.networks.pixel_cache import BlockCache, Context, Product, Row, columns_of


class RowLSTM(nn.Module):
    """A residual block whose state goes down row by row, by a convolution of three pixels of the row above.

    Maps `[batch, 2 * width, height, columns]` to the same. Section 3.1.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.input_to_state = MaskedConv2d(2 * width, width, "B", colours, side=1, maps_out=4)
        self.state_to_state = nn.Linear(3 * width, 4 * width, bias=False)
        self.up = MaskedConv2d(width, 2 * width, "B", colours)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        states = []
        with torch.autocast(maps.device.type, enabled=False):
            gates = self.input_to_state(maps.to(self.up.weight.dtype)).permute(2, 0, 3, 1).contiguous()
            hidden = cell = gates.new_zeros(*gates.shape[1:3], self.width)  # [batch, columns, width]
            for row in gates:
                around = self.neighbours(hidden)
                hidden, cell = lstm_step(row + self.state_to_state(around), cell)
                states.append(hidden)
        return maps + self.up(torch.stack(states, dim=1).permute(0, 3, 1, 2))

    def neighbours(self, hidden: Tensor) -> Tensor:
        """Each pixel's state with those to its left and right: `[batch, columns, 3 * width]`."""
        padded = pad(hidden, (0, 0, 1, 1))
        return torch.cat([padded[:, :-2], hidden, padded[:, 2:]], dim=2)

    def start(self, count: int, width: int, colours: int) -> BlockCache:
        """The block's part of a cache."""
        return RowCache(self, count, width, colours)


class DiagonalBiLSTM(nn.Module):
    """A residual block whose state goes along diagonals, once from the left and once from the right.

    The state of a pixel follows from those of its neighbours on the left and above. What comes from the right
    has seen the rest of its row, so it is added one row further down. Maps `[batch, 2 * width, height,
    columns]` to the same. Section 3.2.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.input_to_state = MaskedConv2d(2 * width, width, "B", colours, maps_out=8)  # of both directions
        # From the states on the left and above.
        self.state_to_state = nn.Parameter(torch.empty(2, 2 * width, 4 * width))
        nn.init.uniform_(self.state_to_state, -((2 * width) ** -0.5), (2 * width) ** -0.5)
        self.up = MaskedConv2d(width, 2 * width, "B", colours)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        with torch.autocast(maps.device.type, enabled=False):
            pixels = maps.to(self.up.weight.dtype).permute(2, 3, 0, 1)  # [height, columns, batch, features]
            both = torch.stack([pixels, pixels.flip(1)])
            weight, bias = self.input_weights()
            gates = torch.baddbmm(bias[:, None], both.flatten(1, 3), weight).unflatten(1, both.shape[1:4])
            from_left, from_right = diagonal_scan(gates, self.state_to_state)
            states = from_left + pad(from_right.flip(1)[:-1], (0, 0, 0, 0, 0, 0, 1, 0))
        return maps + self.up(states.permute(2, 3, 0, 1))

    def input_weights(self) -> tuple[Tensor, Tensor]:
        """For both directions' gates, weights `[2, 2 * width, 4 * width]` and biases `[2, 4 * width]`."""
        convolution = self.input_to_state
        assert convolution.bias is not None
        weight = convolution.masked_weight().flatten(1).unflatten(0, (2, -1)).transpose(1, 2)
        return weight, convolution.bias.unflatten(0, (2, -1))

    def start(self, count: int, width: int, colours: int) -> BlockCache:
        """The block's part of a cache."""
        return DiagonalCache(self, count, width, colours)


class LSTMStep:
    """One step of an LSTM for one colour of a pixel, in buffers: `gates` in, cell and hidden state out."""

    def __init__(self, of: Tensor, count: int, width: int) -> None:
        self.gates = of.new_empty(count, 4 * width)
        self.open, self.values = self.gates[:, : 3 * width], self.gates[:, 3 * width :]
        self.output, self.forget, self.new = self.open.chunk(3, dim=1)
        self.squashed = of.new_empty(count, width)

    def __call__(self, before: Tensor, cell: Tensor, hidden: Tensor) -> None:
        """Write `cell` and `hidden` `[count, width]`, from `gates` and the cell `before`."""
        self.open.sigmoid_()
        self.values.tanh_()
        torch.mul(self.forget, before, out=cell)
        cell.addcmul_(self.new, self.values)
        torch.tanh(cell, out=self.squashed)
        torch.mul(self.output, self.squashed, out=hidden)


class RowCache:
    """A `RowLSTM`: the states of the row above, and of this row as far as it is done."""

    def __init__(self, block: "RowLSTM", count: int, width: int, colours: int) -> None:
        of, features = block.up.weight.detach(), block.width
        self.inputs = Product(block.input_to_state, colours)
        self.block, self.state_to_state = block, block.state_to_state.weight.detach()
        self.up = Product(block.up, colours).with_bias()
        self.source = Row(of, count, width, 2 * features, colours, left=1)
        self.hidden = Row(of, count, width, features, colours, constant=True)
        self.cell = Row(of, count, width, features, colours)
        self.context = Context(of, count, width, self.inputs.columns)
        self.context.fill(self.inputs.bias.expand(count, width, -1))
        self.steps = [LSTMStep(of, count, span.stop - span.start) for span in colour_spans(features, colours)]

    def begin_row(self) -> None:
        """What the states of the complete row add to the gates of the one below it."""
        around = self.block.neighbours(self.hidden.values[..., :-1])
        self.context.fill(linear(around, self.state_to_state, self.inputs.bias))

    def step(self, column: int, colour: int, target: Row) -> None:
        """One colour of one pixel."""
        step, cell = self.steps[colour], self.cell.cells[colour][column]
        context, window = self.context.cells[colour][column], self.source.windows[column]
        torch.addmm(context, window, self.inputs.matrices[colour], out=step.gates)
        step(cell, cell, self.hidden.cells[colour][column])
        own = self.source.cells[colour][column]
        hidden = self.hidden.windows[column]
        torch.addmm(own, hidden, self.up[colour], out=target.cells[colour][column])


class DiagonalCache:
    """A `DiagonalBiLSTM`: states from the left up to the pixel at hand; from the right, of the row above."""

    def __init__(self, block: "DiagonalBiLSTM", count: int, width: int, colours: int) -> None:
        of, features = block.up.weight.detach(), block.width
        (left, self.right_inputs), (bias, self.right_bias) = (both.detach() for both in block.input_weights())
        (side, self.above), (self.right_side, self.right_above) = (
            both.split(features) for both in block.state_to_state.detach()
        )
        columns = columns_of(4 * features, colours, 4, of.device)
        self.inputs = [left[:, chosen].contiguous() for chosen in columns]
        self.side = [side[:, chosen].contiguous() for chosen in columns]
        self.bias = bias
        self.up = Product(block.up, colours).with_bias()
        self.source = Row(of, count, width, 2 * features, colours)
        self.hidden = Row(of, count, width, features, colours, left=1)
        self.cell = Row(of, count, width, features, colours, left=1)
        self.right = Row(of, count, width, features, colours)
        self.both = Row(of, count, 1, features, colours, constant=True)
        self.context = Context(of, count, width, columns)
        self.context.fill(self.bias.expand(count, width, -1))
        self.steps = [LSTMStep(of, count, span.stop - span.start) for span in colour_spans(features, colours)]
        self.right_step = LSTMStep(of, count, features)

    def begin_row(self) -> None:
        """Both directions' part of the complete row in the one below it."""
        above = linear(self.hidden.values[:, 1:], self.above.T, self.bias)
        self.context.fill(above)
        sums = self.source.values @ self.right_inputs + self.right.values @ self.right_above + self.right_bias
        gates = sums.transpose(0, 1)
        step, states = self.right_step, self.right.values
        cell, before = torch.zeros_like(states[:, 0]), torch.zeros_like(states[:, 0])
        for column in reversed(range(states.shape[1])):
            torch.addmm(gates[column], before, self.right_side, out=step.gates)
            before = states[:, column]
            step(cell, cell, before)

    def step(self, column: int, colour: int, target: Row) -> None:
        """One colour of one pixel."""
        step, own = self.steps[colour], self.source.cells[colour][column]
        context = self.context.cells[colour][column]
        torch.addmm(context, self.source.windows[column], self.inputs[colour], out=step.gates)
        step.gates.addmm_(self.hidden.values[:, column], self.side[colour])
        before = self.cell.values[:, column, self.cell.spans[colour]]
        hidden = self.hidden.cells[colour][column]
        step(before, self.cell.cells[colour][column], hidden)
        torch.add(hidden, self.right.cells[colour][column], out=self.both.cells[colour][0])
        torch.addmm(own, self.both.windows[0], self.up[colour], out=target.cells[colour][column])
