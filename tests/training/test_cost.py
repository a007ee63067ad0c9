"""Products counted for `--dry-run`."""

import pytest
import torch

from ganforge.training import cost


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_a_convolution_and_its_gradients(groups: int, transposed: bool) -> None:
    layer = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    network = layer(8, 8, 3, padding=1, groups=groups)
    counter = cost.FlopCounter()
    with counter:
        network(torch.zeros(2, 8, 5, 5, requires_grad=True)).sum().backward()
    forward = 2 * 2 * 8 * 25 * (8 // groups) * 9
    assert counter.flops == 3 * forward
