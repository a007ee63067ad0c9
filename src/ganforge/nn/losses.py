"""Losses to minimise: adversarial losses on logits, matching losses on embeddings, and likelihoods of levels.

`real_logits` and `fake_logits` are raw discriminator outputs `[batch]`. Everything is computed in float32. At
equilibrium `discriminator_logistic` is log 4 = 1.386 and the non-saturating `generator_loss` log 2 = 0.693.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.nn.functional import cross_entropy, normalize, pad, relu, softplus

PENALTY = "penalty, its first backward"
"""Phase of a step, as a profile names it."""
AdversarialLoss = Literal["non_saturating", "minimax"]

# exp(40) times the discriminator's slope there, 4e-18, is 1 in float32, and leaves room for small weights.
LOWEST_LOGIT = -40.0

TEMPERATURE = 0.1  # of cosines: a matching text can be exp(10) = 22,026 times as likely as an orthogonal one
NEVER = -1e4  # a logit of probability 0; finite, because 0 times infinity would be NaN


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


def discriminator_hinge(real_logits: Tensor, fake_logits: Tensor, margin_noise: float = 0.0) -> Tensor:
    """E max(0, m - s_real) + E max(0, m + s_fake), margins m of 1: 2 where the discriminator is undecided.

    Lim and Ye 2017, arXiv 1705.02894; Miyato et al. 2018, equation 16. `margin_noise` draws each logit's
    margin from U(1 - this, 1), as the code of Liu et al. 2021, arXiv 2101.04775.
    """
    real, fake = real_logits.float(), fake_logits.float()
    if not margin_noise:
        return relu(1 - real).mean() + relu(1 + fake).mean()
    real_margins, fake_margins = (1 - margin_noise * torch.rand_like(logits) for logits in (real, fake))
    return relu(real_margins - real).mean() + relu(fake_margins + fake).mean()


def generator_wasserstein(fake_logits: Tensor) -> Tensor:
    """-E s_fake: the generator's loss against a Wasserstein critic or a discriminator with the hinge loss."""
    return -fake_logits.float().mean()


def critic_wasserstein(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E s_fake - E s_real: minus the estimate of the Wasserstein distance, where the critic is 1-Lipschitz.

    Arjovsky et al. 2017, arXiv 1701.07875, equation 3, negated.
    """
    return fake_logits.float().mean() - real_logits.float().mean()


def discriminator_least_squares(
    real_logits: Tensor, fake_logits: Tensor, fake_target: float = 0.0, real_target: float = 1.0
) -> Tensor:
    """1/2 E (s_real - b)^2 + 1/2 E (s_fake - a)^2, with `real_target` b and `fake_target` a.

    1/4 with the targets 0 and 1 where the discriminator is undecided. Mao et al. 2016, arXiv 1611.04076,
    equation 2.
    """
    real, fake = real_logits.float() - real_target, fake_logits.float() - fake_target
    return 0.5 * (real.square().mean() + fake.square().mean())


def generator_least_squares(fake_logits: Tensor, target: float = 1.0) -> Tensor:
    """1/2 E (s_fake - c)^2, with `target` c: Mao et al. 2016, equation 2."""
    return 0.5 * (fake_logits.float() - target).square().mean()


def discriminator_relativistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E softplus(s_fake - s_real) over pairs: log 2 = 0.693 where the two are equal.

    Jolicoeur-Martineau 2018, arXiv 1807.00734; on pairs as in Huang et al. 2024, arXiv 2501.05441.
    """
    return softplus(fake_logits.float() - real_logits.float()).mean()


def generator_relativistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E softplus(s_real - s_fake) over pairs: the discriminator's loss with the roles exchanged."""
    return discriminator_relativistic(fake_logits, real_logits)


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], reals: Tensor, fakes: Tensor) -> Tensor:
    """E (|gradient of D at x|_2 - 1)^2 between pairs: x = real + u (fake - real), u ~ U(0, 1) for each pair.

    `reals` and `fakes` `[batch, ...]` are what `discriminator` sees; the norm is over all values of a sample.
    Computed in float32, outside of autocast, whose double backward overflows; `discriminator` must score each
    sample independently (no batch norm) and, as it is differentiated twice, must not be compiled. Gulrajani
    et al. 2017, arXiv 1704.00028, equation 3; the caller multiplies by lambda.
    """
    with torch.autocast(reals.device.type, enabled=False):
        reals, fakes = reals.detach().float(), fakes.detach().float()
        shares = torch.rand(len(reals), *[1] * (reals.dim() - 1), device=reals.device)
        between = torch.lerp(reals, fakes, shares).requires_grad_()
        norms = torch.linalg.vector_norm(_image_gradients(discriminator(between), between), dim=1)
        return (norms - 1).square().mean()


