"""Statistics over seeds, compared with numpy and scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ganforge.evaluation import statistics
from ganforge.evaluation.statistics import Summary, clear_best, order, p_value


def test_mean_and_deviation_are_those_of_numpy() -> None:
    values = (3.5, 1.25, 9.0, 4.0)
    summary = Summary(values)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.deviation == pytest.approx(np.std(values, ddof=1))
    assert (summary.count, Summary((1.0,)).deviation) == (4, None)


@pytest.mark.parametrize(("first", "second"), [(3, 3), (2, 5), (4, 6)])
def test_p_values_are_those_of_scipy(first: int, second: int) -> None:
    random = np.random.default_rng(first)
    for shift in (0.0, 0.5, 3.0):
        a, b = random.normal(size=first), random.normal(shift, size=second)
        expected = stats.permutation_test(
            (a, b), lambda x, y, axis: abs(np.mean(x, axis) - np.mean(y, axis)), vectorized=True,
            alternative="greater", n_resamples=np.inf,
        ).pvalue  # fmt: skip
        assert p_value(Summary(tuple(a)), Summary(tuple(b))) == pytest.approx(expected)


def test_three_seeds_cannot_reach_less_than_a_tenth() -> None:
    assert p_value(Summary((1.0, 1.1, 1.2)), Summary((9.0, 9.1, 9.2))) == pytest.approx(0.1)
    assert p_value(Summary((1.0,)), Summary((9.0, 9.1))) is None
    assert p_value(Summary((1.0, float("nan"))), Summary((9.0, 9.1))) is None


def test_equal_values_differ_in_no_division() -> None:
    assert p_value(Summary((0.1, 0.2, 0.3)), Summary((0.3, 0.1, 0.2))) == 1


def test_many_permutations_are_drawn_and_agree_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = Summary((1.0, 2.0, 3.0, 4.0, 6.0)), Summary((3.5, 4.5, 5.5, 6.5, 7.0))
    exact = p_value(a, b)
    monkeypatch.setattr(statistics, "MOST_PERMUTATIONS", 250)  # there are 252
    drawn = p_value(a, b)
    assert exact is not None
    assert drawn is not None
    assert drawn != exact
    assert abs(drawn - exact) < 4 * (exact * (1 - exact) / 250) ** 0.5
    assert p_value(a, b) == drawn


def test_the_best_is_clear_only_beyond_the_spread() -> None:
    near = [Summary((1.0, 2.0, 3.0)), Summary((1.5, 2.5, 3.5)), None]
    far = [Summary((1.0, 2.0, 3.0)), Summary((11.0, 12.0, 13.0)), None]
    assert (clear_best("fid", near), clear_best("fid", far), clear_best("recall", far)) == (None, 0, 1)
    assert order("fid", far) == [0, 1]
    assert order("recall", far) == [1, 0]
    assert clear_best("ms_ssim", far) is None  # no end of it is better
    assert clear_best("fid", [Summary((1.0,)), Summary((9.0,))]) is None  # one seed has no spread
    assert clear_best("fid", [*far, Summary((20.0,))]) is None


def test_the_best_must_be_ahead_of_every_other() -> None:
    """The next mean is far, a later one has a spread that reaches the best."""
    wide = [Summary((1.0, 1.1)), Summary((2.0, 2.1)), Summary((-6.0, 12.0))]
    for places in itertools.permutations(range(3)):
        assert clear_best("fid", [wide[place] for place in places]) is None
