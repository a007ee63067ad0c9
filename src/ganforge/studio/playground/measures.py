"""How near generated points are to the data: divergences, and modes or parts that are found."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.data.dataset import Dataset
from ganforge.evaluation.metrics.histogram import cell_counts, jensen_shannon_nats, kl_nats
from ganforge.evaluation.metrics.modes import mode_coverage
from ganforge.studio.playground.points import shown_points

NUM_SAMPLES = 1_000
"""Generated points that are measured; the first of them are shown."""
NUM_REAL, NUM_COMPARED = 5_000, 600
BINS = 24
NUM_PARTS, MOST_PARTS = 12, 60
GAP, NEAR = 0.11, 0.06
"""In half sides of the window: a gap between parts, and how near a generated point must be to a real one."""
FOUND_SHARE = 0.1
"""Of the points that a part should have: so many near it make it found."""


@dataclass(frozen=True)
class Measured:
    """`found` of `parts`, the share of samples near real points, and divergences in nats."""

    found: int
    parts: int
    good_percent: float
    js: float
    kl: float


class Measures:
    """Measures of samples against the data of one session.

    Modes of ring and grid are counted as in papers: one sample within 3 standard deviations of its mean.
    Other data are cut into parts: clusters where gaps lie between them, else 12 pieces.
    """

    def __init__(self, dataset: Dataset, window: tuple[float, float, float]) -> None:
        x, y, half = window
        centre = torch.tensor([x, y])
        self._low, self._high = centre - half, centre + half
        self._histogram = cell_counts(shown_points(dataset, NUM_REAL), self._low, self._high, BINS)
        self._mixture = dataset.mixture
        self._real = shown_points(dataset, NUM_COMPARED)
        self._near = NEAR * half
        self._parts = torch.zeros(0) if self._mixture is not None else parts_of(self._real, GAP * half)

    @property
    def are_modes(self) -> bool:
        """Whether what is counted are the modes of a known mixture."""
        return self._mixture is not None

    def measure(self, samples: Tensor) -> Measured:
        """Those of `samples` `[count, 2]`."""
        histogram = cell_counts(samples, self._low, self._high, BINS)
        js, kl = jensen_shannon_nats(self._histogram, histogram), kl_nats(self._histogram, histogram)
        if self._mixture is not None:
            coverage = mode_coverage(samples, self._mixture.means, self._mixture.std)
            return Measured(coverage.modes, coverage.num_modes, coverage.high_quality_percent, js, kl)
        distances, nearest = torch.cdist(samples.nan_to_num(1e9), self._real).min(1)
        good = distances < self._near
        count = int(self._parts.max()) + 1
        expected = self._parts.bincount(minlength=count) / len(self._parts) * len(samples)
        near = self._parts[nearest[good]].bincount(minlength=count)
        found = int((near >= (FOUND_SHARE * expected).clamp(min=1)).sum())
        return Measured(found, count, 100 * float(good.float().mean()), js, kl)


def parts_of(points: Tensor, gap: float) -> Tensor:
    """The part int64 `[count]` of each point: clusters with gaps between them, or pieces of one cluster.

    Clusters of less than 2 % of the points join their nearest larger one.
    """
    distances = torch.cdist(points, points)
    linked = distances < gap
    labels = torch.arange(len(points))
    while True:  # the smallest number of all points that can be reached
        smallest = torch.where(linked, labels, len(points)).amin(1)
        if torch.equal(smallest, labels):
            break
        labels = smallest[smallest]
    counts = labels.bincount(minlength=len(points))
    large = counts[labels] >= max(2, 0.02 * len(points))
    if not large.all() and large.any():
        nearest = torch.where(large, distances, torch.inf).argmin(1)
        labels = torch.where(large, labels, labels[nearest])
    names, parts = labels.unique(return_inverse=True)
    return parts if 2 <= len(names) <= MOST_PARTS else _pieces(points, min(NUM_PARTS, len(points)))


def _pieces(points: Tensor, count: int) -> Tensor:
    """Each point with the nearest of `count` centres, each of which is far from those before it."""
    centres = [0]
    distances = torch.cdist(points, points[:1]).squeeze(1)
    for _ in range(count - 1):
        centres.append(int(distances.argmax()))
        distances = torch.minimum(distances, torch.cdist(points, points[centres[-1:]]).squeeze(1))
    return torch.cdist(points, points[centres]).argmin(1)
