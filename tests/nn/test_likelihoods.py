"""Likelihoods and bounds against closed forms and torch.distributions."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as BernoulliOfTorch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from ganforge.nn.likelihoods import (
    Bernoulli,
    Gaussian,
    Likelihood,
    Logistic,
    gaussian_kl,
    importance_bound,
    latent_log_ratio,
    likelihood_of,
)

LEVELS = torch.arange(256) / 127.5 - 1


def binary(*shape: int) -> Tensor:
    return torch.where(torch.rand(*shape) < 0.3, 1.0, -1.0)


@pytest.mark.parametrize("numbers", [1, 7, 64, 127, 130, 784])
def test_bernoulli(numbers: int) -> None:
    logits, values = 5 * torch.randn(3, 4, numbers), binary(4, numbers)
    expected = BernoulliOfTorch(logits=logits.double()).log_prob((values.double() + 1) / 2).sum(-1)
    found = Bernoulli().log_probability(logits, values)
    assert found.shape == (3, 4)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_bernoulli_gradient() -> None:
    logits = (3 * torch.randn(2, 5, 12)).requires_grad_()
    values, weights = 2 * torch.rand(5, 12) - 1, torch.rand(2, 5)
    (found,) = torch.autograd.grad((weights * Bernoulli().log_probability(logits, values)).sum(), logits)
    targets = ((values + 1) / 2).expand(2, -1, -1)
    plain = -binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)
    (expected,) = torch.autograd.grad((weights * plain).sum(), logits)
    torch.testing.assert_close(found, expected)


def test_bernoulli_of_sure_logits() -> None:
    logits = torch.tensor([[500.0, -500.0, 500.0, 0.0]], requires_grad=True)
    found = Bernoulli().log_probability(logits, torch.tensor([[1.0, -1.0, -1.0, 1.0]]))
    assert float(found.detach()) == pytest.approx(-500 - math.log(2))
    found.sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 0, -1, 0.5]]


@pytest.mark.parametrize("bounded", [True, False])
def test_gaussian(bounded: bool) -> None:
    raw, log_variance, values = torch.randn(2, 4, 6), 2 * torch.randn(2, 4, 6), torch.randn(4, 6)
    likelihood = Gaussian(bounded)
    mean = 2 * torch.sigmoid(raw) - 1 if bounded else raw
    found = likelihood.log_probability(torch.cat([raw, log_variance], -1), values)
    expected = Normal(mean, torch.exp(log_variance / 2)).log_prob(values).sum(-1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(likelihood.mean(torch.cat([raw, log_variance], -1)), mean)


@pytest.mark.parametrize("mean", [-1.5, -1.0, 0.0, 0.3, 0.999, 2.0])
@pytest.mark.parametrize("log_scale", [-20.0, -7.0, -3.0, 0.0, 4.0])
def test_logistic_is_a_distribution_of_256_levels(mean: float, log_scale: float) -> None:
    outputs = torch.tensor([mean, log_scale]).expand(256, 2)
    log_probability = Logistic().log_probability(outputs, LEVELS[:, None]).double()
    assert log_probability.isfinite().all()
    assert float(log_probability.exp().sum()) == pytest.approx(1, abs=1e-4)
    expected = float((log_probability.exp() * LEVELS).sum())
    assert float(Logistic().mean(outputs[:1])) == pytest.approx(expected, abs=1 / 255 + 1e-4)


def test_logistic_against_differences_of_the_distribution_function() -> None:
    mean, log_scale = torch.tensor(0.1).double(), torch.tensor(-1.5).double()

    def below(value: Tensor) -> Tensor:
        return torch.sigmoid((value - mean) / log_scale.exp())

    ends = (LEVELS.double()[:-1] + LEVELS.double()[1:]) / 2
    edges = torch.cat([torch.zeros(1).double(), below(ends), torch.ones(1).double()])
    outputs = torch.stack([mean, log_scale]).expand(256, 2)
    found = Logistic().log_probability(outputs, LEVELS[:, None])
    torch.testing.assert_close(found.double(), edges.diff().log(), rtol=1e-4, atol=1e-4)


def test_logistic_sums_over_pixels_and_learns_at_the_edges() -> None:
    outputs = torch.tensor([[-1.0, 1.0, 0.0, -2.0, -2.0, -2.0]], requires_grad=True)
    values = torch.tensor([[-1.0, 1.0, LEVELS[128]]])
    found = Logistic().log_probability(outputs, values)
    parts = [Logistic().log_probability(outputs[:, [i, 3 + i]], values[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(found, torch.stack(parts).sum(0))
    (gradient,) = torch.autograd.grad(found.sum(), outputs)
    assert gradient.isfinite().all()
    assert gradient[0, 0] < 0 < gradient[0, 1], "black pulls the mean down, white up"


@pytest.mark.parametrize(
    ("likelihood", "values"),
    [
        (Bernoulli(), binary(500, 8)),
        (Gaussian(bounded=True), 0.5 * torch.rand(500, 8)),
        (Gaussian(bounded=False), 3 + torch.randn(500, 8)),
        (Logistic(), LEVELS[torch.randint(100, 156, (500, 8))]),
    ],
    ids=["bernoulli", "bounded", "gaussian", "logistic"],
)
def test_first_outputs_have_the_mean_of_the_data(likelihood: Likelihood, values: Tensor) -> None:
    outputs = likelihood.first_outputs(values)
    assert outputs.shape == (8 * likelihood.outputs_per_value,)
    torch.testing.assert_close(likelihood.mean(outputs[None])[0], values.mean(0), atol=0.02, rtol=0)
    fitted = likelihood.log_probability(outputs.expand(500, -1), values).mean()
    for change in (-1.0, 1.0):
        assert float(likelihood.log_probability((outputs + change).expand(500, -1), values).mean()) < float(
            fitted
        )


@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "logistic"])
def test_means_of_pixels_stay_in_range(name: str) -> None:
    likelihood = likelihood_of(name)  # type: ignore[arg-type]
    for size in (1.0, 1e4):
        mean = likelihood.mean(size * torch.randn(50, 6 * likelihood.outputs_per_value))
        assert mean.isfinite().all()
        assert float(mean.abs().max()) <= 1


def test_kl() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)
    assert torch.equal(gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)), torch.zeros(2))


def test_latent_log_ratio() -> None:
    mean, log_variance, noise = torch.randn(5, 3), torch.randn(5, 3), torch.randn(7, 5, 3)
    std = torch.exp(log_variance / 2)
    latents = mean + std * noise
    expected = Normal(0.0, 1.0).log_prob(latents) - Normal(mean, std).log_prob(latents)
    torch.testing.assert_close(
        latent_log_ratio(latents, noise, log_variance), expected.sum(-1), rtol=1e-4, atol=1e-4
    )


def test_importance_bound() -> None:
    log_weights = 5 * torch.randn(6, 4)
    torch.testing.assert_close(importance_bound(log_weights), log_weights.exp().mean(0).log())
    assert torch.equal(importance_bound(log_weights[:1]), log_weights[0])
    assert importance_bound(log_weights - 1_000).isfinite().all(), "weights too small for float32"
