import math

import pytest
import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.modes import mode_coverage, reverse_kl_nats, stack_modes

ANGLES = torch.arange(8) * (2 * math.pi / 8)
RING = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1), 0.01
GRID = torch.cartesian_prod(torch.arange(-4.0, 5, 2), torch.arange(-4.0, 5, 2)), 0.05
TOYS = pytest.mark.parametrize("toy", [RING, GRID], ids=["ring", "grid"])


def draw(means: Tensor, std: float, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(len(means), (count,), generator=generator)
    return means[rows] + std * torch.randn(count, 2, generator=generator)


@TOYS
def test_the_truth_covers_every_mode(toy: tuple[Tensor, float]) -> None:
    coverage = mode_coverage(draw(*toy, 50_000), *toy)
    assert coverage.modes == coverage.num_modes == len(toy[0])
    expected = 100 * (1 - math.exp(-4.5))
    assert coverage.high_quality_percent == pytest.approx(expected, abs=0.15)  # 3 standard errors
    # (k - 1) / 2n is what an even histogram of n counts shows on average.
    assert 0 <= coverage.reverse_kl_nats < 3 * (len(toy[0]) - 1) / 100_000


@TOYS
def test_one_mode_alone(toy: tuple[Tensor, float]) -> None:
    means, std = toy
    coverage = mode_coverage(means[:1].repeat(10, 1), means, std)
    assert (coverage.modes, coverage.high_quality_percent) == (1, 100)
    assert coverage.reverse_kl_nats == pytest.approx(math.log(len(means)))


def test_an_uneven_histogram_and_the_edge_of_quality() -> None:
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])
    points = torch.tensor([[0.0, 0.0], [0.0, 2.9], [2.0, 2.0], [10.0, 0.0], [19.0, 3.1], [30.0, 3.0]])
    coverage = mode_coverage(points, means, std=1.0)
    # Three good points at the first mean and one at the second; the last two are 3 or more away.
    assert coverage.modes == 2
    assert coverage.high_quality_percent == pytest.approx(100 * 4 / 6)
    assert coverage.reverse_kl_nats == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1), abs=1e-12)


def test_nothing_good_is_the_worst_and_finite() -> None:
    means, std = RING
    for points in (torch.zeros(5, 2), torch.full((5, 2), torch.nan)):
        coverage = mode_coverage(points, means, std)
        assert (coverage.modes, coverage.high_quality_percent) == (0, 0)
        assert coverage.reverse_kl_nats == pytest.approx(math.log(8))


def test_user_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="ring or grid"):
        mode_coverage(torch.zeros(5, 1, 28, 28), *RING)


def test_reverse_kl_between_even_and_alone() -> None:
    assert reverse_kl_nats(torch.full((40,), 3)) == pytest.approx(0, abs=1e-12)
    assert reverse_kl_nats(torch.eye(40, dtype=torch.long)[7] * 9) == pytest.approx(math.log(40))
    assert reverse_kl_nats(torch.tensor([3, 1, 0, 0])) == pytest.approx(0.75 * math.log(3), abs=1e-12)
    assert reverse_kl_nats(torch.zeros(4, dtype=torch.long)) == pytest.approx(math.log(4))
    # The floor that a perfect sampler still shows.
    counts = torch.randint(1_000, (26_000,), generator=torch.Generator().manual_seed(0)).bincount()
    assert reverse_kl_nats(counts) == pytest.approx(999 / 52_000, rel=0.15)


def test_stacks_are_counted_by_their_three_digits_in_order() -> None:
    digits = torch.tensor([[0, 1, 2], [0, 1, 2], [2, 1, 0], [9, 9, 9], [0, 0, 0]])
    counts = stack_modes(digits)
    assert len(counts) == 1_000
    assert {int(mode): int(counts[mode]) for mode in counts.nonzero()} == {12: 2, 210: 1, 999: 1, 0: 1}
    for wrong in (digits[:, :2], digits.flatten(), digits[:0]):
        with pytest.raises(UserError, match=r"\[n, 3\]"):
            stack_modes(wrong)
