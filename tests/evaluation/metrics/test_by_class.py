import pytest
import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.frechet import by_class


def shift_of_means(real: Tensor, fake: Tensor) -> float:
    return float((fake.mean(0) - real.mean(0)).norm())


def test_each_class_is_compared_with_its_own() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    real = labels[:, None].float() * torch.ones(1, 4)
    moved = real + torch.tensor([0.0, 1.0, 3.0])[labels][:, None]
    order = torch.tensor([5, 3, 1, 0, 2, 4])
    found = by_class(shift_of_means, real, labels, moved[order], labels[order])
    assert found == pytest.approx([0, 2, 6])


def test_how_often_a_class_comes_does_not_matter() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    real = labels[:, None].float()
    other = torch.tensor([0, 1, 1, 1])
    assert by_class(shift_of_means, real, labels, other[:, None].float(), other) == [0, 0]


def test_user_mistakes_are_named() -> None:
    features, labels = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    with pytest.raises(UserError, match="one for each row"):
        by_class(shift_of_means, features, labels[:3], features, labels)
    with pytest.raises(UserError, match=r"real classes \[0, 1\] and generated classes \[0\]"):
        by_class(shift_of_means, features, labels, features, torch.zeros(4, dtype=torch.int64))
