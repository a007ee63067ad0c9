import pytest
import torch
from scipy.stats import linregress, t
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.frechet import (
    NUM_SIZES,
    STUDENT_95,
    Moments,
    frechet_at_infinity,
    frechet_distance,
)


def features(count: int, dimension: int, seed: int) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def exact() -> Moments:
    """Moments as good as those of N(0, I) in 32 dimensions."""
    half = features(100_000, 32, seed=0)
    return Moments.of(torch.cat([half, -half]))


def test_equals_the_regression_of_scipy(exact: Moments) -> None:
    found = frechet_at_infinity(exact, features(2000, 32, seed=1), smallest=200)
    sizes, distances = zip(*found.distances, strict=True)
    line = linregress([1 / size for size in sizes], distances)
    assert found.value == pytest.approx(line.intercept, rel=1e-6)
    width = t.ppf(0.975, NUM_SIZES - 2) * line.intercept_stderr
    assert found.half_width == pytest.approx(width, rel=1e-6)
    assert t.ppf(0.975, NUM_SIZES - 2) == pytest.approx(STUDENT_95, rel=1e-9)


def test_sizes_are_even_and_the_last_holds_everything(exact: Moments) -> None:
    fake = features(1600, 32, seed=2)
    found = frechet_at_infinity(exact, fake, smallest=200)
    assert [size for size, _ in found.distances] == list(range(200, 1601, 100))
    assert found.distances[-1][1] == pytest.approx(frechet_distance(exact, Moments.of(fake)), rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_takes_the_bias_away(exact: Moments, shift: float) -> None:
    """N(0, I) against N(shift, I) are 32 shift^2 apart."""
    truth = 32 * shift**2
    found, plain = [], []
    for seed in range(3, 7):
        fake = features(2000, 32, seed) + shift
        found.append(frechet_at_infinity(exact, fake, smallest=400).value)
        plain.append(frechet_distance(exact, Moments.of(fake)))
    error, bias = abs(sum(found) / 4 - truth), sum(plain) / 4 - truth
    assert bias > 0.1
    if shift == 0:  # elsewhere the noise of the mean is larger than the bias
        assert error < 0.25 * bias
    assert error < 0.02 * 32 * (shift + 0.1)


def test_the_seed_decides_and_the_global_one_does_not(exact: Moments) -> None:
    fake = features(500, 32, seed=8)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = frechet_at_infinity(exact, fake, 100, seed=3)
    assert frechet_at_infinity(exact, fake, 100, seed=3) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert frechet_at_infinity(exact, fake, 100, seed=4) != first


def test_distances_grow_with_the_square_of_the_scale() -> None:
    real, fake = features(1000, 8, seed=9), features(500, 8, seed=10) + 1
    one = frechet_at_infinity(Moments.of(real), fake, 100)
    ten = frechet_at_infinity(Moments.of(real * 10), fake * 10, 100)
    assert ten.value == pytest.approx(100 * one.value, rel=1e-6)
    assert ten.half_width == pytest.approx(100 * one.half_width, rel=1e-6)


def test_user_mistakes_are_named(exact: Moments) -> None:
    with pytest.raises(UserError, match="at least 400 rows"):
        frechet_at_infinity(exact, features(399, 32, seed=0), smallest=200)
    with pytest.raises(UserError, match="at least 4 rows"):
        frechet_at_infinity(exact, features(3, 32, seed=0), smallest=1)
    with pytest.raises(UserError, match="same feature extractor"):
        frechet_at_infinity(exact, features(100, 8, seed=0), smallest=10)
    with pytest.raises(UserError, match="NaN"):
        frechet_at_infinity(exact, features(100, 32, seed=0) * torch.nan, smallest=10)
