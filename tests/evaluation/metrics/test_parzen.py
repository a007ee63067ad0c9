import math

import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics import neighbours
from ganforge.evaluation.metrics.parzen import SIGMA_GRID, log_likelihood, parzen


def uniform(count: int, dimension: int, seed: int) -> Tensor:
    return torch.rand(count, dimension, generator=torch.Generator().manual_seed(seed))


def test_equals_the_naive_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, images = uniform(30, 6, seed=0), uniform(25, 6, seed=1)
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", 8 * 30 * 4)  # four images at a time
    for sigma in (0.1, 0.5):
        squares = (images[:, None].double() - samples[None].double()).square().sum(-1).numpy()
        expected = logsumexp(-squares / (2 * sigma**2), axis=1) - math.log(30)
        expected -= 6 * math.log(sigma * math.sqrt(2 * math.pi))
        result = log_likelihood(samples, images, sigma)
        assert result.dtype == torch.float64
        torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


def test_a_single_sample_is_a_gaussian() -> None:
    centre, images = uniform(1, 784, seed=0), uniform(10, 784, seed=1)
    expected = torch.distributions.Normal(centre.double(), 0.2).log_prob(images.double()).sum(1)
    torch.testing.assert_close(log_likelihood(centre, images, 0.2), expected, rtol=1e-12, atol=0)


def test_many_samples_of_a_gaussian_approach_its_blurred_density() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(40_000, 2, generator=generator) * 0.3
    images = torch.randn(500, 2, generator=generator) * 0.3
    expected = torch.distributions.Normal(0.0, math.hypot(0.3, 0.1)).log_prob(images).sum(1).mean().item()
    assert log_likelihood(samples, images, 0.1).mean().item() == pytest.approx(expected, abs=0.02)


def test_stays_finite_and_exact_far_from_all_samples_in_784_dimensions() -> None:
    samples, images = torch.zeros(3, 784), torch.ones(2, 784)
    expected = -784 / (2 * 0.1**2) - 784 * math.log(0.1 * math.sqrt(2 * math.pi))
    result = log_likelihood(samples, images, 0.1)
    torch.testing.assert_close(result, torch.full((2,), expected, dtype=torch.float64), rtol=1e-13, atol=0)


def test_the_protocol() -> None:
    # The samples miss the truth by noise of 0.28 per pixel, near the grid's 0.278.
    truth = uniform(1200, 50, seed=0) * 0.2 + 0.4
    generator = torch.Generator().manual_seed(1)
    validation = (0.5 + 0.28 * torch.randn(1200, 50, generator=generator)).clamp(0, 1)
    test = (0.5 + 0.1 * torch.randn(400, 50, generator=generator)).clamp(0, 1)
    result = parzen(truth.view(-1, 1, 5, 10), validation.view(-1, 1, 5, 10), test.view(-1, 1, 5, 10))
    sigmas, scores = zip(*result.sigma_grid_log_likelihoods, strict=True)
    assert sigmas == SIGMA_GRID
    assert sigmas[0] == pytest.approx(0.1)
    assert sigmas[-1] == pytest.approx(1)
    assert scores == pytest.approx(
        [log_likelihood(truth, validation[:1000], s).mean().item() for s in sigmas]
    )
    assert result.sigma == sigmas[scores.index(max(scores))]
    on_test = log_likelihood(truth, test, result.sigma)
    assert result.mean_nats == pytest.approx(on_test.mean().item())
    assert result.standard_error_nats == pytest.approx(on_test.std(correction=0).item() / 400**0.5)
    # A width fitted on the (narrower) test images would have been another one, and scored better.
    assert max(SIGMA_GRID, key=lambda s: log_likelihood(truth, test, s).mean().item()) < result.sigma
    assert parzen(truth, validation, validation).sigma == result.sigma


def test_user_mistakes_are_named() -> None:
    good = uniform(5, 4, seed=0)
    with pytest.raises(UserError, match=r"pass \(images \+ 1\) / 2"):
        parzen(good * 2 - 1, good, good)
    with pytest.raises(UserError, match="test images with pixels from nan"):
        parzen(good, good, good * torch.nan)
    with pytest.raises(UserError, match="1 test images"):
        parzen(good, good, good[:1])
    with pytest.raises(UserError, match="equally shaped"):
        log_likelihood(good, uniform(5, 3, seed=0), 0.1)
