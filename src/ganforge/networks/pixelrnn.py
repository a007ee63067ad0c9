"""Row LSTM and Diagonal BiLSTM of van den Oord et al. 2016, "Pixel Recurrent Neural Networks", arXiv 1601.06759.

Each step is `[o, f, i, g] = K_ss * h_before + K_is * x`, `c = sigmoid(f) c_before + sigmoid(i) tanh(g)`,
`h = sigmoid(o) tanh(c)`: equation 3. Gates are one tensor whose last dimension is o, f, i and g, `width` each.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ganforge.layers import MaskedConv2d
from ganforge.networks.pixel_cache import BlockCache
from ganforge.networks.pixelrnn_cache import DiagonalCache, RowCache

# A state of 0 stays 0 under gates of this value, which all sigmoids take for closed.
CLOSED = -1e4


class RowLSTM(nn.Module):
    """A residual block whose state goes down row by row, by a convolution of three pixels of the row above.

    Maps `[batch, 2 * width, height, width of the picture]` to the same.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.input_to_state = MaskedConv2d(2 * width, width, "B", colours, side=1, maps_out=4)
        self.state_to_state = nn.Linear(3 * width, 4 * width, bias=False)
        self.up = MaskedConv2d(width, 2 * width, "B", colours)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        gates = self.input_to_state(maps).permute(2, 0, 3, 1).contiguous()  # [height, batch, columns, 4 width]
        hidden = cell = gates.new_zeros(*gates.shape[1:3], self.width)
        states = []
        for row in gates:
            beside = pad(hidden, (0, 0, 1, 1)).unfold(1, 3, 1).transpose(2, 3).flatten(2)
            hidden, cell = lstm_step(row + self.state_to_state(beside), cell)
            states.append(hidden)
        return maps + self.up(torch.stack(states, dim=2).permute(0, 3, 2, 1))

    def start(self, count: int, width: int, colours: int) -> BlockCache:
        """The block's part of a cache."""
        return RowCache(self, count, width, colours)


class DiagonalBiLSTM(nn.Module):
    """A residual block whose state goes along diagonals, once from the left and once from the right.

    The state of a pixel follows from those of its neighbours beside and above. What comes from the right has
    seen the rest of its row, so it is added one row further down. Maps `[batch, 2 * width, height, width of
    the picture]` to the same. Section 3.2.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.input_to_state = nn.ModuleList(
            MaskedConv2d(2 * width, width, "B", colours, maps_out=4) for _ in range(2)
        )
        # Of both directions: from the states beside and above, [2, 2 * width, 4 * width].
        self.state_to_state = nn.Parameter(torch.empty(2, 2 * width, 4 * width))
        nn.init.uniform_(self.state_to_state, -((2 * width) ** -0.5), (2 * width) ** -0.5)
        self.up = MaskedConv2d(width, 2 * width, "B", colours)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        left, right = self.input_to_state
        gates = torch.stack([left(maps), right(maps).flip(3)])
        from_left, from_right = self._scan(gates)
        return maps + self.up(from_left + pad(from_right.flip(3), (0, 0, 1, -1)))

    def _scan(self, gates: Tensor) -> Tensor:
        """States `[2, batch, width, height, columns]` of gates `[2, batch, 4 width, height, columns]`."""
        batch, height, columns = gates.shape[1], gates.shape[3], gates.shape[4]
        # Column by column of the skewed map: [diagonals, 2, batch, height, 4 width].
        diagonals = skew(gates).permute(4, 0, 1, 3, 2).contiguous()
        hidden = cell = diagonals.new_zeros(2, batch * height, self.width)
        states = []
        for diagonal in diagonals:
            above = pad(hidden.unflatten(1, (batch, height)), (0, 0, 1, -1)).flatten(1, 2)
            sums = torch.baddbmm(diagonal.flatten(1, 2), torch.cat([hidden, above], 2), self.state_to_state)
            hidden, cell = lstm_step(sums, cell)
            states.append(hidden)
        skewed = torch.stack(states, dim=-1).unflatten(1, (batch, height)).transpose(2, 3)
        return unskew(skewed, columns)

    def start(self, count: int, width: int, colours: int) -> BlockCache:
        """The block's part of a cache."""
        return DiagonalCache(self, count, width, colours)


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden state and cell `[..., width]` of gates `[..., 4 * width]`."""
    output, forget, new, values = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(new) * torch.tanh(values)
    return torch.sigmoid(output) * torch.tanh(cell), cell


def skew(maps: Tensor) -> Tensor:
    """Maps `[..., height, columns]` with each row one column further right, `[..., height, columns + height - 1]`.

    What they do not cover is `CLOSED`.
    """
    height, columns = maps.shape[-2:]
    wide = columns + height - 1
    flat = pad(maps, (0, height), value=CLOSED).flatten(-2)
    return flat[..., : height * wide].unflatten(-1, (height, wide))


def unskew(maps: Tensor, columns: int) -> Tensor:
    """What `skew` gives `maps` of so many columns, back."""
    height = maps.shape[-2]
    flat = pad(maps.flatten(-2), (0, height))
    return flat.unflatten(-1, (height, columns + height))[..., :columns]