def zero_centred_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E |gradient of D at x|_2^2 over `images`, which require gradients and have `logits`: R1 or R2.

    Squared and summed over all values of a sample, mean over the batch; the caller multiplies by gamma / 2.
    Expects logits that were computed in float32, outside of autocast, by a network that is not compiled and
    in which no sample sees another. Mescheder et al. 2018, arXiv 1801.04406, equations 9 and 10.
    """
    with torch.autocast(images.device.type, enabled=False):
        return _image_gradients(logits, images).square().sum(1).mean()


def penalised(rows: Tensor, share: float) -> Tensor:
    """The rows of a batch, `[batch, ...]`, that a gradient penalty of a `share` of it in (0, 1] is of.

    At least one, and all of them for 1. The penalty's mean over them is an unbiased estimate of that over all
    where the order of a batch is random. They are evenly spaced, so that several processes take those that
    one process would, where the share of each process's part is a whole number.
    """
    if share == 1:
        return rows
    count = max(1, round(share * len(rows)))
    return rows[torch.arange(count, device=rows.device) * len(rows) // count]


def _image_gradients(logits: Tensor, images: Tensor) -> Tensor:
    """The gradient of each logit by its own image, float32 `[batch, values]`, to be differentiated again."""
    with record_function(PENALTY):
        (gradients,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    return gradients.flatten(1).float()


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
    """Metrics of an adversarial step: both losses in nats, mean D(x) and mean D(G(z)); detached, 0-dim."""
    return {
        "discriminator_loss": discriminator_loss.detach(),
        "generator_loss": generator_loss.detach(),
        "real_probability": torch.sigmoid(real_logits.detach().float()).mean(),
        "fake_probability": torch.sigmoid(fake_logits.detach().float()).mean(),
    }


def logit_metrics(
    discriminator_loss: Tensor, generator_loss: Tensor, real_logits: Tensor, fake_logits: Tensor
) -> dict[str, Tensor]:
    """Metrics of an adversarial step whose logits are no log odds: losses, mean logits; detached, 0-dim."""
    return {
        "discriminator_loss": discriminator_loss.detach(),
        "generator_loss": generator_loss.detach(),
        "real_logit": real_logits.detach().float().mean(),
        "fake_logit": fake_logits.detach().float().mean(),
    }


def total_variation(images: Tensor) -> Tensor:
    """The squared differences of neighbours, across and down, summed over each image; their mean, 0-dim.

    Ledig et al. 2016, section 3.2, after Johnson et al. 2016, arXiv 1603.08155. In float32.
    """
    images = images.float()
    across = (images[..., 1:] - images[..., :-1]).square().sum()
    down = (images[..., 1:, :] - images[..., :-1, :]).square().sum()
    return (across + down) / len(images)


def joint_embedding_loss(images: Tensor, texts: Tensor, equal: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over i, j of max(0, 1 + s_ij - s_ii) + max(0, 1 + s_ij - s_jj), divided by batch^2.

    s_ij is the inner product of image i and text j, `images` and `texts` `[batch, n]` being embeddings of
    pairs. Where `equal` bool `[batch, batch]` is true the two texts are the same: the term is left out, as is
    i = j. Where all embeddings are equal the loss is 2 - 2 / batch. Also returns the share of images,
    detached, whose own text fits them best. Reed et al. 2016, arXiv 1605.05396, equation 2, with the pairs of
    a batch as classes (`main_txt_coco.lua`).
    """
    with torch.autocast(images.device.type, enabled=False):
        scores = images.float() @ texts.float().T
    right = scores.diagonal()
    margins = relu(1 + scores - right[:, None]) + relu(1 + scores - right)
    others = ~(equal | torch.eye(len(scores), dtype=torch.bool, device=scores.device))
    best = torch.where(others, scores.detach(), -torch.inf).amax(1)
    return (margins * others).sum() / scores.numel(), (right.detach() > best).float().mean()


