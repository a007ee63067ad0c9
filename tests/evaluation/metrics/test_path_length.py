"""Perceptual path length: laws of its paths, closed forms, and a twin in NumPy."""

import numpy
import pytest
import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.path_length import EPSILON, path_length
from ganforge.nn.paths import lerp, slerp


def latents(count: int, size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, size, generator=generator), torch.randn(count, size, generator=generator)


def squared(near: Tensor, far: Tensor) -> Tensor:
    return (near - far).square().sum(1)


@pytest.mark.parametrize("between", [slerp, lerp])
def test_paths_begin_and_end_where_they_should(between) -> None:
    start, end = latents(5)
    torch.testing.assert_close(between(start, end, torch.zeros(5)), start.double(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(between(start, end, torch.ones(5)), end.double(), rtol=1e-12, atol=1e-12)
    assert between(start, end, torch.rand(5)).dtype == torch.float64


def test_arcs_equal_the_formula_of_shoemake_and_keep_to_the_shell() -> None:
    start, end = (side.double() / side.double().norm(dim=1, keepdim=True) for side in latents(6))
    places = torch.rand(6, dtype=torch.float64)
    angle = (start * end).sum(1).arccos()
    weights = torch.sin((1 - places) * angle) / angle.sin(), torch.sin(places * angle) / angle.sin()
    expected = weights[0][:, None] * start + weights[1][:, None] * end
    torch.testing.assert_close(slerp(start, end, places), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(slerp(start, end, places).norm(dim=1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(slerp(start, start, places), start)
    lengths = slerp(2 * start, 4 * end, torch.full((6,), 0.5)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((6,), 3.0, dtype=torch.float64))


def test_straight_paths_of_the_identity_are_as_long_as_they_are() -> None:
    """d = |x - y|^2 and G(z) = z give |z_1 - z_0|^2 exactly, whatever t."""
    start, end = (torch.zeros(200, 4), torch.full((200, 4), 3.0))
    found = path_length(squared, start, end, spherical=False)
    assert found.mean == pytest.approx(36, rel=1e-9)
    assert found.standard_error == pytest.approx(0, abs=1e-6)
    assert found.num_paths == 196


def test_arcs_of_the_identity_are_the_squared_angle() -> None:
    """On the unit sphere at right angles: (pi / 2)^2, up to the chord's share of epsilon^2."""
    start, end = torch.eye(2)[[0] * 150], torch.eye(2)[[1] * 150]
    assert path_length(squared, start, end, spherical=True).mean == pytest.approx(
        (torch.pi / 2) ** 2, rel=1e-7
    )


def test_a_generator_twice_as_steep_has_four_times_the_length() -> None:
    start, end = latents(100)

    def twice(near: Tensor, far: Tensor) -> Tensor:
        return squared(2 * near, 2 * far)

    one, two = (path_length(d, start, end, spherical=True).mean for d in (squared, twice))
    assert two == pytest.approx(4 * one, rel=1e-9)


def test_equals_a_twin_with_the_trimming() -> None:
    start, end = latents(300)
    found = path_length(squared, start, end, spherical=False, seed=5)
    places = torch.rand(300, generator=torch.Generator().manual_seed(5), dtype=torch.float64).numpy()[:, None]
    x, y = start.double().numpy(), end.double().numpy()
    near, far = x + places * (y - x), x + (places + EPSILON) * (y - x)
    distances = numpy.sort(((near - far) ** 2).sum(1) / EPSILON**2)[3:-3]
    assert found.mean == pytest.approx(distances.mean(), rel=1e-6)
    assert found.standard_error == pytest.approx(distances.std(ddof=1) / 294**0.5, rel=1e-6)


def test_mistakes_are_named() -> None:
    start, end = latents(4)
    with pytest.raises(UserError, match="equal shapes, 2 or more"):
        path_length(squared, start, end[:3], spherical=True)
    with pytest.raises(UserError, match="NaN or infinite"):
        path_length(lambda near, far: near[:, 0] * torch.nan, start, end, spherical=True)
