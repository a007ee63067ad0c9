"""Between two latents: along the arc for Gaussian ones, along the straight line for others."""

import torch
from torch import Tensor


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
