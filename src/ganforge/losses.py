"""Adversarial losses on logits, to minimise.

`real_logits` and `fake_logits` are raw discriminator outputs `[batch]`. Everything is computed in float32.
At equilibrium `discriminator_logistic` is log 4 = 1.386 and `generator_non_saturating` is log 2 = 0.693.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

AdversarialLoss = Literal["non_saturating", "minimax"]

# exp(40) times the discriminator's slope there, 4e-18, is 1 in float32, and leaves room for small weights.
LOWEST_LOGIT = -40.0


def discriminator_logistic(
    real_logits: Tensor, fake_logits: Tensor, smoothing: float = 0.0, flips: float = 0.0
) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), in nats: equation 1 of Goodfellow et al. 2014, negated.

    `smoothing` lowers the target of real images from 1 (one-sided label smoothing: Salimans et al. 2016,
    section 3.4); `flips` is the probability with which a sample's target is exchanged (ganhacks, item 6).
    """
    if not smoothing and not flips:
        return softplus(-real_logits.float()).mean() + softplus(fake_logits.float()).mean()
    return _logistic(real_logits, 1 - smoothing, flips) + _logistic(fake_logits, 0.0, flips)


def _logistic(logits: Tensor, target: float, flips: float) -> Tensor:
    """Mean cross-entropy to `target`, or with the probability `flips` to 1 - `target`."""
    logits = logits.float()
    targets = torch.where(torch.rand_like(logits) < flips, 1 - target, target)
    return (softplus(logits) - targets * logits).mean()


def generator_loss(loss: AdversarialLoss, fake_logits: Tensor) -> Tensor:
    """The generator's loss in nats: "minimax" E log(1 - D(G(z))), "non_saturating" -E log D(G(z))."""
    if loss == "minimax":
        return -softplus(fake_logits.float()).mean()
    return softplus(-fake_logits.float()).mean()


def one_stage_scale(loss: AdversarialLoss, fake_logits: Tensor) -> Tensor:
    """Slope of the generator's loss over that of `discriminator_logistic`, with respect to each fake logit.

    The gradient that reaches a fake image from the generator's loss is the one that reaches it from the
    discriminator's loss times this number, so one backward pass serves both (Shen et al. 2021, OSGAN).
    Exact where the discriminator treats each sample on its own. Minimax gives -1, the sign-reversed gradient.
    Returns `[batch]`, detached.
    """
    logits = fake_logits.detach().float()
    if loss == "minimax":
        return torch.full_like(logits, -1.0)
    return -torch.exp(-logits.clamp(min=LOWEST_LOGIT))


def adversarial_metrics(
    discriminator_loss: Tensor, generator_loss: Tensor, real_logits: Tensor, fake_logits: Tensor
) -> dict[str, Tensor]:
    """What a GAN reports of a step: both losses in nats, mean D(x) and mean D(G(z)); detached, 0-dim."""
    return {
        "discriminator_loss": discriminator_loss.detach(),
        "generator_loss": generator_loss.detach(),
        "real_probability": torch.sigmoid(real_logits.detach().float()).mean(),
        "fake_probability": torch.sigmoid(fake_logits.detach().float()).mean(),
    }
