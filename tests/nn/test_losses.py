"""Losses against the formulas of Goodfellow et al. 2014, and one-stage training against two passes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ganforge.nn.losses import (
    AdversarialLoss,
    adversarial_metrics,
    discriminator_hinge,
    discriminator_logistic,
    generator_loss,
    generator_wasserstein,
    one_stage_scale,
)

LOSSES: tuple[AdversarialLoss, ...] = ("minimax", "non_saturating")
LOGITS = (-3.0, 0.0, 3.0)


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def value_and_slope(loss: Callable[[Tensor], Tensor], logit: float) -> tuple[float, float]:
    """Of a loss at one logit, beside others: the slope of a mean is 1/n of the slope of one term."""
    logits = torch.full((4,), logit, requires_grad=True)
    value = loss(logits)
    value.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, logits.grad[:1].expand(4))
    return float(value.detach()), 4 * float(logits.grad[0])


@pytest.mark.parametrize("logit", LOGITS)
def test_discriminator_on_real(logit: float) -> None:
    nothing = torch.full((4,), -torch.inf)
    value, slope = value_and_slope(lambda s: discriminator_logistic(s, nothing), logit)
    assert value == pytest.approx(-math.log(sigmoid(logit)), rel=1e-6)
    assert slope == pytest.approx(-(1 - sigmoid(logit)), rel=1e-6)


@pytest.mark.parametrize("logit", LOGITS)
def test_discriminator_on_fakes(logit: float) -> None:
    nothing = torch.full((4,), torch.inf)
    value, slope = value_and_slope(lambda s: discriminator_logistic(nothing, s), logit)
    assert value == pytest.approx(-math.log(1 - sigmoid(logit)), rel=1e-6)
    assert slope == pytest.approx(sigmoid(logit), rel=1e-6)


@pytest.mark.parametrize("logit", LOGITS)
def test_minimax_generator(logit: float) -> None:
    value, slope = value_and_slope(lambda s: generator_loss("minimax", s), logit)
    assert value == pytest.approx(math.log(1 - sigmoid(logit)), rel=1e-6)
    assert slope == pytest.approx(-sigmoid(logit), rel=1e-6)


@pytest.mark.parametrize("logit", LOGITS)
def test_non_saturating_generator(logit: float) -> None:
    value, slope = value_and_slope(lambda s: generator_loss("non_saturating", s), logit)
    assert value == pytest.approx(-math.log(sigmoid(logit)), rel=1e-6)
    assert slope == pytest.approx(-(1 - sigmoid(logit)), rel=1e-6)


def test_equilibrium() -> None:
    undecided = torch.zeros(8)
    assert float(discriminator_logistic(undecided, undecided)) == pytest.approx(math.log(4), rel=1e-6)
    assert float(generator_loss("non_saturating", undecided)) == pytest.approx(math.log(2), rel=1e-6)
    assert float(generator_loss("minimax", undecided)) == pytest.approx(-math.log(2), rel=1e-6)


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (4, 3, 2, 1), (7, 1, 1, 1)])
def test_best_discriminator_measures_the_jensen_shannon_divergence(counts: tuple[int, ...]) -> None:
    """Theorem 1: with D = p / (p + q) the loss is log 4 - 2 JSD(p, q), and no other D has a smaller one."""
    real, fake = torch.tensor(counts, dtype=torch.float64), torch.tensor(counts[::-1], dtype=torch.float64)
    p, q = real / real.sum(), fake / fake.sum()
    middle = (p + q) / 2
    divergence = 0.5 * float((p * (p / middle).log() + q * (q / middle).log()).sum())

    def loss(logits: Tensor) -> Tensor:
        return discriminator_logistic(
            logits.repeat_interleave(real.long()), logits.repeat_interleave(fake.long())
        )

    best = (p / q).log()
    assert float(loss(best)) == pytest.approx(math.log(4) - 2 * divergence, rel=1e-6)
    for _ in range(20):
        assert float(loss(best + 0.3 * torch.randn(4))) > float(loss(best))


@pytest.mark.parametrize(
    ("logit", "value", "slope"), [(-3.0, 4, -1), (0.0, 1, -1), (0.5, 0.5, -1), (3.0, 0, 0)]
)
def test_hinge(logit: float, value: float, slope: float) -> None:
    """Real images are pushed up to 1 and no further, fakes down to -1: the mirror image."""
    satisfied = torch.full((4,), torch.inf)
    assert value_and_slope(lambda s: discriminator_hinge(s, -satisfied), logit) == (value, slope)
    assert value_and_slope(lambda s: discriminator_hinge(satisfied, s), -logit) == (value, -slope)


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (4, 3, 2, 1), (7, 1, 1, 1)])
def test_best_hinge_discriminator_measures_the_total_variation(counts: tuple[int, ...]) -> None:
    """The loss is 2 - 2 TV(p, q) where s is the sign of p - q, and no other s has a smaller one."""
    real, fake = torch.tensor(counts), torch.tensor(counts[::-1])
    p, q = real / real.sum(), fake / fake.sum()

    def loss(logits: Tensor) -> float:
        return float(discriminator_hinge(logits.repeat_interleave(real), logits.repeat_interleave(fake)))

    best = loss((p - q).sign())
    assert best == pytest.approx(2 - float((p - q).abs().sum()), rel=1e-6)
    assert loss(torch.zeros(4)) == 2
    for _ in range(20):
        assert loss((p - q).sign() + 0.3 * torch.randn(4)) >= best - 1e-6


@pytest.mark.parametrize("logit", LOGITS)
def test_wasserstein_generator(logit: float) -> None:
    assert value_and_slope(generator_wasserstein, logit) == (-logit, -1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("logit", LOGITS)
def test_scale_is_the_ratio_of_the_slopes(loss: AdversarialLoss, logit: float) -> None:
    _, generator_slope = value_and_slope(lambda s: generator_loss(loss, s), logit)
    _, discriminator_slope = value_and_slope(lambda s: discriminator_logistic(s.detach(), s), logit)
    scale = one_stage_scale(loss, torch.full((4,), logit, requires_grad=True))
    assert scale.shape == (4,)
    assert not scale.requires_grad
    assert float(scale[0]) == pytest.approx(generator_slope / discriminator_slope, rel=1e-5)


@pytest.mark.parametrize("logit", [-1000.0, -40.0, 40.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_overflow(logit: float, dtype: torch.dtype) -> None:
    logits = torch.full((4,), logit, dtype=dtype, requires_grad=True)
    losses = [generator_loss(loss, logits) for loss in LOSSES] + [discriminator_logistic(logits, logits)]
    losses += [discriminator_hinge(logits, logits), generator_wasserstein(logits)]
    for value in losses:
        assert value.dtype == torch.float32
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.isfinite()
        assert gradient.isfinite().all()
    for loss in LOSSES:
        scale = one_stage_scale(loss, logits)
        assert scale.dtype == torch.float32
        assert 0 >= float(scale[0]) >= -math.exp(40) * (1 + 1e-6)


@pytest.mark.parametrize("logit", [-5.0, -20.0, -35.0])
def test_the_scaled_slope_does_not_vanish_where_the_discriminator_wins(logit: float) -> None:
    logits = torch.full((4,), logit, requires_grad=True)
    fake_loss = torch.nn.functional.softplus(logits).mean()
    (slope,) = torch.autograd.grad(fake_loss, logits)
    (wanted,) = torch.autograd.grad(generator_loss("non_saturating", logits), logits)
    torch.testing.assert_close(one_stage_scale("non_saturating", logits) * slope, wanted, rtol=1e-5, atol=0)


def test_metrics_are_detached_means() -> None:
    real, fake = torch.tensor([0.0, 3.0], requires_grad=True), torch.tensor([-3.0, 0.0], requires_grad=True)
    losses = discriminator_logistic(real, fake), generator_loss("minimax", fake)
    metrics = adversarial_metrics(*losses, real, fake)
    assert all(value.shape == () and not value.requires_grad for value in metrics.values())
    assert float(metrics["real_probability"]) == pytest.approx((0.5 + sigmoid(3)) / 2, rel=1e-6)
    assert float(metrics["fake_probability"]) == pytest.approx((0.5 + sigmoid(-3)) / 2, rel=1e-6)
    assert float(metrics["discriminator_loss"]) == losses[0].item()
    assert float(metrics["generator_loss"]) == losses[1].item()


def networks(seed: int, norm: bool = False) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """A random generator and discriminator of random sizes, with real data and latents."""
    torch.manual_seed(seed)
    latent, hidden, data = (int(torch.randint(2, 9, ())) for _ in range(3))
    generator = nn.Sequential(nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, data))
    between = [nn.BatchNorm1d(hidden)] if norm else []
    discriminator = nn.Sequential(
        nn.Linear(data, hidden), *between, nn.LeakyReLU(0.2), nn.Linear(hidden, 1), nn.Flatten(0)
    )
    for parameter in discriminator.parameters():  # logits far enough from 0 for slopes that differ
        nn.init.normal_(parameter, std=0.8)
    return generator, discriminator, torch.randn(16, data), torch.randn(16, latent)


def relative_error(found: list[Tensor], expected: list[Tensor]) -> float:
    left, right = (torch.cat([tensor.flatten() for tensor in side]) for side in (found, expected))
    return float((left - right).norm() / right.norm())


def one_stage_errors(loss: AdversarialLoss, seed: int, norm: bool = False) -> dict[str, float]:
    """Relative errors of both networks' gradients by one backward, against two explicit ones."""
    generator, discriminator, real, latents = networks(seed, norm)
    own = {"generator": list(generator.parameters()), "discriminator": list(discriminator.parameters())}

    fakes = generator(latents)
    two = {
        "discriminator": torch.autograd.grad(
            discriminator_logistic(discriminator(real), discriminator(fakes.detach())), own["discriminator"]
        ),
        "generator": torch.autograd.grad(generator_loss(loss, discriminator(fakes)), own["generator"]),
    }

    fakes = generator(latents)
    leaf = fakes.detach().requires_grad_()
    logits = discriminator(leaf)
    *weights, at_fakes = torch.autograd.grad(
        discriminator_logistic(discriminator(real), logits), [*own["discriminator"], leaf]
    )
    carried = fakes * (one_stage_scale(loss, logits)[:, None] * at_fakes)
    one = {"discriminator": weights, "generator": torch.autograd.grad(carried.sum(), own["generator"])}
    return {name: relative_error(list(one[name]), list(two[name])) for name in own}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(10))
def test_one_backward_equals_two(loss: AdversarialLoss, seed: int) -> None:
    errors = one_stage_errors(loss, seed)
    assert errors["generator"] < 1e-5
    assert errors["discriminator"] < 1e-5


def test_batch_norm_breaks_the_one_stage_non_saturating_gradient() -> None:
    """Each logit depends on all fakes, so no number per sample turns one gradient into the other."""
    errors = [one_stage_errors("non_saturating", seed, norm=True) for seed in range(10)]
    assert min(error["generator"] for error in errors) > 1e-2
    assert max(error["discriminator"] for error in errors) < 1e-5
    # Minimax is the same loss with its sign reversed: exact whatever the network does.
    assert max(one_stage_errors("minimax", seed, norm=True)["generator"] for seed in range(10)) < 1e-5
