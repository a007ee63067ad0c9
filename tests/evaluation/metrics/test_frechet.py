import numpy
import pytest
import scipy.linalg
import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics import frechet
from ganforge.evaluation.metrics.frechet import Moments, fewest_for_fid, frechet_distance, square_root


def correlated(count: int, dimension: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    return torch.randn(count, dimension, generator=generator, dtype=torch.float64) @ mixing + seed


def exact(mean: Tensor, covariance: Tensor) -> Moments:
    """Moments of features with exactly this mean and covariance: a whitened cloud, coloured again."""
    cloud = correlated(500, len(mean), seed=3)
    cloud = cloud - cloud.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(cloud.T)), cloud.T, upper=False).T
    return Moments.of(white @ torch.linalg.cholesky(covariance).T + mean)


def test_a_set_has_no_distance_to_itself() -> None:
    moments = Moments.of(correlated(1000, 64, seed=1))
    assert frechet_distance(moments, moments) == pytest.approx(
        0, abs=1e-8 * moments.covariance.trace().item()
    )


def test_shifted_unit_gaussians_are_the_squared_shift_apart() -> None:
    shift = torch.linspace(-1, 2, 8, dtype=torch.float64)
    unit = torch.eye(8, dtype=torch.float64)
    distance = frechet_distance(exact(torch.zeros(8, dtype=torch.float64), unit), exact(shift, unit))
    assert distance == pytest.approx(shift.square().sum().item(), rel=1e-9)


def test_commuting_covariances_have_a_closed_form() -> None:
    orthogonal = torch.linalg.qr(correlated(6, 6, seed=2)).Q
    left, right = torch.linspace(0.1, 3, 6).double(), torch.linspace(5, 0.2, 6).double()
    zero = torch.zeros(6, dtype=torch.float64)
    distance = frechet_distance(
        exact(zero, orthogonal * left @ orthogonal.T), exact(zero, orthogonal * right @ orthogonal.T)
    )
    assert distance == pytest.approx((left.sqrt() - right.sqrt()).square().sum().item(), rel=1e-8)


@pytest.mark.parametrize("dimension", [2, 16, 128])
def test_equals_the_matrix_square_root_formula(dimension: int) -> None:
    real, fake = correlated(1000, dimension, seed=0), correlated(800, dimension, seed=1) * 1.5
    left, right = torch.cov(real.T).numpy(), torch.cov(fake.T).numpy()
    root = scipy.linalg.sqrtm(left @ right).real
    shift = (real.mean(0) - fake.mean(0)).numpy()
    expected = shift @ shift + (left + right - 2 * root).trace()
    both = Moments.of(real), Moments.of(fake)
    assert frechet_distance(*both) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(*reversed(both)) == pytest.approx(expected, rel=1e-6)


def like_a_judges(count: int, dimension: int, seed: int) -> Tensor:
    """Float32, none below 0, far from centred, correlated: what the last ReLU of a network gives."""
    return (correlated(count, dimension, seed) / dimension**0.5 + 0.1 * seed).relu().float()


@pytest.mark.parametrize(("count", "dimension"), [(300, 24), (40, 128)])
def test_features_against_themselves_are_nearer_than_a_thousandth(count: int, dimension: int) -> None:
    """With fewer rows than dimensions too, where the covariance has no full rank."""
    features = like_a_judges(count, dimension, seed=1)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(Moments.of(features), Moments.of(features[order])) < 1e-3


@pytest.mark.parametrize(("num_real", "num_fake", "dimension"), [(300, 250, 24), (60, 40, 128)])
def test_equals_numpy_without_any_root_of_a_matrix(num_real: int, num_fake: int, dimension: int) -> None:
    """With S_r = A'A and S_f = B'B the trace of (S_r S_f)^1/2 is the sum of the singular values of A B'."""
    real, fake = like_a_judges(num_real, dimension, seed=1), like_a_judges(num_fake, dimension, seed=2)
    x, y = real.numpy().astype(numpy.float64), fake.numpy().astype(numpy.float64)
    left, right = (x - x.mean(0)) / (num_real - 1) ** 0.5, (y - y.mean(0)) / (num_fake - 1) ** 0.5
    cross = numpy.linalg.svd(left @ right.T, compute_uv=False).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + (left**2).sum() + (right**2).sum() - 2 * cross
    assert frechet_distance(Moments.of(real), Moments.of(fake)) == pytest.approx(expected, rel=1e-6)


def test_float32_features_are_summed_in_float64_and_divided_by_one_less_than_their_number() -> None:
    features = like_a_judges(200, 12, seed=3) + 1e4
    moments = Moments.of(features)
    assert moments.mean.dtype == moments.covariance.dtype == torch.float64
    exact = features.numpy().astype(numpy.float64)
    numpy.testing.assert_allclose(moments.mean, exact.mean(0), rtol=1e-14)
    numpy.testing.assert_allclose(moments.covariance, numpy.cov(exact, rowvar=False, ddof=1), rtol=1e-9)


def test_the_fewest_allow_a_covariance_of_full_rank() -> None:
    assert [fewest_for_fid(size) for size in (2, 128, 2_048, 3_000)] == [2_048, 2_048, 2_048, 3_000]


def test_pieces_of_any_size_give_the_moments_of_the_whole() -> None:
    features = correlated(500, 12, seed=4) + 1e6  # a sum of squares would lose all digits here
    moments = Moments(12)
    for piece in features.split([0, 1, 7, 392, 100]):
        moments.update(piece)
    assert moments.count == 500
    torch.testing.assert_close(moments.mean, features.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(moments.covariance, torch.cov(features.T), rtol=1e-7, atol=1e-7)


def test_the_root_is_taken_once_until_more_features_come(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fakes = correlated(60, 8, seed=5), [correlated(50, 8, seed=seed) for seed in (6, 7)]
    expected = [frechet_distance(Moments.of(real), Moments.of(fake)) for fake in fakes]
    taken: list[Tensor] = []

    def root(matrix: Tensor) -> Tensor:
        taken.append(matrix)
        return square_root(matrix)

    monkeypatch.setattr(frechet, "square_root", root)
    moments = Moments.of(real)
    assert [frechet_distance(moments, Moments.of(fake)) for fake in fakes] == expected
    assert len(taken) == 1
    torch.testing.assert_close(moments.root @ moments.root, moments.covariance, rtol=1e-10, atol=1e-12)
    moments.update(fakes[0])
    both = Moments.of(torch.cat([real, fakes[0]]))
    torch.testing.assert_close(moments.root, both.root, rtol=1e-8, atol=1e-8)


def test_user_mistakes_are_named() -> None:
    with pytest.raises(UserError, match=r"1 of 3 feature rows hold NaN"):
        Moments.of(torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [0.0, 0.0]]))
    with pytest.raises(UserError, match="at least 2 are needed"):
        frechet_distance(Moments.of(torch.ones(1, 2)), Moments.of(torch.ones(4, 2)))
    with pytest.raises(UserError, match="2 and 3 dimensions"):
        frechet_distance(Moments.of(torch.ones(4, 2)), Moments.of(torch.ones(4, 3)))
    with pytest.raises(UserError, match=r"\[number, 2\]"):
        Moments(2).update(torch.ones(4, 3))
