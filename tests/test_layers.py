"""Blocks and initialisers."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ganforge.layers import Maxout, initialise_normal, initialise_uniform


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def assert_moments(values: Tensor, mean: float, std: float) -> None:
    """Sample mean and standard deviation within five standard errors (kurtosis at most a Gaussian's)."""
    count = values.numel()
    assert abs(float(values.mean()) - mean) < 5 * std / math.sqrt(count)
    assert abs(float(values.std()) - std) < 5 * std / math.sqrt(2 * count)


@pytest.mark.parametrize(("in_features", "units", "pieces"), [(3, 4, 5), (7, 1, 2), (2, 6, 1)])
def test_maxout_is_the_largest_of_its_affine_maps(in_features: int, units: int, pieces: int) -> None:
    layer, inputs = Maxout(in_features, units, pieces), torch.randn(9, in_features)
    outputs = layer(inputs)
    assert outputs.shape == (9, units)
    for unit in range(units):
        rows = range(unit * pieces, (unit + 1) * pieces)
        maps = [inputs @ layer.linear.weight[row] + layer.linear.bias[row] for row in rows]
        torch.testing.assert_close(outputs[:, unit], torch.stack(maps).max(0).values)


def test_maxout_is_convex() -> None:
    layer, left, right = Maxout(5, 8, 3), torch.randn(50, 5), torch.randn(50, 5)
    assert (layer((left + right) / 2) <= (layer(left) + layer(right)) / 2 + 1e-6).all()


@pytest.mark.parametrize("bound", [0.05, 0.005])
def test_uniform(bound: float) -> None:
    network = nn.Sequential(nn.Linear(300, 200), Maxout(200, 100, 5))
    initialise_uniform(network, bound)
    for linear in (module for module in network.modules() if isinstance(module, nn.Linear)):
        assert float(linear.weight.abs().max()) <= bound
        assert_moments(linear.weight, 0.0, bound / math.sqrt(3))
        assert not linear.bias.any()


@pytest.mark.parametrize("biases", [False, True])
def test_normal(biases: bool) -> None:
    network = nn.Sequential(
        nn.Linear(400, 5_000),
        nn.Conv2d(32, 4_000, 5),
        nn.ConvTranspose2d(32, 4_000, 5),
        nn.BatchNorm2d(4_000),
    )
    initialise_normal(network, 0.02, biases)
    *layers, norm = network
    for layer in layers:
        assert_moments(layer.weight, 0.0, 0.02)
        if biases:
            assert_moments(layer.bias, 0.0, 0.02)
        else:
            assert not layer.bias.any()
    assert_moments(norm.weight, 1.0, 0.02)
    assert not norm.bias.any()


def test_layers_without_bias() -> None:
    initialise_normal(nn.Linear(3, 4, bias=False), biases=True)
