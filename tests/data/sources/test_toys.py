import pytest
import torch

from ganforge.data.sources import toys


def test_ring_has_eight_distinct_means_on_the_unit_circle():
    means = toys.ring().means
    torch.testing.assert_close(means.norm(dim=1), torch.ones(8))
    distances = torch.cdist(means, means)[~torch.eye(8, dtype=torch.bool)]
    assert distances.min() > 0.7


def test_grid_is_five_by_five_with_spacing_two():
    means = toys.grid().means
    assert {tuple(mean) for mean in means.tolist()} == {
        (x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)
    }


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_points_of_a_mode_have_its_mean_and_std(name):
    points, labels = toys.draw(name, "train")
    mixture = toys.mixture_of(name)
    assert len(points) == 100_000
    for mode, mean in enumerate(mixture.means):
        own = points[labels == mode].flatten(1)
        tolerance = 5 * mixture.std / len(own) ** 0.5
        torch.testing.assert_close(own.mean(0), mean, atol=tolerance, rtol=0)
        torch.testing.assert_close(own.std(0), torch.full((2,), mixture.std), rtol=0.1, atol=0)


def test_gaussian_has_the_stated_moments():
    points = toys.draw("gaussian", "test")[0].flatten(1)
    torch.testing.assert_close(points.mean(0), toys.GAUSSIAN_MEAN, atol=0.1, rtol=0)
    torch.testing.assert_close(points.T.cov(), toys.GAUSSIAN_COVARIANCE, rtol=0.06, atol=0)
    a = torch.tensor([[1.0, 2.0], [-0.1, 0.5]])
    torch.testing.assert_close(a.T @ a, toys.GAUSSIAN_COVARIANCE)
    assert toys.draw("gaussian", "train")[0].shape == (1000, 2, 1, 1)


@pytest.mark.parametrize("name", list(toys.TOYS))
def test_every_set_is_the_same_each_time_and_its_splits_differ(name):
    train, test = toys.draw(name, "train")[0], toys.draw(name, "test")[0]
    assert train.dtype == torch.float32
    assert torch.equal(train, toys.draw(name, "train")[0])
    assert not torch.isin(test[:, 0], train[: len(test), 0]).all()
    assert test.shape == (10_000, 2, 1, 1)
    assert train.isfinite().all()
