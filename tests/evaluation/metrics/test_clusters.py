"""Errors of codes against classes: by brute force, and by what they promise."""

import itertools

import pytest
import torch

from ganforge.errors import UserError
from ganforge.evaluation.metrics.clusters import (
    best_assignment,
    count_pairs,
    many_to_one_error,
    one_to_one_error,
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("num_codes", "num_classes"), [(5, 5), (4, 6), (6, 4), (1, 3), (3, 1)])
def test_the_assignment_is_the_best_of_all(num_codes: int, num_classes: int, seed: int) -> None:
    torch.manual_seed(seed)
    counts = torch.randint(0, 50, (num_codes, num_classes))
    size = max(num_codes, num_classes)
    padded = torch.zeros(size, size, dtype=torch.int64)
    padded[:num_codes, :num_classes] = counts
    best = max(
        sum(int(padded[row, column]) for row, column in enumerate(order))
        for order in itertools.permutations(range(size))
    )
    classes = best_assignment(counts)
    used = [int(c) for c in classes if c >= 0]
    assert len(set(used)) == len(used) == min(num_codes, num_classes)
    assert sum(int(counts[row, c]) for row, c in enumerate(classes) if c >= 0) == best


def test_renamed_classes_are_no_error() -> None:
    labels = torch.arange(10).repeat(7)
    codes = torch.randperm(10)[labels]
    assert one_to_one_error(codes, labels, 10, 10) == 0
    assert many_to_one_error(codes, labels, 10, 10) == 0


def test_two_codes_of_one_class() -> None:
    """Class 0 has the codes 0 and 1, class 1 has none of its own: 4 and 6 of 16 against 10 of class 0."""
    labels = torch.tensor([0] * 10 + [1] * 6)
    codes = torch.tensor([0] * 6 + [1] * 4 + [1] * 3 + [0] * 3)
    assert many_to_one_error(codes, labels, 2, 2) == pytest.approx(100 * 6 / 16)
    assert one_to_one_error(codes, labels, 2, 2) == pytest.approx(100 * 7 / 16)
    assert count_pairs(codes, labels, 2, 2).tolist() == [[6, 3], [4, 3]]


def test_refusals() -> None:
    with pytest.raises(UserError, match="expected one of each"):
        one_to_one_error(torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), 2, 2)
    with pytest.raises(UserError, match="code 2: expected 0 to 1"):
        many_to_one_error(torch.tensor([0, 2]), torch.tensor([0, 1]), 2, 2)
