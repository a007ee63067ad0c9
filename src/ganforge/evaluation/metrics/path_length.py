"""Perceptual path length: how much images change along short paths between latents."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.nn.paths import lerp, slerp

EPSILON = 1e-4
TRIMMED = 0.01


@dataclass(frozen=True)
class PathLength:
    """The mean and its standard error over the `num_paths` that the trimming left."""

    mean: float
    standard_error: float
    num_paths: int


def path_length(
    distance: Callable[[Tensor, Tensor], Tensor],
    starts: Tensor,
    ends: Tensor,
    *,
    spherical: bool,
    epsilon: float = EPSILON,
    seed: int = 0,
) -> PathLength:
    """`E d(G(z_t), G(z_t+epsilon)) / epsilon^2` over paths between `starts` and `ends` `[n, ...]`.

    `distance` gives `[n]` squared perceptual distances of the images of two sets of latents, float64. Each
    path has its own t, uniform in [0, 1) by the seed; both points are made in float64, for they differ by
    1e-4 of the path only. The lowest and the highest hundredth of distances are left out. Karras et al. 2019,
    section 4.1 and the authors' code. Raises UserError for unequal shapes, fewer than 2 paths, or distances
    that are not finite.
    """
    if starts.shape != ends.shape or len(starts) < 2:
        raise UserError(
            f"paths from {list(starts.shape)} to {list(ends.shape)}: expected equal shapes, 2 or more"
        )
    between = slerp if spherical else lerp
    places = torch.rand(len(starts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    near, far = between(starts, ends, places), between(starts, ends, places + epsilon)
    lengths = distance(near, far).double() / epsilon**2
    if not lengths.isfinite().all():
        raise UserError("distances along paths are NaN or infinite: look at the samples")
    ordered = lengths.sort().values
    cut = int(TRIMMED * len(ordered))
    kept = ordered[cut : len(ordered) - cut]
    error = kept.std().item() / len(kept) ** 0.5
    return PathLength(kept.mean().item(), error, len(kept))
