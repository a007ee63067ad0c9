import numpy
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.classifier_score import classifier_score


def logits(count: int, classes: int, seed: int) -> Tensor:
    return 3 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def test_equals_the_definition() -> None:
    given = logits(205, 7, seed=0)
    parts = numpy.array_split(softmax(given.double().numpy(), axis=1), 10)
    values = [numpy.exp(numpy.mean([entropy(row, part.mean(axis=0)) for row in part])) for part in parts]
    score = classifier_score(given)
    assert score.mean == pytest.approx(numpy.mean(values), rel=1e-6)
    assert score.std == pytest.approx(numpy.std(values), rel=1e-6)
    assert score.num_splits == 10


def test_sure_and_even_is_the_number_of_classes() -> None:
    sure = 1000 * torch.eye(10).repeat(20, 1)
    score = classifier_score(sure)
    assert score.mean == pytest.approx(10, rel=1e-12)
    assert score.std == pytest.approx(0, abs=1e-12)


def test_one_class_or_none_is_one() -> None:
    one = torch.zeros(100, 10)
    assert classifier_score(one).mean == pytest.approx(1, rel=1e-12)
    one[:, 3] = 1000
    assert classifier_score(one).mean == pytest.approx(1, rel=1e-12)


def test_lies_between_one_and_the_number_of_classes_and_ignores_order_within_a_part() -> None:
    given = logits(300, 5, seed=1)
    score = classifier_score(given, num_splits=1)
    assert 1 < score.mean < 5
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert classifier_score(given[order], num_splits=1).mean == pytest.approx(score.mean, rel=1e-12)
    # What a softmax does not see, and sharper logits.
    assert classifier_score(given + 50, num_splits=1).mean == pytest.approx(score.mean, rel=1e-4)
    assert classifier_score(given * 2, num_splits=1).mean > score.mean


def test_user_mistakes_are_named() -> None:
    for given in (torch.zeros(9, 10), torch.zeros(20), torch.zeros(0, 3)):
        with pytest.raises(UserError, match="n >= parts >= 1"):
            classifier_score(given)
    with pytest.raises(UserError, match="NaN"):
        classifier_score(torch.full((20, 3), torch.nan))
