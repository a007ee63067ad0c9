"""How much of the fakes lies among the real features, and how much of the real ones among the fakes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.evaluation.metrics.distances import Neighbourhoods


@dataclass(frozen=True)
class PrecisionRecall:
    """Shares from 0 to 1: of fakes in the real manifold, and of real features in that of the fakes."""

    precision: float
    recall: float
    k: int


@dataclass(frozen=True)
class DensityCoverage:
    """Density, 1 for the real distribution and possibly more; and coverage, a share from 0 to 1."""

    density: float
    coverage: float
    k: int


def precision_recall(pairs: Neighbourhoods, k: int = 3) -> PrecisionRecall:
    """The share of fakes within the radius of some real feature, and of real ones within that of some fake.

    `1/m sum_j [exists i: d(x_i, y_j) < r_k(x_i)]` and `1/n sum_i [exists j: d(x_i, y_j) < r_k(y_j)]`, where
    `r_k` is the distance to the k-th nearest other of the same side. Raises `UserError` for a k that `pairs`
    was not made for. Kynkaanniemi et al. 2019, section 2.
    """
    real_radii, fake_radii = pairs.real_radii(k), pairs.fake_radii(k)
    precise, recalled = (torch.zeros_like(radii, dtype=torch.bool) for radii in (fake_radii, real_radii))
    for squares, rows in _with_rows(pairs):
        precise |= (squares < real_radii[rows, None]).any(dim=0)
        recalled[rows] = (squares < fake_radii).any(dim=1)
    return PrecisionRecall(precise.double().mean().item(), recalled.double().mean().item(), k)


def density_coverage(pairs: Neighbourhoods, k: int = 5) -> DensityCoverage:
    """How many real neighbourhoods a fake lies in, over k; and the share of them with some fake in it.

    `1/(k m) sum_ij [d(x_i, y_j) < r_k(x_i)]` and `1/n sum_i [min_j d(x_i, y_j) < r_k(x_i)]`. Only the radii
    of real features count, so a stray fake widens nothing. Samples of the real distribution, as many, score
    about 1 and `1 - 2^-k`. Raises `UserError` for a k that `pairs` was not made for. Naeem et al. 2020,
    section 3.
    """
    radii = pairs.real_radii(k)
    inside = torch.zeros_like(radii)
    for squares, rows in _with_rows(pairs):
        inside[rows] = (squares < radii[rows, None]).count_nonzero(dim=1).double()
    density = inside.sum().item() / (k * len(pairs.fake))
    return DensityCoverage(density, (inside > 0).double().mean().item(), k)


def _with_rows(pairs: Neighbourhoods) -> Iterator[tuple[Tensor, slice]]:
    """Each part of the squared distances, with the rows of its real features."""
    start = 0
    for squares in pairs.between():
        yield squares, slice(start, start + len(squares))
        start += len(squares)
