"""Neighbourhoods and what is read off them: precision, recall, density, coverage, leave-one-out 1-NN."""

import numpy
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binomtest
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics import neighbours
from ganforge.evaluation.metrics.neighbours import Neighbourhoods, density_coverage, precision_recall
from ganforge.evaluation.metrics.two_sample import nearest_neighbour_test


def features(count: int, dimension: int, seed: int) -> Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def scores(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float, float, float, float]:
    pairs = Neighbourhoods(real, fake, most=k)
    first, second, test = (
        precision_recall(pairs, k),
        density_coverage(pairs, k),
        nearest_neighbour_test(pairs),
    )
    return first.precision, first.recall, second.density, second.coverage, test.accuracy


def by_hand(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float, float, float, float]:
    """The definitions in float64, by subtraction, the whole matrices at once."""
    x, y = real.double().numpy(), fake.double().numpy()
    among_real, among_fake, between = cdist(x, x), cdist(y, y), cdist(x, y)
    numpy.fill_diagonal(among_real, numpy.inf)
    numpy.fill_diagonal(among_fake, numpy.inf)
    real_radius = numpy.sort(among_real, axis=1)[:, k - 1]
    fake_radius = numpy.sort(among_fake, axis=1)[:, k - 1]
    within_real = between < real_radius[:, None]
    precision = within_real.any(axis=0).mean()
    recall = (between < fake_radius[None, :]).any(axis=1).mean()
    density = within_real.sum() / (k * len(y))
    coverage = (between.min(axis=1) < real_radius).mean()
    right = (among_real.min(axis=1) < between.min(axis=1)).sum()
    right = right + (among_fake.min(axis=1) < between.min(axis=0)).sum()
    return precision, recall, density, coverage, right / (2 * len(x))


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("offset", [0.0, 500.0])
def test_equals_the_definitions(k: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real = features(400, 16, seed=0).relu() + offset
    fake = 1.1 * features(400, 16, seed=1).relu() + offset + 0.1
    expected = by_hand(real, fake, k)
    for chunk_bytes in (8 * 400 * 7, 50_000_000):
        monkeypatch.setattr(neighbours, "CHUNK_BYTES", chunk_bytes)
        assert scores(real, fake, k) == pytest.approx(expected, rel=1e-6)


def test_a_distance_that_equals_the_radius_is_outside() -> None:
    """Worked by hand, k = 1: real radii 1, 1, 2, 9; of the fakes 3, 2, 2, 4; four pairs are ties."""
    real, fake = torch.tensor([[0.0], [1], [3], [12]]), torch.tensor([[-1.0], [2], [4], [8]])
    pairs = Neighbourhoods(real, fake, most=1)
    shares, spread = precision_recall(pairs, k=1), density_coverage(pairs, k=1)
    assert (shares.precision, shares.recall) == (0.75, 0.75)  # -1 touches 0; 12 touches 8
    assert (spread.density, spread.coverage) == (1.0, 0.5)  # 0 + 1 + 2 + 1 of 4; 3 and 12


def test_equals_the_definitions_where_samples_are_copies() -> None:
    """Of real features, of one another, and both: distances that are equal but for rounding stay equal."""
    real = features(300, 8, seed=2) * 3 + 100
    fake = torch.cat([real[:100], features(100, 8, seed=3) * 3 + 100, real[:1].expand(50, 8), real[250:]])
    assert scores(real, fake)[:4] == pytest.approx(by_hand(real, fake)[:4], rel=1e-12)


def test_a_set_and_itself() -> None:
    same = features(500, 16, seed=4)
    precision, recall, density, coverage, accuracy = scores(same, same.clone())
    assert (precision, recall, coverage) == (1, 1, 1)
    assert density == 1  # itself and the k - 1 nearer than the radius
    assert accuracy == 0  # each one's nearest other is its copy on the other side


def test_two_sets_of_one_distribution() -> None:
    precision, recall, density, coverage, accuracy = scores(
        features(2000, 4, seed=5), features(2000, 4, seed=6)
    )
    assert precision == pytest.approx(recall, abs=0.02)
    assert density == pytest.approx(1, abs=0.08)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.01)
    assert accuracy == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_real_against_real_has_the_density_one_and_covers_all_but_one_half_to_the_k(k: int) -> None:
    count = 2000
    pairs = Neighbourhoods(features(count, 4, seed=18), features(count, 4, seed=19), most=k)
    spread, share = density_coverage(pairs, k), 2.0**-k
    assert spread.density == pytest.approx(1, abs=0.1)
    # Four standard deviations of a share.
    assert spread.coverage == pytest.approx(1 - share, abs=4 * (share * (1 - share) / count) ** 0.5)
    shares = precision_recall(pairs, k)
    assert shares.precision == pytest.approx(shares.recall, abs=0.03)


