import numpy
import pytest
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.neighbours import memorisation


def features(count: int, dimension: int, seed: int) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def test_equals_the_definition() -> None:
    fake, training, held_out = (features(300, 6, seed) for seed in (0, 1, 2))
    near, far = (
        KDTree(side.double().numpy()).query(fake.double().numpy())[0] for side in (training, held_out)
    )
    found = memorisation(fake, training, held_out)
    ratio = near.mean() / far.mean()
    assert found.ratio == pytest.approx(ratio, rel=1e-6)
    expected_error = numpy.std(near - ratio * far, ddof=1) / far.mean() / 300**0.5
    assert found.standard_error == pytest.approx(expected_error, rel=1e-6)
    assert found.share_nearer_to_training == pytest.approx(numpy.mean(near < far))


def test_fresh_samples_score_one_and_the_error_says_how_nearly() -> None:
    found = memorisation(*(features(3000, 6, seed) for seed in (3, 4, 5)))
    assert abs(found.ratio - 1) < 5 * found.standard_error < 0.1
    assert found.share_nearer_to_training == pytest.approx(0.5, abs=0.05)


def test_copies_of_the_training_set_score_zero() -> None:
    training, held_out = features(200, 6, seed=6), features(200, 6, seed=7)
    found = memorisation(training.flip(0), training, held_out)
    assert (found.ratio, found.share_nearer_to_training) == (0, 1)
    near = memorisation(training + 0.01, training, held_out)
    assert near.ratio < 0.05
    # Nearer to what training never saw: more than one.
    assert memorisation(held_out + 0.01, training, held_out).ratio > 20


def test_identical_references_score_exactly_one_at_any_scale_and_order() -> None:
    fake, side = features(100, 6, seed=8), features(200, 6, seed=9)
    found = memorisation(fake, side, side.flip(0))
    assert (found.ratio, found.standard_error, found.share_nearer_to_training) == (1, 0, 0.5)
    other = features(200, 6, seed=10)
    ratio = memorisation(fake, side, other).ratio
    scaled = memorisation(fake.flip(0) * 1e3 + 7e3, side * 1e3 + 7e3, other * 1e3 + 7e3).ratio
    assert scaled == pytest.approx(ratio, rel=1e-5)


def test_user_mistakes_are_named() -> None:
    some = features(5, 2, seed=0)
    with pytest.raises(UserError, match="5 training and 4 held-out references: pass equally many"):
        memorisation(some, some, some[:4])
    with pytest.raises(UserError, match="at least 2"):
        memorisation(some[:1], some, some)
    with pytest.raises(UserError, match="flatten both"):
        memorisation(some, torch.ones(5, 3), some)
    with pytest.raises(UserError, match=r"\(training\) hold NaN"):
        memorisation(some, some * torch.nan, some)
    with pytest.raises(UserError, match="no references"):
        memorisation(some, some[:0], some[:0])


def test_copies_of_held_out_images_have_no_ratio() -> None:
    some = features(5, 2, seed=0)
    assert memorisation(some, features(5, 2, seed=1), some) is None
