"""Which modes a generator covers: those of a mixture of Gaussians, or the stacks of three digits."""

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
    return ModeCoverage(
        modes=int((counts > 0).sum()),
        num_modes=len(means),
        high_quality_percent=100 * int(good.sum()) / len(points),
        reverse_kl_nats=reverse_kl_nats(counts),
    )


def reverse_kl_nats(counts: Tensor) -> float:
    """KL(histogram || uniform) in nats of the samples in each mode, int64 `[modes]`.

    0 is even and ln(modes) one mode alone, which is also what no samples at all get. A perfect sampler shows
    about (modes - 1) / (2 samples).
    """
    total, num_modes = int(counts.sum()), len(counts)
    if not total:
        return math.log(num_modes)
    shares = counts.double() / total
    # xlogy makes an empty mode count 0 log 0 = 0.
    return max(0.0, torch.special.xlogy(shares, shares * num_modes).sum().item())


def stack_modes(digits: Tensor, num_classes: int = 10) -> Tensor:
    """How many samples show each stack of digits, int64 `[num_classes^3]`.

    `digits` int64 `[n, 3]`: what a classifier reads in the three colours of stacked MNIST. Srivastava et al.
    2017 (VEEGAN), section 5, and Lin et al. 2017 (PacGAN) count 26,000 samples. Raises `UserError` for other
    shapes.
    """
    if digits.dim() != 2 or digits.shape[1] != 3 or len(digits) == 0:
        raise UserError(f"digits {list(digits.shape)}: [n, 3] are needed, one for each colour")
    place = torch.tensor([num_classes**2, num_classes, 1], device=digits.device)
    return (digits * place).sum(dim=1).bincount(minlength=num_classes**3)