def test_sets_that_are_far_apart() -> None:
    real = features(200, 16, seed=7)
    assert scores(real, real + 1000) == (0, 0, 0, 0, 1)


def test_order_place_and_scale_do_not_matter() -> None:
    real, fake = features(300, 8, seed=8), features(300, 8, seed=9) * 1.2
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    expected = scores(real, fake)
    assert scores(real[order], fake) == expected
    assert scores(real, fake[order]) == expected
    assert scores(real.double() * 1e6 + 1e6, fake.double() * 1e6 + 1e6) == expected


def test_a_dropped_mode_costs_recall_and_coverage_a_stray_one_costs_precision_and_density() -> None:
    both = torch.cat([features(500, 4, seed=10), features(500, 4, seed=11) + 50])
    one = features(1000, 4, seed=12)
    precision, recall, density, coverage, _ = scores(both, one)
    assert precision > 0.9
    assert density == pytest.approx(1, abs=0.1)  # twice as many in neighbourhoods of which half are empty
    assert recall < 0.55
    assert coverage < 0.55
    precision, recall, density, coverage, _ = scores(one, both)
    assert precision < 0.55
    assert density < 0.55
    assert recall > 0.9
    assert coverage > 0.6


def test_one_stray_real_feature_changes_coverage_little_and_precision_much() -> None:
    real, fake = features(500, 2, seed=13), features(500, 2, seed=14) + 10
    before, after = scores(real, fake), scores(torch.cat([real[1:], torch.full((1, 2), 30.0)]), fake)
    assert after[0] > before[0] + 0.9  # its radius reaches back to the others, over all fakes
    assert abs(after[3] - before[3]) <= 1 / 500 + 1e-12


def test_one_stray_sample_changes_density_and_coverage_little_and_recall_much() -> None:
    real, fake = features(500, 2, seed=13) + 10, features(500, 2, seed=14)
    before, after = scores(real, fake), scores(real, torch.cat([fake[1:], torch.full((1, 2), 30.0)]))
    assert after[1] > before[1] + 0.9  # its radius reaches back to the others, over all real ones
    assert abs(after[2] - before[2]) <= 1 / 500 + 1e-12
    assert abs(after[3] - before[3]) <= 1 / 500 + 1e-12


def test_samples_all_alike() -> None:
    real, fake = features(100, 4, seed=15), torch.zeros(100, 4)
    precision, recall, _, coverage, accuracy = scores(real, fake)
    assert recall == 0
    assert precision in (0, 1)
    assert coverage == pytest.approx(by_hand(real, fake)[3])
    assert accuracy > 0.5
    # Nothing but copies of one thing on both sides cannot be told apart: ties count half.
    assert scores(fake, fake)[4] == 0.5


def test_the_p_value_is_the_binomial_one() -> None:
    real = features(200, 3, seed=16)
    for shift in (0.0, 0.4, 3.0):
        test = nearest_neighbour_test(Neighbourhoods(real, features(200, 3, seed=17) + shift))
        right = round(test.accuracy * 400)
        assert test.num_tested == 400
        assert test.accuracy == pytest.approx((test.real_accuracy + test.fake_accuracy) / 2)
        assert test.p_value == pytest.approx(binomtest(right, 400).pvalue, rel=1e-6)
    same = nearest_neighbour_test(Neighbourhoods(real, real))
    assert same.p_value == pytest.approx(binomtest(0, 400).pvalue, rel=1e-6)


def test_user_mistakes_are_named() -> None:
    few, more = features(5, 3, seed=0), features(9, 3, seed=1)
    with pytest.raises(UserError, match="5 features: at least 6 of either side"):
        Neighbourhoods(few, more)
    with pytest.raises(UserError, match=r"pass \[n, d\]"):
        Neighbourhoods(more, features(9, 4, seed=2))
    for bad in (torch.nan, torch.inf):
        broken = more.clone()
        broken[3, 1] = bad
        with pytest.raises(UserError, match="NaN or infinity"):
            Neighbourhoods(more, broken)
    pairs = Neighbourhoods(more, features(8, 3, seed=3), most=3)
    with pytest.raises(UserError, match="k = 4: these neighbourhoods were made for k from 1 to 3"):
        precision_recall(pairs, k=4)
    with pytest.raises(UserError, match="k = 0"):
        density_coverage(pairs, k=0)
    with pytest.raises(UserError, match="9 real features and 8 fakes: pass equally many"):
        nearest_neighbour_test(pairs)
