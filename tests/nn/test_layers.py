"""Blocks and initialisers."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ganforge.nn.layers import (
    ConditionalBatchNorm2d,
    Maxout,
    ProjectionHead,
    initialise_normal,
    initialise_uniform,
    normalise_spectrally,
    spectral_norms,
)


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


def test_norm_without_gain() -> None:
    norm = nn.BatchNorm2d(3, affine=False)
    initialise_normal(norm)
    assert not list(norm.parameters())


# Batch norm by class


def test_batch_norm_of_equal_rows_is_plain_batch_norm() -> None:
    """As they begin, gains 1 and biases 0, and with any other row that all classes have."""
    conditional, plain = ConditionalBatchNorm2d(3, 4), nn.BatchNorm2d(3, eps=2e-5)
    for row in ((1.0, 0.0), (torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, -3.0]))):
        for parameter, layer, value in zip(
            plain.parameters(), (conditional.gain, conditional.bias), row, strict=True
        ):
            if isinstance(value, Tensor):
                parameter.copy_(value)
                layer.weight.copy_(value.expand(4, 3))
        for training in (True, False):
            maps = 3 * torch.randn(8, 3, 5, 5) + 1
            labels = torch.arange(8) % 4
            conditional.train(training)
            plain.train(training)
            torch.testing.assert_close(conditional(maps, labels), plain(maps))
        torch.testing.assert_close(conditional.norm.running_mean, plain.running_mean)
        torch.testing.assert_close(conditional.norm.running_var, plain.running_var)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_by_class(training: bool) -> None:
    """Each sample has the gain and bias of its class; mean and variance are those of the whole batch."""
    norm = ConditionalBatchNorm2d(3, 4).train(training)
    nn.init.normal_(norm.gain.weight)
    nn.init.normal_(norm.bias.weight)
    maps, labels = 3 * torch.randn(6, 3, 5, 5) + 1, torch.tensor([3, 0, 0, 1, 3, 2])
    mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
    if not training:
        mean, variance = torch.zeros(3), torch.ones(3)
    found = norm(maps, labels)
    for index, label in enumerate(labels):
        for channel in range(3):
            whitened = (maps[index, channel] - mean[channel]) / (variance[channel] + 2e-5).sqrt()
            wanted = norm.gain.weight[label, channel] * whitened + norm.bias.weight[label, channel]
            torch.testing.assert_close(found[index, channel], wanted)


def test_classes_share_the_running_statistics() -> None:
    first, second = ConditionalBatchNorm2d(3, 4), ConditionalBatchNorm2d(3, 4)
    maps = torch.randn(8, 3, 5, 5)
    first(maps, torch.zeros(8, dtype=torch.int64))
    second(maps, torch.arange(8) % 4)
    assert {name: tuple(tensor.shape) for name, tensor in first.named_buffers()} == {
        "norm.running_mean": (3,),
        "norm.running_var": (3,),
        "norm.num_batches_tracked": (),
    }
    for left, right in zip(first.buffers(), second.buffers(), strict=True):
        assert torch.equal(left, right)


# Projection


def test_projection_by_hand() -> None:
    head, features, labels = ProjectionHead(5, 3), torch.randn(7, 5), torch.tensor([0, 2, 1, 1, 0, 2, 2])
    logits = head(features, labels)
    assert logits.shape == (7,)
    for index, label in enumerate(labels):
        wanted = sum(
            float((head.dense.weight[0, j] + head.embedding.weight[label, j]) * features[index, j])  # type: ignore[misc]  # a layer's attribute is a Tensor or a Module to mypy
            for j in range(5)
        )
        assert float(logits[index]) == pytest.approx(wanted, rel=1e-5)


def test_projection_without_classes_is_linear() -> None:
    """No bias: features of 0 have the logit 0, even where they were computed in less precision."""
    head, features = ProjectionHead(5), torch.randn(7, 5)
    logits = head(features)
    torch.testing.assert_close(logits, features @ head.dense.weight[0])
    assert not head(torch.zeros(2, 5)).any()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(features), logits)
        assert head(features.bfloat16()).dtype == torch.float32


# Spectral normalisation


def layered() -> nn.Sequential:
    """A convolution, a dense layer and a head whose weights all have a largest singular value far from 1."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 6), ProjectionHead(6, 4)
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.7)
    return network


