"""Likelihoods p(x|z) of pixels and points, and the terms of variational bounds; in nats and in float32.

`values` `[batch, numbers]` are flattened pixels in [-1, 1], or points. `outputs` `[..., batch, numbers *
outputs_per_value]` are what a decoder says of them: first the means of all, then the logarithms of widths.
"""

import math
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

LikelihoodName = Literal["bernoulli", "gaussian", "logistic"]

LOG_VARIANCE_RANGE = (-10.0, 10.0)
# Narrower than a level of 256 by far: exp(-7) against 2 / 255 (Salimans et al. 2017, PixelCNN++).
LOG_SCALE_RANGE = (-7.0, 7.0)
HALF_LEVEL = 1 / 255
# 64 factors of at most 2: their product stays below the largest float32.
_MOST_FACTORS = 64


class Likelihood(Protocol):
    """A distribution p(x|z) of which a decoder gives the parameters."""

    outputs_per_value: int

    def log_probability(self, outputs: Tensor, values: Tensor) -> Tensor:
        """The log of p(x|z) `[..., batch]`, summed over all numbers of an image."""

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean `[..., batch, numbers]` of p(x|z)."""

    def first_outputs(self, values: Tensor) -> Tensor:
        """Outputs `[numbers * outputs_per_value]` of the mean and the spread of `values`: first biases."""


class _BernoulliSum(torch.autograd.Function):
    """Sum of x s - softplus(s) over the last dimension, for logits s `[..., numbers]` and x `[numbers]`.

    Softplus is max(s, 0) + log(1 + exp(-|s|)), and of the second terms the logarithm of the product is taken,
    in groups: a logarithm costs as much as ten exponentials.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(logits, targets)
        work = logits * (targets - 0.5)
        total = work.sum(-1)
        torch.abs(logits, out=work)
        total -= 0.5 * work.sum(-1)
        work.neg_().exp_().add_(1)
        return total - work.unflatten(-1, (-1, _factors(work.shape[-1]))).prod(-1).log_().sum(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        logits, targets = ctx.saved_tensors
        return torch.sigmoid(logits).neg_().add_(targets).mul_(gradients[0][..., None]), None


def _factors(numbers: int) -> int:
    """The largest divisor of `numbers` of at most `_MOST_FACTORS`."""
    return next(size for size in range(_MOST_FACTORS, 0, -1) if numbers % size == 0)


class Bernoulli:
    """Each pixel is 1, else -1, with the probability sigmoid(output): a likelihood of binary pixels only.

    Of grey pixels the same sum is a negative cross-entropy.
    """

    outputs_per_value = 1

    def log_probability(self, outputs: Tensor, values: Tensor) -> Tensor:
        """The log of p(x|z) `[..., batch]`."""
        targets = (values.float() + 1) / 2
        total: Tensor = _BernoulliSum.apply(outputs.float(), targets)  # type: ignore[no-untyped-call]
        return total

    def mean(self, outputs: Tensor) -> Tensor:
        """Twice the probability, less 1."""
        return 2 * torch.sigmoid(outputs.float()) - 1

    def first_outputs(self, values: Tensor) -> Tensor:
        """The logits of the mean of `values`, kept away from certainty by 1e-3."""
        return _logits_of_mean(values)


class Gaussian:
    """Each value is Gaussian; a mean in [-1, 1] where it is `bounded`, a log variance in [-10, 10].

    A density: of 8-bit pixels no probability, and without a bound from above where they repeat exactly.
    """

    outputs_per_value = 2

    def __init__(self, bounded: bool) -> None:
        self.bounded = bounded

    def log_probability(self, outputs: Tensor, values: Tensor) -> Tensor:
        """The log of p(x|z) `[..., batch]`, a density of values on the scale of [-1, 1]."""
        _, log_variance = outputs.float().chunk(2, -1)
        log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
        squares = (values.float() - self.mean(outputs)).square() * torch.exp(-log_variance)
        return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean."""
        mean, _ = outputs.float().chunk(2, -1)
        return 2 * torch.sigmoid(mean) - 1 if self.bounded else mean

    def first_outputs(self, values: Tensor) -> Tensor:
        """Of the mean of `values`, and one variance for all numbers."""
        mean = _logits_of_mean(values) if self.bounded else values.mean(0)
        return torch.cat([mean, _variance(values).log().expand_as(mean)])


class Logistic:
    """Each pixel has one of 256 levels: a logistic distribution cut into intervals, the outer ones unbounded.

    Salimans et al. 2017, "PixelCNN++", arXiv 1701.05517, equation 2, with one component.
    """

    outputs_per_value = 2

    def log_probability(self, outputs: Tensor, values: Tensor) -> Tensor:
        """The log of p(x|z) `[..., batch]`; `values` are 2 k / 255 - 1 for k = 0 ... 255.

        With a and b the upper and lower end of a pixel's interval, sigmoid(a) - sigmoid(b) =
        sigmoid(a) sigmoid(-b) (1 - exp(b - a)), which loses no digits.
        """
        mean, log_scale = outputs.float().chunk(2, -1)
        values = values.float()
        narrowness = torch.exp(-log_scale.clamp(*LOG_SCALE_RANGE))
        below_upper = logsigmoid(narrowness * (values - mean + HALF_LEVEL))
        above_lower = logsigmoid(narrowness * (mean - values + HALF_LEVEL))
        both = below_upper + above_lower + torch.log(-torch.expm1(-2 * HALF_LEVEL * narrowness))
        at_the_bottom, at_the_top = values < HALF_LEVEL - 1, values > 1 - HALF_LEVEL
        return torch.where(at_the_bottom, below_upper, torch.where(at_the_top, above_lower, both)).sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of the logistic whose tails are moved onto -1 and 1; that of the levels within 1/255."""
        mean, log_scale = outputs.float().chunk(2, -1)
        scale = torch.exp(log_scale.clamp(*LOG_SCALE_RANGE))
        above = scale * (softplus((mean + 1) / scale) - softplus((mean - 1) / scale))
        return (above - 1).clamp(-1, 1)

    def first_outputs(self, values: Tensor) -> Tensor:
        """Of the mean of `values`, and one scale for all numbers."""
        mean = values.mean(0)
        log_scale = 0.5 * torch.log(3 * _variance(values)) - math.log(math.pi)
        return torch.cat([mean, log_scale.expand_as(mean)])


def _logits_of_mean(values: Tensor) -> Tensor:
    return torch.logit((values.mean(0) + 1) / 2, eps=1e-3)


def _variance(values: Tensor) -> Tensor:
    """Of all numbers about their own means, 0-dim; kept above 1e-3."""
    return (values - values.mean(0)).square().mean().clamp(min=1e-3)


def likelihood_of(name: LikelihoodName, bounded: bool = True) -> Likelihood:
    """The likelihood called `name`; `bounded` where values lie in [-1, 1]."""
    likelihoods: dict[LikelihoodName, Likelihood] = {
        "bernoulli": Bernoulli(),
        "gaussian": Gaussian(bounded),
        "logistic": Logistic(),
    }
    return likelihoods[name]


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag exp(log_variance)) || N(0, I)) `[batch]`, summed over the latents.

    Kingma and Welling 2013, arXiv 1312.6114, appendix B.
    """
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)


def latent_log_ratio(latents: Tensor, noise: Tensor, log_variance: Tensor) -> Tensor:
    """The log of p(z) / q(z|x) `[..., batch]` for latents z = mean + exp(log_variance / 2) noise."""
    return 0.5 * (noise.square() + log_variance - latents.square()).sum(-1)


def importance_bound(log_weights: Tensor) -> Tensor:
    """The log of the mean of the weights `[samples, batch]` over the samples: `[batch]`.

    In expectation a lower bound of log p(x), the tighter the more samples. Burda et al. 2015, arXiv
    1509.00519, equation 8.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
