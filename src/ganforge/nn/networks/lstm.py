"""The recurrences of PixelRNN with their gradients written out, several times faster than autograd's.

Each step is `[o, f, i, g] = K_ss * h_before + K_is * x`, `c = sigmoid(f) c_before + sigmoid(i) tanh(g)`,
`h = sigmoid(o) tanh(c)`: van den Oord et al. 2016, arXiv 1601.06759, equation 3. Gates are one tensor whose
last dimension is o, f, i and g, `width` each.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad


def diagonal_scan(gates: Tensor, weight: Tensor) -> Tensor:
    """States of an LSTM along diagonals: `[directions, height, columns, batch, width]`, 0 outside.

    `gates` `[directions, height, columns, batch, 4 width]` is what the inputs give; the states to the left
    and above add theirs by `weight` `[directions, 2 width, 4 width]`, the cell is the one to the left. All
    pixels of a diagonal are computed together. Wants float32, outside of autocast; differentiable once.
    """
    if torch.compiler.is_exporting():
        return plain_diagonal_scan(gates, weight)
    states: Tensor = _DiagonalScan.apply(gates.contiguous(), weight)  # type: ignore[no-untyped-call]
    return states


def lstm_step(sums: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden state and cell `[..., width]` of gates `[..., 4 width]`; differentiable once."""
    if torch.compiler.is_exporting():
        return plain_lstm_step(sums, cell)
    hidden, cell = _LSTMStep.apply(sums, cell)  # type: ignore[no-untyped-call]
    return hidden, cell


