"""Row LSTM and Diagonal BiLSTM of "Pixel Recurrent Neural Networks", arXiv 1601.06759."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ganforge.layers import MaskedConv2d
from ganforge.networks.lstm import diagonal_scan, lstm_step
from ganforge.networks.pixel_cache import BlockCache
from ganforge.networks.pixelrnn_cache import DiagonalCache, RowCache


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
                beside = self.beside(hidden)
                hidden, cell = lstm_step(row + self.state_to_state(beside), cell)
                states.append(hidden)
        return maps + self.up(torch.stack(states, dim=1).permute(0, 3, 1, 2))

    def beside(self, hidden: Tensor) -> Tensor:
        """Each pixel's state with those to its left and right: `[batch, columns, 3 * width]`."""
        padded = pad(hidden, (0, 0, 1, 1))
        return torch.cat([padded[:, :-2], hidden, padded[:, 2:]], dim=2)

    def start(self, count: int, width: int, colours: int) -> BlockCache:
        """The block's part of a cache."""
        return RowCache(self, count, width, colours)


class DiagonalBiLSTM(nn.Module):
    """A residual block whose state goes along diagonals, once from the left and once from the right.

    The state of a pixel follows from those of its neighbours beside and above. What comes from the right has
    seen the rest of its row, so it is added one row further down. Maps `[batch, 2 * width, height, columns]`
    to the same. Section 3.2.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.input_to_state = MaskedConv2d(2 * width, width, "B", colours, maps_out=8)  # of both directions
        # From the states beside and above.
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
