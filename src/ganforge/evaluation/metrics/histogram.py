"""Divergences of two clouds of 2-D points, estimated on a histogram."""

import torch
from torch import Tensor

PRIOR = 0.5
"""Added to each count of the second histogram of a KL divergence: an empty cell would make it infinite."""


def cell_counts(points: Tensor, low: Tensor, high: Tensor, bins: int) -> Tensor:
    """How many of `points` `[n, 2]` lie in each cell, float64 `[bins^2 + 1]`; the last: outside, or NaN."""
    cells = ((points - low) / (high - low) * bins).floor()
    inside = ((cells >= 0) & (cells < bins)).all(1)
    index = torch.where(inside, cells[:, 0].nan_to_num() * bins + cells[:, 1].nan_to_num(), bins * bins)
    return index.long().bincount(minlength=bins * bins + 1).double()


def jensen_shannon_nats(real: Tensor, fake: Tensor) -> float:
    """The Jensen-Shannon divergence of two histograms of counts: 0 where equal, log 2 where disjoint.

    A finite sample of the same distribution has about (cells that are filled) / (8 n) above 0.
    """
    p, q = real / real.sum(), fake / fake.sum()
    middle = (p + q) / 2
    return float((_terms(p, middle) + _terms(q, middle)) / 2)


def kl_nats(real: Tensor, fake: Tensor) -> float:
    """KL(real || fake) of two histograms of counts: large where real points have no generated ones near.

    Half a count is added to each cell of `fake`.
    """
    smoothed = fake + PRIOR
    return float(_terms(real / real.sum(), smoothed / smoothed.sum()))


def _terms(p: Tensor, q: Tensor) -> Tensor:
    # xlogy makes an empty cell count 0 log 0 = 0.
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum().clamp(min=0)
