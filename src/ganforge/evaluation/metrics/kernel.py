"""The kernel distance between two sets of features (KID)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError

SUBSET_SIZE = 1_000


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the squared MMD over `num_subsets` pairs of `subset_size` features.

    Plain values, not times 1000; the standard deviation is that among subsets (divisor `num_subsets`), None
    where a subset is more than half of a side: such subsets share most of their features, and their spread
    would be too small; of subsets that are all of both sides it would be a rounding error.
    """

    mean: float
    std: float | None
    num_subsets: int
    subset_size: int


def cubic_kernel(left: Tensor, right: Tensor) -> Tensor:
    """`k(a, b) = (a . b / d + 1)^3` for all pairs: `[n, d]` and `[m, d]` to `[n, m]`."""
    return (left @ right.T / left.shape[1] + 1).pow(3)


def squared_mmd(real: Tensor, fake: Tensor) -> Tensor:
    """The unbiased estimate of MMD^2 under the cubic kernel, from equally many features `[m, d]`.

    `sum_{i != j} k(x_i, x_j) / (m (m - 1))`, the same of the fakes, minus `2 / m^2 sum_ij k(x_i, y_j)`; may
    be negative.
    """
    count = len(real)

    def among(features: Tensor) -> Tensor:
        kernel = cubic_kernel(features, features)
        return (kernel.sum() - kernel.trace()) / (count * (count - 1))

    return among(real) + among(fake) - 2 * cubic_kernel(real, fake).mean()


def kernel_distance(
    real: Tensor, fake: Tensor, num_subsets: int = 100, subset_size: int = SUBSET_SIZE, seed: int = 0
) -> KernelDistance:
    """The kernel distance of features `[n, d]` and `[m, d]`: unbiased, hence fair for small sets.

    It may be negative. Each of `num_subsets` times, `subset_size` features of either side are drawn without
    replacement by a generator of this function's own, seeded with `seed`. Where a side has fewer, all subsets
    have that size and the result says so; then every subset holds all of that side, and one subset is enough
    where both sides have that size. Computed in float64.
    Raises `UserError` on other shapes, NaN or infinite features, or a side of fewer than 2. Binkowski et al.
    2018, with the defaults of torch-fidelity.
    """
    if real.dim() != 2 or fake.dim() != 2 or real.shape[1] != fake.shape[1]:
        raise UserError(
            f"features of shapes {list(real.shape)} and {list(fake.shape)}: pass [n, d] and [m, d]"
        )
    size = min(subset_size, len(real), len(fake))
    if size < 2 or num_subsets < 1:
        raise UserError(
            f"{num_subsets} subsets of {size} features: 1 subset of 2 is the least, draw more samples"
        )
    real, fake = real.detach().double(), fake.detach().double().to(real.device)
    if not (real.isfinite().all() and fake.isfinite().all()):
        raise UserError("features hold NaN or infinity: finite ones are needed, look at the samples")
    fewest = min(len(real), len(fake))
    if size == max(len(real), len(fake)):
        num_subsets = 1
    generator = torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        rows = torch.randperm(len(features), generator=generator)[:size]
        return features[rows.to(features.device)]

    distances = torch.stack([squared_mmd(subset(real), subset(fake)) for _ in range(num_subsets)])
    std = distances.std(correction=0).item() if 2 * size <= fewest and num_subsets > 1 else None
    return KernelDistance(distances.mean().item(), std, num_subsets, size)
