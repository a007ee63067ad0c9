"""Which modes of a mixture of Gaussians a generator covers, for the 2-D toys."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError


@dataclass(frozen=True)
class ModeCoverage:
    """How many of `num_modes` were captured, the share of good samples and how unevenly these are spread."""

    modes: int
    num_modes: int
    high_quality_percent: float
    reverse_kl_nats: float


def mode_coverage(points: Tensor, means: Tensor, std: float) -> ModeCoverage:
    """Compare `points` `[n, 2]` with an even mixture of Gaussians at `means` `[k, 2]`, each of std `std`.

    A point is of high quality if its Mahalanobis distance, that is |point - mean| / std, to its nearest mean
    is below 3; a mode is captured if at least one such point belongs to it. Draw 2500 points to compare with
    the papers. Points of the mixture itself score 1 - exp(-9/2) = 98.89 %: more means shrunken modes.

    `reverse_kl_nats` is KL(histogram of the nearest means || uniform) and counts the high-quality points
    only, as PacGAN's code does (fjxmlzn/PacGAN, pacgan/extensions.py); 0 is even, ln k is one mode alone, and
    ln k is also what a cloud without any high-quality point gets. Raises `UserError` for other shapes.
    Srivastava et al. 2017 (VEEGAN), section 5.
    """
    if points.dim() != 2 or points.shape[1] != means.shape[-1] or means.dim() != 2 or len(points) == 0:
        raise UserError(
            f"points {list(points.shape)} and means {list(means.shape)}: [n, 2] and [k, 2] are needed; "
            "measure modes on 2-D data such as ring or grid"
        )
    points, means = points.detach().double(), means.detach().double().to(points.device)
    distances, nearest = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    # A NaN point is nearer than 3 to nothing, so a diverged generator scores 0 instead of an error.
    good = distances / std < 3
    counts = torch.bincount(nearest[good], minlength=len(means))
    num_modes, num_good = len(means), int(good.sum())
    shares = counts.double() / max(num_good, 1)
    # xlogy makes an empty mode count 0 log 0 = 0.
    reverse_kl = (
        torch.special.xlogy(shares, shares * num_modes).sum().item() if num_good else math.log(num_modes)
    )
    return ModeCoverage(
        modes=int((counts > 0).sum()),
        num_modes=num_modes,
        high_quality_percent=100 * num_good / len(points),
        reverse_kl_nats=max(0.0, reverse_kl),
    )
