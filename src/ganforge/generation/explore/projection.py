"""The latent of one's own image: by the encoder where there is one, then by optimisation."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.generation.explore.keys import Keys, latent_system
from ganforge.runs.trained import Trained, Weights
from ganforge.system import InfersLatents

Features = Callable[[Tensor], Tensor]
"""Images float `[n, c, h, w]` in [-1, 1] to features `[n, d]`, with gradients."""
RATE, PRIOR_WEIGHT = 0.05, 1e-3
NUM_CANDIDATES = 256


@dataclass(frozen=True)
class Projection:
    """Keys of the images, their reconstructions, and the mean squared error of each, in [0, 4]."""

    keys: Keys
    images: Tensor
    errors: Tensor


def project(
    trained: Trained,
    images: Tensor,
    like: Keys,
    *,
    steps: int = 200,
    restarts: int = 3,
    features: Features | None = None,
    seed: int = 0,
    weights: Weights = "ema",
) -> Projection:
    """Latents whose images come near `images` float `[n, c, h, w]` in [-1, 1].

    It starts from the encoder's latents where the system infers them, and from the nearest of 256 samples,
    `restarts` of them; each is optimised by Adam for `steps` steps towards the pixels and, with `features`,
    the features too, with a little weight on typical latents; the best one counts. Conditions are those of
    `like`'s first key. Raises UserError where the system decodes no latents or a number is not positive.
    """
    if steps < 0 or restarts < 1:
        raise UserError(f"--steps {steps} --restarts {restarts}: expected 0 steps or more, 1 restart or more")
    system = latent_system(trained)
    found = [
        _project_one(trained, image[None], like, steps, restarts, features, seed, weights) for image in images
    ]
    latents = torch.cat([latent for latent, _ in found])
    made = torch.cat([image for _, image in found])
    keys = replace(like.rows(torch.zeros(len(images), dtype=torch.long)), latents=latents)
    assert system is not None
    return Projection(keys, made, (made - images).square().flatten(1).mean(1))


def _project_one(
    trained: Trained,
    image: Tensor,
    like: Keys,
    steps: int,
    restarts: int,
    features: Features | None,
    seed: int,
    weights: Weights,
) -> tuple[Tensor, Tensor]:
    """The latent and the image that come nearest."""
    system = trained.with_weights(weights)
    starts = _starts(trained, image, like, restarts, seed, weights)
    given = like.rows(torch.zeros(len(starts), dtype=torch.long)).given()
    given = None if given is None else given.to(system.device)
    target = image.to(system.device).expand(len(starts), -1, -1, -1)
    wanted = None if features is None else features(target[:1]).detach()
    reach = latent_system(trained).continuous_size
    with torch.enable_grad():
        latents = starts.to(system.device).clone().requires_grad_()
        optimizer = torch.optim.Adam([latents], RATE)
        best = torch.full((len(starts),), torch.inf)
        kept, shown = starts.clone(), torch.zeros(len(starts), *image.shape[1:])
        for step in range(steps + 1):
            generator = torch.Generator(system.device).manual_seed(0)  # what a system draws stays the same
            made = system.decode(latents, given, generator=generator).float()  # type: ignore[operator]
            error = (made - target).square().flatten(1).mean(1)
            better = error.detach().cpu() < best
            best = torch.where(better, error.detach().cpu(), best)
            kept[better], shown[better] = latents.detach().cpu()[better], made.detach().cpu()[better]
            if step == steps:
                break
            loss = error.sum() + PRIOR_WEIGHT * latents.flatten(1).square().mean(1).sum()
            if wanted is not None and features is not None:
                scale = wanted.square().mean().clamp(min=1e-12)
                loss = loss + ((features(made) - wanted).square().mean(1) / scale).sum() * 0.1
            (gradient,) = torch.autograd.grad(loss, [latents])
            if reach is not None:
                gradient[:, reach:] = 0
            latents.grad = gradient
            optimizer.step()
    chosen = int(best.argmin())
    return kept[chosen : chosen + 1], shown[chosen : chosen + 1]


def _starts(
    trained: Trained, image: Tensor, like: Keys, restarts: int, seed: int, weights: Weights
) -> Tensor:
    """The encoder's latent, if any, and the `restarts` of 256 samples that are nearest to the image."""
    candidates = trained.draw_latents(NUM_CANDIDATES, seed, weights)
    given = like.rows(torch.zeros(NUM_CANDIDATES, dtype=torch.long)).given()
    made = trained.decode(candidates, given, weights).as_subclass(Tensor)
    distances = (made - image).square().flatten(1).mean(1)
    starts = candidates[distances.argsort()[:restarts]]
    if isinstance(trained.system, InfersLatents):
        encoded = next(trained.call("posterior_mean", [image], weights=weights))
        starts = torch.cat([encoded.to(starts.dtype), starts])
    return starts
