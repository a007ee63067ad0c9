import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.two_sample import binomial_tail, classifier_test


def features(count: int, dimension: int, seed: int) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("right", "judged"), [(0, 1), (1, 1), (3, 7), (520, 1000), (10_400, 20_000)])
def test_the_tail_is_that_of_the_binomial_distribution(right: int, judged: int) -> None:
    assert binomial_tail(right, judged) == pytest.approx(binom.sf(right - 1, judged, 0.5), rel=1e-6)


def test_a_difference_too_clear_for_a_float_has_the_p_value_zero() -> None:
    assert binomial_tail(20_000, 20_000) == 0


def test_equal_distributions_are_told_apart_by_chance_alone() -> None:
    accuracies = []
    for seed in range(3):
        test = classifier_test(features(1000, 8, seed), features(1000, 8, seed + 100), seed)
        assert test.num_tested == 1000
        assert test.p_value == pytest.approx(binomial_tail(round(test.accuracy * 1000), 1000))
        accuracies.append(test.accuracy)
    # The mean of three has the standard deviation 1 / (2 sqrt(3000)); two of them, as for one test.
    assert sum(accuracies) / 3 == pytest.approx(0.5, abs=2 / (2 * 3000**0.5))


def test_finds_the_bayes_accuracy_of_two_shifted_gaussians() -> None:
    shift = torch.tensor([1.0, 0, 0, 0])
    test = classifier_test(features(5000, 4, 0), features(5000, 4, 1) + shift)
    # The best possible is Phi(1/2) = 0.6915.
    assert test.accuracy == pytest.approx(0.6915, abs=0.02)
    assert test.p_value < 1e-12


def test_sees_a_spread_that_no_straight_line_shows() -> None:
    assert classifier_test(features(2000, 8, 2), features(2000, 8, 3) * 2).accuracy > 0.75


def test_sets_that_are_far_apart() -> None:
    test = classifier_test(features(100, 4, 4), features(100, 4, 5) + 100)
    assert (test.accuracy, test.real_accuracy, test.fake_accuracy) == (1, 1, 1)


def test_scale_and_dead_features_do_not_matter() -> None:
    real, fake = features(500, 4, 6), features(500, 4, 7) + 0.5
    dead = torch.zeros(500, 1)
    plain, scaled = classifier_test(real, fake), classifier_test(1e4 * real - 3e5, 1e4 * fake - 3e5)
    assert scaled.accuracy == pytest.approx(plain.accuracy, abs=0.01)
    assert classifier_test(torch.cat([real, dead], 1), torch.cat([fake, dead], 1)).accuracy > 0.5


def test_the_seed_decides_and_the_global_one_does_not() -> None:
    real, fake = features(300, 4, 8), features(300, 4, 9) + 0.3
    torch.manual_seed(1)
    first = classifier_test(real, fake, seed=7)
    state = torch.get_rng_state()
    with torch.no_grad():
        assert classifier_test(real, fake, seed=7) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert len({classifier_test(real, fake, seed=seed).accuracy for seed in (7, 8)}) > 1


def test_user_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="equally many"):
        classifier_test(torch.ones(9, 2), torch.ones(8, 2))
    with pytest.raises(UserError, match="at least 4"):
        classifier_test(torch.ones(3, 2), torch.ones(3, 2))
    with pytest.raises(UserError, match=r"pass \[n, d\]"):
        classifier_test(torch.ones(9, 2), torch.ones(9, 3))
    with pytest.raises(UserError, match="NaN"):
        classifier_test(torch.ones(9, 2), torch.full((9, 2), torch.nan))
    with pytest.raises(UserError, match="expected 0 to 3"):
        binomial_tail(4, 3)
