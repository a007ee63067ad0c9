"""Divergences on histograms: closed forms at both ends, and points that are nowhere."""

import math

import pytest
import torch

from ganforge.evaluation.metrics.histogram import cell_counts, jensen_shannon_nats, kl_nats

LOW, HIGH = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0])


def test_every_point_is_counted_once_where_it_lies() -> None:
    points = torch.tensor([[-0.5, -0.5], [0.5, 0.5], [0.5, 0.5], [7.0, 0.0], [math.nan, 0.0]])
    assert cell_counts(points, LOW, HIGH, 2).tolist() == [1, 0, 0, 2, 2]


def test_equal_and_disjoint_histograms_have_known_divergences() -> None:
    one, other = torch.tensor([3.0, 5.0, 0.0]), torch.tensor([0.0, 0.0, 4.0])
    assert jensen_shannon_nats(one, 2 * one) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon_nats(one, other) == pytest.approx(math.log(2))
    assert kl_nats(one, one * 1e9) == pytest.approx(0, abs=1e-6)
    assert kl_nats(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 9.5])) == pytest.approx(math.log(21))


def test_samples_of_one_distribution_are_near_zero_and_shifted_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (0.3 * torch.randn(20_000, 2, generator=generator) for _ in range(2))
    counts = [cell_counts(points, LOW, HIGH, 12) for points in (first, second, first + 0.3)]
    assert jensen_shannon_nats(counts[0], counts[1]) < 0.005
    assert jensen_shannon_nats(counts[0], counts[2]) > 0.1