def plain_diagonal_scan(gates: Tensor, weight: Tensor) -> Tensor:
    """`diagonal_scan` by operations that exporters know, a step for each diagonal."""
    directions, height, columns, batch, features = gates.shape
    steps = height + columns - 1
    # Row r moves r pixels to the right, so that each diagonal is a column; what is outside stays 0.
    skewed = pad(gates, (0, 0, 0, 0, 0, height)).flatten(1, 2)[:, : height * steps]
    skewed = skewed.unflatten(1, (height, steps))
    place = torch.arange(steps, device=gates.device) - torch.arange(height, device=gates.device)[:, None]
    inside = ((place >= 0) & (place < columns)).to(gates.dtype)[:, :, None, None]
    hidden = cell = gates.new_zeros(directions, height, batch, features // 4)
    states = []
    for step in range(steps):
        before = torch.cat([hidden, pad(hidden[:, :-1], (0, 0, 0, 0, 1, 0))], dim=3)
        sums = torch.matmul(before, weight[:, None]) + skewed[:, :, step]
        hidden, cell = plain_lstm_step(sums, cell, inside[:, step])
        states.append(hidden)
    flat = pad(torch.stack(states, dim=2).flatten(1, 2), (0, 0, 0, 0, 0, height))
    return flat.unflatten(1, (height, steps + 1))[:, :, :columns]


def plain_lstm_step(sums: Tensor, cell: Tensor, inside: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`lstm_step` by operations that exporters know; both results are 0 where `inside` is."""
    output, forget, new, values = sums.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(new) * torch.tanh(values)
    if inside is not None:
        cell = cell * inside
    return torch.sigmoid(output) * torch.tanh(cell), cell


class _LSTMStep(Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        gates = sums.clone()
        hidden, cell, squashed = _advance(gates, before)
        ctx.save_for_backward(gates, before, squashed)
        return hidden, cell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_hidden: Tensor, by_cell: Tensor) -> tuple[Tensor, Tensor]:
        gates, before, squashed = ctx.saved_tensors
        by_sums = torch.empty_like(gates)
        return by_sums, _retreat(gates, before, squashed, by_hidden, by_cell, by_sums)


class _DiagonalScan(Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        directions, height, columns, batch, features = inputs.shape
        gates = torch.empty_like(inputs)
        states, cells, squashed = (
            gates.new_empty(directions, height, columns, batch, features // 4) for _ in range(3)
        )
        # State and cell of each row at the diagonal at hand; row 0 is what lies above the image.
        hidden = gates.new_zeros(directions, height + 1, batch, features // 4)
        cell = torch.zeros_like(hidden)
        for index, rows, above in _diagonals(height, columns):
            before = torch.cat([hidden[:, rows], hidden[:, above]], dim=3)
            sums = torch.bmm(before.flatten(1, 2), weight).view(directions, -1, batch, features)
            sums += _diagonal(inputs, index, above)
            advanced = _advance(sums, cell[:, rows])
            hidden[:, rows], cell[:, rows] = advanced[:2]
            for kept, part in zip((states, cells, squashed, gates), (*advanced, sums), strict=True):
                _diagonal(kept, index, above).copy_(part)
        ctx.save_for_backward(gates, weight, states, cells, squashed)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_states: Tensor) -> tuple[Tensor, Tensor]:
        gates, weight, states, cells, squashed = ctx.saved_tensors
        directions, height, columns, batch, features = gates.shape
        width = features // 4
        by_states = by_states.contiguous()
        by_gates = torch.empty_like(gates)
        cells_before = pad(cells[:, :, :-1], (0, 0, 0, 0, 1, 0))
        by_hidden = gates.new_zeros(directions, height + 1, batch, width)
        by_cell = torch.zeros_like(by_hidden)
        transposed = weight.transpose(1, 2).contiguous()
        for index, rows, above in reversed(list(_diagonals(height, columns))):
            own = [_diagonal(kept, index, above) for kept in (gates, cells_before, squashed)]
            by_own = by_hidden[:, rows] + _diagonal(by_states, index, above)
            by_sums = gates.new_empty(own[0].shape)
            by_before = _retreat(own[0], own[1], own[2], by_own, by_cell[:, rows], by_sums)
            _diagonal(by_gates, index, above).copy_(by_sums)
            by_both = torch.bmm(by_sums.flatten(1, 2), transposed).view(directions, -1, batch, 2 * width)
            by_hidden.zero_()
            by_hidden[:, rows] = by_both[..., :width]
            by_hidden[:, above] += by_both[..., width:]
            by_cell.zero_()
            by_cell[:, rows] = by_before
        side = pad(states[:, :, :-1], (0, 0, 0, 0, 1, 0))
        upper = pad(states[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        before = torch.cat([side, upper], dim=4).flatten(1, 3)
        return by_gates, torch.bmm(before.transpose(1, 2), by_gates.flatten(1, 3))


def _diagonals(height: int, columns: int) -> Iterator[tuple[int, slice, slice]]:
    """Number of each diagonal, its rows counted from 1, and the same from 0, which are the rows above."""
    for index in range(height + columns - 1):
        first, last = max(0, index - columns + 1), min(height - 1, index)
        yield index, slice(first + 1, last + 2), slice(first, last + 1)


def _diagonal(maps: Tensor, index: int, rows: slice) -> Tensor:
    """The pixels of a diagonal, `[directions, rows, batch, features]`, a view of contiguous `maps`."""
    directions, height, columns, batch, features = maps.shape
    pixel = batch * features
    return maps.as_strided(
        (directions, rows.stop - rows.start, batch, features),
        (height * columns * pixel, (columns - 1) * pixel, features, 1),
        (rows.start * columns + index - rows.start) * pixel,
    )


def _advance(sums: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Next state, cell and tanh of the cell; makes gates of `sums` in place."""
    width = before.shape[-1]
    sums[..., : 3 * width].sigmoid_()
    sums[..., 3 * width :].tanh_()
    output, forget, new, values = sums.chunk(4, dim=-1)
    cell = torch.addcmul(forget * before, new, values)
    squashed = torch.tanh(cell)
    return output * squashed, cell, squashed


def _retreat(
    gates: Tensor, before: Tensor, squashed: Tensor, by_hidden: Tensor, by_cell: Tensor, by_sums: Tensor
) -> Tensor:
    """The gradient by the cell `before`; writes that by the sums to `by_sums`."""
    width = before.shape[-1]
    opened = gates[..., : 3 * width]
    output, forget, new, values = gates.chunk(4, dim=-1)
    by_output, by_forget, by_new, by_values = by_sums.chunk(4, dim=-1)
    through = by_hidden * output
    by_cell = by_cell + through - through * squashed * squashed
    torch.addcmul(opened, opened, opened, value=-1, out=by_sums[..., : 3 * width])  # s (1 - s)
    by_output *= by_hidden * squashed
    by_forget *= by_cell * before
    by_new *= by_cell * values
    scaled = by_cell * new
    torch.addcmul(scaled, scaled * values, values, value=-1, out=by_values)
    return by_cell * forget
