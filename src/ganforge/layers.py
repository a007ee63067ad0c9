"""Blocks and initialisers used by two or more networks."""

from torch import Tensor, nn


class Maxout(nn.Module):
    """The largest of `pieces` affine maps, unit by unit: `[batch, in_features]` -> `[batch, units]`.

    Goodfellow et al. 2013, "Maxout Networks", equation 1.
    """

    def __init__(self, in_features: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(in_features, units * pieces)

    def forward(self, inputs: Tensor) -> Tensor:
        """The maximum over the pieces of each unit."""
        return self.linear(inputs).unflatten(1, (-1, self.pieces)).amax(2)


def initialise_uniform(network: nn.Module, bound: float) -> None:
    """Draw every linear weight from U(-bound, bound) and set biases to 0, as pylearn2's `irange` does."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)


def initialise_normal(network: nn.Module, std: float = 0.02, biases: bool = False) -> None:
    """Draw every weight from N(0, std) and batch-norm gains from N(1, std); biases too, or set to 0.

    Radford et al. 2015, section 4 (std 0.02).
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, std) if biases else nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)
