"""Perceptual path length: how much images change along short paths between latents."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError

EPSILON = 1e-4
TRIMMED = 0.01


@dataclass(frozen=True)
class PathLength:
    """The mean and its standard error over the `num_paths` that the trimming left."""

    mean: float
    standard_error: float
    num_paths: int


def slerp(start: Tensor, end: Tensor, places: Tensor) -> Tensor:
    """Between `start` and `end` `[n, ...]` at `places` `[n]` in [0, 1], along the arc, float64.

    Directions go along the great circle and lengths linearly from one to the other. For latents of a normal
    distribution, whose length hardly varies: the straight line would leave their shell. Karras et al. 2019,
    appendix A.
    """
    first, second = start.double().flatten(1), end.double().flatten(1)
    places = places.double()[:, None]
    lengths = first.norm(dim=1, keepdim=True), second.norm(dim=1, keepdim=True)
    unit_first, unit_second = (v / n.clamp(min=1e-300) for v, n in zip((first, second), lengths, strict=True))
    cosine = (unit_first * unit_second).sum(1, keepdim=True).clamp(-1, 1)
    across = unit_second - cosine * unit_first
    norm = across.norm(dim=1, keepdim=True)
    # The same direction leaves no plane to turn in, and no way to go.
    across = torch.where(norm > 1e-12, across / norm.clamp(min=1e-300), 0.0)
    angle = places * torch.atan2(norm, cosine)
    length = lengths[0] + places * (lengths[1] - lengths[0])
    return (length * (unit_first * angle.cos() + across * angle.sin())).view_as(start)


def lerp(start: Tensor, end: Tensor, places: Tensor) -> Tensor:
    """The same along the straight line: for uniform latents, and for an intermediate space."""
    shape = (-1, *[1] * (start.dim() - 1))
    return start.double() + places.double().view(shape) * (end.double() - start.double())


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