def mode_seeking_loss(images: Tensor, others: Tensor, latents: Tensor, other_latents: Tensor) -> Tensor:
    """The mean of |z - z'|_1 / |x - x'|_1 over pairs of images of one condition, each norm a mean.

    `images` and `others` `[batch, ...]` are generated from `latents` and `other_latents` `[batch, n]`. Large
    where the generator ignores its latents. Mao et al. 2019, arXiv 1903.05628, equation 3, which maximises
    the inverse ratio; the authors' code minimises this one.
    """
    distances = (images.float() - others.float()).abs().flatten(1).mean(1)
    return ((latents - other_latents).abs().mean(1) / (distances + 1e-5)).mean()


def contrastive_loss(
    images: Tensor,
    texts: Tensor,
    equal: Tensor,
    same_class: Tensor,
    class_share: float,
    wrong: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy, in nats, of an image's text among those of the batch, and of a text's image.

    The logits are cosines of `images` and `texts` `[batch, n]`, embeddings of pairs, divided by 0.1. Of the
    target `class_share` goes to the other pairs of the class, those where `same_class` bool `[batch, batch]`
    is true, evenly, where there are any. Where `equal` bool `[batch, batch]` is true the two texts are the
    same: the pair is left out, as in `joint_embedding_loss`. `wrong` are a further text for each image
    alone, which does not describe it, and bool `[batch]`, where there is one. Also returns the share of
    images, detached, whose own text fits them best. Radford et al. 2021, arXiv 2103.00020; with classes as
    in Khosla et al. 2020, arXiv 2004.11362.
    """
    with torch.autocast(images.device.type, enabled=False):
        logits = normalize(images.float(), dim=1) @ normalize(texts.float(), dim=1).T / TEMPERATURE
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(equal & ~own, NEVER)
    others = (same_class & ~equal & ~own).float()
    share = class_share * (others.sum(1, keepdim=True) > 0)
    targets = (1 - share) * own + share * others / others.sum(1, keepdim=True).clamp(min=1)
    choices, aims = logits, targets
    if wrong is not None:
        with torch.autocast(images.device.type, enabled=False):
            cosines = (normalize(images.float(), dim=1) * normalize(wrong[0].float(), dim=1)).sum(1)
        column = (cosines / TEMPERATURE).masked_fill(~wrong[1], NEVER)[:, None]
        choices, aims = torch.cat([logits, column], 1), pad(targets, (0, 1))
    loss = cross_entropy(choices, aims) + cross_entropy(logits.T, targets)
    return loss, (logits.detach().argmax(1) == torch.arange(len(logits), device=logits.device)).float().mean()


def categorical_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of integer `targets` `[batch, ...]` under `logits` `[batch, levels, ...]`, summed: `[batch]`.

    In nats, computed in float32.
    """
    logits = logits.float()
    if logits.shape[1] == 2:  # the same, without a softmax over two numbers
        difference = logits[:, 0] - logits[:, 1]
        return softplus(torch.where(targets == 1, difference, -difference)).flatten(1).sum(1)
    rows = logits.movedim(1, -1).flatten(0, -2)
    return (
        cross_entropy(rows, targets.flatten(), reduction="none").unflatten(0, targets.shape).flatten(1).sum(1)
    )


def nats_of_any(class_nats: Tensor) -> Tensor:
    """-log p(x), `[batch]`, from -log p(x given y) `[batch, num_classes]`, with equally likely classes."""
    return math.log(class_nats.shape[1]) - (-class_nats).logsumexp(1)
