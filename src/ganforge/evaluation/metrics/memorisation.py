"""Whether samples lie nearer to the training set than to images that training never saw."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.neighbours import nearest


@dataclass(frozen=True)
class Memorisation:
    """The ratio of mean distances, its standard error over samples, and the share nearer to training ones."""

    ratio: float
    standard_error: float
    share_nearer_to_training: float


def memorisation(fake: Tensor, training: Tensor, held_out: Tensor) -> Memorisation:
    """Mean distance of fakes to their nearest training features, over that to the nearest held-out ones.

    `fake` `[m, d]`; `training` and `held_out` `[n, d]`, equally many, since among more references the nearest
    is nearer. 1 means that training images are no nearer than others of their kind, 0 copies. The share
    counts samples that are nearer to a training image, ties half: 1/2 is even. The error is that of a ratio
    of paired means, over samples alone. Raises `UserError` for unequal numbers or dimensions, NaN or infinite
    features, fewer than 2 fakes, or where every fake is a copy of a held-out image.
    """
    if len(training) != len(held_out):
        raise UserError(
            f"{len(training)} training and {len(held_out)} held-out references: pass equally many of both"
        )
    if len(fake) < 2:
        raise UserError(f"{len(fake)} samples: at least 2 are needed, draw more samples")
    for name, features in (("samples", fake), ("training", training), ("held-out", held_out)):
        if not features.isfinite().all():
            raise UserError(f"features ({name}) hold NaN or infinity: finite ones are needed")
    _, to_training = nearest(fake, [training])
    _, to_held_out = nearest(fake, [held_out])
    scale = to_held_out.mean()
    if scale == 0:
        raise UserError("every sample is a copy of a held-out image: nothing to compare distances with")
    ratio = to_training.mean() / scale
    error = (to_training - ratio * to_held_out).std() / scale / len(fake) ** 0.5
    nearer = (torch.sign(to_held_out - to_training) + 1) / 2
    return Memorisation(ratio.item(), error.item(), nearer.mean().item())
