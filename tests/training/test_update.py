"""`update`: gradients of the named parameters only, what `watch` returns, and autocast's cache."""

import pytest
import torch
from torch import nn

from ganforge.training.update import OptimizerUpdate


def two_layers(rate: float = 0.1) -> tuple[nn.Linear, nn.Linear, OptimizerUpdate]:
    first, second = nn.Linear(3, 4), nn.Linear(4, 1)
    optimizers = {
        name: torch.optim.SGD(layer.parameters(), rate)
        for name, layer in (("first", first), ("second", second))
    }
    return first, second, OptimizerUpdate(optimizers, "cpu")


def copy(layer: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in layer.named_parameters()}


def test_only_the_named_parameters_get_gradients_and_move() -> None:
    first, second, update = two_layers()
    before = copy(first), copy(second)
    inputs = torch.randn(5, 3)
    loss = second(torch.relu(first(inputs))).square().mean()
    expected = torch.autograd.grad(loss, list(second.parameters()), retain_graph=True)
    assert update("second", loss) is None
    for name, parameter in first.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[0][name])
    for (name, parameter), gradient in zip(second.named_parameters(), expected, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)
        assert torch.equal(parameter, before[1][name] - 0.1 * gradient)


def test_gradients_of_earlier_updates_are_cleared() -> None:
    first, second, update = two_layers()
    inputs = torch.randn(5, 3)
    for _ in range(3):
        loss = second(first(inputs)).mean()
        expected = torch.autograd.grad(loss, list(second.parameters()), retain_graph=True)
        update("second", loss)
        for parameter, gradient in zip(second.parameters(), expected, strict=True):
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, gradient)


def test_watch_returns_the_exact_gradient() -> None:
    first, second, update = two_layers()
    before = copy(first)
    hidden = first(torch.randn(5, 3))
    leaf = hidden.detach().requires_grad_()
    loss = second(leaf).square().sum()
    (expected,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    gradient = update("second", loss, watch=leaf)
    assert gradient is not None
    assert torch.equal(gradient, expected)
    # ... and carried on by hand it is the gradient through both layers.
    update("first", (hidden * gradient).sum())
    for name, parameter in first.named_parameters():
        assert not torch.equal(parameter, before[name])


def test_one_backward_gives_the_gradients_of_two() -> None:
    """One-stage training: the generator's gradient is the watched one times its slope."""
    first, second, update = two_layers(rate=0.0)
    inputs = torch.randn(5, 3)
    direct = torch.autograd.grad(-second(first(inputs)).square().sum(), list(first.parameters()))
    hidden = first(inputs)
    leaf = hidden.detach().requires_grad_()
    gradient = update("second", second(leaf).square().sum(), watch=leaf)
    assert gradient is not None
    update("first", -(hidden * gradient).sum())
    for parameter, expected in zip(first.parameters(), direct, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-6, atol=1e-6)


def test_an_update_inside_autocast_is_seen_by_the_next_forward() -> None:
    """Autocast caches bf16 copies of weights; those from before the update must not be used."""
    layer = nn.Linear(3, 4)
    update = OptimizerUpdate({"layer": torch.optim.SGD(layer.parameters(), 10.0)}, "cpu")
    inputs = torch.randn(5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        old = layer(inputs)
        update("layer", layer(inputs).float().square().mean())
        new = layer(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fresh = layer(inputs)
    assert new.dtype == torch.bfloat16
    assert not torch.equal(new, old)
    assert torch.equal(new, fresh)


def test_the_trap_is_there() -> None:
    """Without clearing the cache the old weights are used: what the test above would catch."""
    layer = nn.Linear(3, 4)
    inputs = torch.randn(5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        old = layer(inputs)
        with torch.no_grad():
            layer.weight.add_(1)
            layer.bias.add_(1)
        assert torch.equal(layer(inputs), old)


def test_an_unknown_name_is_a_mistake_in_the_system() -> None:
    *_, update = two_layers()
    with pytest.raises(KeyError, match="third"):
        update("third", torch.zeros((), requires_grad=True))


def test_a_tensor_watched_twice_gets_each_gradient_alone() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    update = OptimizerUpdate({"only": torch.optim.SGD([weight], 0.0)}, "cpu")
    leaf = torch.ones(1, requires_grad=True)
    for factor in (2.0, 3.0):
        gradient = update("only", (weight * leaf * factor).sum(), watch=leaf)
        assert gradient is not None
        assert gradient.item() == factor