def largest(weight: Tensor) -> float:
    """Square root of the largest eigenvalue of W W^T: the singular value computed another way."""
    matrix = weight.reshape(len(weight), -1).double()
    return float(torch.linalg.eigvalsh(matrix @ matrix.T)[-1].clamp(min=0).sqrt())


def test_every_weight_is_divided_by_its_largest_singular_value() -> None:
    network = layered()
    weights = {name: p.clone() for name, p in network.named_parameters()}
    assert spectral_norms(network) == {}
    normalise_spectrally(network)
    for _ in range(200):
        network[:4](torch.randn(2, 3, 5, 5))
        network[4](torch.randn(2, 6), torch.tensor([0, 3]))
    norms = spectral_norms(network)
    assert set(norms) == {"0", "3", "4.dense", "4.embedding"}
    for name, norm in norms.items():
        assert norm == pytest.approx(1, rel=1e-3), name
        before = weights[f"{name}.weight"]
        effective = network.get_submodule(name).eval().weight
        torch.testing.assert_close(effective, before / largest(before), rtol=1e-3, atol=1e-6)
    assert torch.equal(network[0].bias, weights["0.bias"])


def test_spectral_norms_are_true_and_leave_all_as_it_was() -> None:
    network = layered()
    normalise_spectrally(network)
    for module in (network[0], network[3]):  # vectors far from the singular ones, so the norms are far from 1
        for buffer in module.buffers():
            buffer.copy_(nn.functional.normalize(torch.randn_like(buffer), dim=0))
    state, modes = network.state_dict(), [module.training for module in network.modules()]
    before = {name: tensor.clone() for name, tensor in state.items()}
    norms = spectral_norms(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    network.eval()
    assert norms == {
        name: pytest.approx(largest(network.get_submodule(name).weight), rel=1e-5) for name in norms
    }
    assert abs(norms["3"]) > 1.5


def vectors(layer: nn.Module) -> dict[str, Tensor]:
    return {name.rpartition(".")[2]: buffer.clone() for name, buffer in layer.named_buffers()}


@pytest.mark.parametrize("layer", [nn.Linear(7, 5), nn.Conv2d(3, 5, 3)], ids=["dense", "convolution"])
def test_one_round_of_power_iteration_in_training_and_none_in_evaluation(layer: nn.Module) -> None:
    inputs = torch.randn(2, 7) if isinstance(layer, nn.Linear) else torch.randn(2, 3, 4, 4)
    normalise_spectrally(layer)
    matrix = layer.parametrizations.weight.original.flatten(1)
    nn.init.normal_(matrix)  # new weights, so that the vectors have not converged
    u, v = (vectors(layer)[name] for name in ("_u", "_v"))

    layer.eval()
    outputs = layer(inputs)
    assert torch.equal(layer(inputs), outputs)
    assert torch.equal(vectors(layer)["_u"], u)
    assert torch.equal(vectors(layer)["_v"], v)

    layer.train()
    layer(inputs)
    u = matrix @ v / (matrix @ v).norm()
    v = matrix.T @ u / (matrix.T @ u).norm()
    torch.testing.assert_close(vectors(layer)["_u"], u)
    torch.testing.assert_close(vectors(layer)["_v"], v)
    layer.eval()
    torch.testing.assert_close(layer.weight.flatten(1), matrix / (u @ matrix @ v))


def test_no_gradient_flows_through_the_singular_vectors() -> None:
    """Equation 9 of Miyato et al. 2018: (A - <A, W / sigma> u v^T) / sigma for the slope A at W / sigma."""
    layer = nn.Linear(7, 5, bias=False)
    normalise_spectrally(layer)
    original = layer.parametrizations.weight.original
    nn.init.normal_(original)
    before, slope = vectors(layer)["_v"], torch.randn(5, 7)
    with torch.enable_grad():
        (found,) = torch.autograd.grad((layer.weight * slope).sum(), original)
        # The same round with a gradient through it, to see that it would be another.
        u = nn.functional.normalize(original @ before, dim=0)
        v = nn.functional.normalize(original.T @ u, dim=0)
        sigma = u @ original @ v
        (through,) = torch.autograd.grad((original / sigma * slope).sum(), original)
    normalised = original / sigma
    wanted = (slope - (slope * normalised).sum() * torch.outer(u, v)) / sigma
    torch.testing.assert_close(found, wanted)
    assert float((through - wanted).norm() / wanted.norm()) > 1e-2
