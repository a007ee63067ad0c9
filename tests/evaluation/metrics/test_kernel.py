import numpy
import pytest
import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.kernel import KernelDistance, kernel_distance


def features(count: int, dimension: int, seed: int) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def loops(real: numpy.ndarray, fake: numpy.ndarray) -> float:
    """The unbiased squared MMD, one pair at a time."""
    size = len(real)

    def kernel(left: numpy.ndarray, right: numpy.ndarray) -> float:
        return float(sum(a * b for a, b in zip(left, right, strict=True)) / len(left) + 1) ** 3

    total = 0.0
    for i in range(size):
        for j in range(size):
            if i != j:
                total += (kernel(real[i], real[j]) + kernel(fake[i], fake[j])) / (size * (size - 1))
            total -= 2 * kernel(real[i], fake[j]) / size**2
    return total


def test_equals_the_definition() -> None:
    real, fake = features(12, 5, seed=0).double(), features(12, 5, seed=1).double() * 1.3 + 0.2
    distance = kernel_distance(real, fake, num_subsets=3, subset_size=12)
    assert distance.mean == pytest.approx(loops(real.numpy(), fake.numpy()), rel=1e-10)
    assert (distance.std, distance.num_subsets) == (None, 1)  # a subset of everything is always the same


def in_numpy(real: numpy.ndarray, fake: numpy.ndarray) -> float:
    """The same from whole matrices."""
    size, dimension = real.shape
    within = [(side @ side.T / dimension + 1) ** 3 for side in (real, fake)]
    for matrix in within:
        numpy.fill_diagonal(matrix, 0)
    between = (real @ fake.T / dimension + 1) ** 3
    return float(sum(matrix.sum() for matrix in within) / (size * (size - 1)) - 2 * between.sum() / size**2)


def test_equals_numpy_over_the_subsets_that_its_generator_draws() -> None:
    """Mean and standard deviation over subsets, each without a row twice, in float64 of float32 features."""
    real, fake = features(90, 64, seed=0).relu(), features(70, 64, seed=1).relu() * 1.1
    generator, values = torch.Generator().manual_seed(3), []
    for _ in range(6):
        pair = [side[torch.randperm(len(side), generator=generator)[:25]] for side in (real, fake)]
        values.append(in_numpy(*(side.numpy().astype(numpy.float64) for side in pair)))
    distance = kernel_distance(real, fake, num_subsets=6, subset_size=25, seed=3)
    assert distance.mean == pytest.approx(numpy.mean(values), rel=1e-6)
    assert distance.std == pytest.approx(numpy.std(values), rel=1e-6)


def test_halves_of_one_set_are_no_distance_apart() -> None:
    both = features(4000, 32, seed=2)
    distance = kernel_distance(both[:2000], both[2000:], num_subsets=50, subset_size=500)
    assert distance.std is not None
    assert abs(distance.mean) < 2 * distance.std
    far = kernel_distance(both[:2000], both[2000:] + 0.3, num_subsets=50, subset_size=500)
    assert far.std is not None
    assert far.mean > 10 * far.std


def test_is_unbiased_where_subsets_are_small() -> None:
    both = features(20000, 4, seed=3)
    distance = kernel_distance(both[:10000], both[10000:], num_subsets=2000, subset_size=10)
    assert distance.std is not None
    assert abs(distance.mean) < 4 * distance.std / 2000**0.5
    assert distance.std > 0.1  # some are far below zero


def test_the_seed_decides_and_the_global_one_does_not() -> None:
    real, fake = features(300, 4, seed=4), features(300, 4, seed=5)
    torch.manual_seed(1)
    first = kernel_distance(real, fake, 5, 100, seed=7)
    state = torch.get_rng_state()
    assert kernel_distance(real, fake, 5, 100, seed=7) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert kernel_distance(real, fake, 5, 100, seed=8) != first


def test_the_size_used_is_reported() -> None:
    distance = kernel_distance(features(60, 4, seed=0), features(40, 4, seed=1), num_subsets=2)
    assert distance == KernelDistance(distance.mean, None, num_subsets=2, subset_size=40)


@pytest.mark.parametrize(
    ("real", "fake", "size", "told"),
    [(5, 5, 1000, False), (300, 9000, 1000, False), (1999, 2000, 1000, False), (2000, 2000, 1000, True),
     (40, 60, 20, True)],
)  # fmt: skip
def test_a_spread_is_that_of_subsets_that_share_few_features(
    real: int, fake: int, size: int, told: bool
) -> None:
    """Whatever is left out here would be a rounding error, or far below what other features would vary by."""
    distance = kernel_distance(features(real, 4, seed=0), features(fake, 4, seed=1), 4, size)
    assert (distance.std is not None) == told
    assert told == (distance.std is not None and distance.std > 1e-6)


def test_user_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="draw more samples"):
        kernel_distance(torch.ones(1, 2), torch.ones(4, 2))
    with pytest.raises(UserError, match=r"pass \[n, d\]"):
        kernel_distance(torch.ones(4, 3), torch.ones(4, 2))
    with pytest.raises(UserError, match="NaN"):
        kernel_distance(torch.full((4, 2), torch.nan), torch.ones(4, 2))
