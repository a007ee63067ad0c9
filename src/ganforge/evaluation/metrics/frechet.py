"""The Fréchet distance between two sets of features, read as Gaussians (FID), and what it is at infinity."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError

SMALLEST_FID_COUNT = 2_048
NUM_SIZES = 15
STUDENT_95 = 2.160368656
"""The 97.5 % quantile of Student's t with `NUM_SIZES` - 2 degrees of freedom."""


def fewest_for_fid(feature_size: int) -> int:
    """Of fewer features on either side no distance is reported: its bias would be most of it.

    2,048; of more than 2,048 dimensions as many as these, since the covariance of fewer has no full rank.
    """
    return max(SMALLEST_FID_COUNT, feature_size)


class Moments:
    """The mean and covariance of features that arrive in pieces, in float64, on the features' device.

    Pieces are merged by their centred sums of products (Chan, Golub and LeVeque 1983), so features far from
    zero lose no digits, as they would in a plain sum of squares.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.count = 0
        self._mean = torch.zeros(dimension, dtype=torch.float64)
        self._scatter = torch.zeros(dimension, dimension, dtype=torch.float64)
        self._root: Tensor | None = None

    @classmethod
    def of(cls, features: Tensor) -> "Moments":
        """The moments of all `features` `[n, dimension]` at once."""
        if features.dim() != 2:
            raise UserError(f"features have shape {list(features.shape)}: pass [number, dimension]")
        moments = cls(features.shape[1])
        moments.update(features)
        return moments

    def update(self, features: Tensor) -> None:
        """Add `features` `[n, dimension]`; an empty piece changes nothing.

        Raises `UserError` on another shape, and on NaN or infinite features, which would spoil all that is
        already in.
        """
        if features.dim() != 2 or features.shape[1] != self.dimension:
            raise UserError(f"features have shape {list(features.shape)}: pass [number, {self.dimension}]")
        if len(features) == 0:
            return
        features = features.detach().double()
        bad = len(features) - int(features.isfinite().all(dim=1).sum())
        if bad:
            raise UserError(
                f"{bad} of {len(features)} feature rows hold NaN or infinity: finite ones are needed, "
                "look at the samples; training has probably diverged"
            )
        self._mean, self._scatter = self._mean.to(features.device), self._scatter.to(features.device)
        mean = features.mean(dim=0)
        centred = features - mean
        shift = mean - self._mean
        total = self.count + len(features)
        self._scatter += centred.T @ centred
        self._scatter += torch.outer(shift, shift) * (self.count * len(features) / total)
        self._mean += shift * (len(features) / total)
        self.count = total
        self._root = None

    @property
    def mean(self) -> Tensor:
        """The mean `[dimension]`, float64; zeros before the first feature."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance `[dimension, dimension]` (divisor count - 1), float64.

        Raises `UserError` before the second feature.
        """
        if self.count < 2:
            raise UserError(
                f"a covariance of {self.count} features: at least 2 are needed, draw more samples"
            )
        return self._scatter / (self.count - 1)

    @property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance, kept: half of what a distance costs."""
        if self._root is None:
            self._root = square_root(self.covariance)
        return self._root


class StoredMoments:
    """The mean `[n]` and covariance `[n, n]` of features, float64, that were saved: nothing can be added."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.dimension = len(mean)
        self.mean = mean
        self.covariance = (covariance + covariance.T) / 2
        self.root = square_root(self.covariance)


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric root of a symmetric `matrix` without negative eigenvalues but for rounding errors."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def frechet_distance(real: Moments | StoredMoments, fake: Moments | StoredMoments) -> float:
    """`|m_r - m_f|^2 + trace(S_r + S_f - 2 (S_r^1/2 S_f S_r^1/2)^1/2)`, the squared 2-Wasserstein distance.

    The middle root has the trace of `(S_r S_f)^1/2` (Heusel et al. 2017), but is taken of a symmetric
    matrix: two eigendecompositions, real numbers only, no jitter on the diagonal; that of `real` is kept for
    the next distance from it. Symmetric in its arguments, 0 for equal moments up to rounding, and never
    negative. Biased upwards by about 1 / count: compare only equal counts. Raises `UserError` where the
    dimensions differ or a side has fewer than 2 features.
    """
    if real.dimension != fake.dimension:
        raise UserError(
            f"features of {real.dimension} and {fake.dimension} dimensions: "
            "both sides need the same feature extractor"
        )
    real_covariance = real.covariance
    fake_covariance = fake.covariance.to(real_covariance.device)
    product = real.root @ fake_covariance @ real.root
    # Rounding leaves the product symmetric only to about 1e-16; eigvalsh reads just one triangle.
    values = torch.linalg.eigvalsh((product + product.T) / 2)
    cross = values.clamp(min=0).sqrt().sum()
    shift = real.mean - fake.mean.to(real.mean.device)
    distance = shift @ shift + real_covariance.trace() + fake_covariance.trace() - 2 * cross
    return max(0.0, float(distance))


@dataclass(frozen=True)
class ExtrapolatedDistance:
    """The intercept of the line, half the width of its 95 % interval, and the (size, distance) behind it."""

    value: float
    half_width: float
    distances: tuple[tuple[int, float], ...]


def frechet_at_infinity(real: Moments, fake: Tensor, smallest: int, seed: int = 0) -> ExtrapolatedDistance:
    """The distance of `fake` `[m, d]` from `real` for infinitely many fakes: a line in 1 / number, at 0.

    The bias of the distance is proportional to 1 / number of fakes. 15 sizes, evenly spaced from `smallest`
    to m, each get a random subset, drawn by a generator of this function's own from `seed`; their distances
    are regressed on 1 / size by least squares. It may be slightly negative. The interval is that of the
    intercept, by Student's t: the subsets share samples, so it is too narrow if anything. The bias that comes
    from the finite number of *real* features stays. Raises `UserError` unless 2 <= `smallest` <= m / 2, and
    whatever `Moments` refuses. Chong and Forsyth 2020, section 3.
    """
    if fake.dim() != 2 or not 2 <= smallest <= len(fake) / 2:
        raise UserError(
            f"fakes {list(fake.shape)} from {smallest} on: [n, d] with at least {2 * max(smallest, 2)} rows "
            "are needed to extrapolate, draw more samples"
        )
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.linspace(smallest, len(fake), NUM_SIZES, dtype=torch.float64).round().long().tolist()
    distances = []
    for size in sizes:
        rows = torch.randperm(len(fake), generator=generator)[:size].to(fake.device)
        distances.append(frechet_distance(real, Moments.of(fake[rows])))
    intercept, error = _intercept(
        1 / torch.tensor(sizes, dtype=torch.float64), torch.tensor(distances, dtype=torch.float64)
    )
    return ExtrapolatedDistance(intercept, STUDENT_95 * error, tuple(zip(sizes, distances, strict=True)))


def _intercept(places: Tensor, values: Tensor) -> tuple[float, float]:
    """Where the least-squares line through the points meets 0, and the standard error of that."""
    centred = places - places.mean()
    scatter = centred.square().sum()
    slope = (centred * values).sum() / scatter
    intercept = values.mean() - slope * places.mean()
    residuals = values - intercept - slope * places
    variance = residuals.square().sum() / (len(places) - 2)
    error = (variance * (1 / len(places) + places.mean().square() / scatter)).sqrt()
    return intercept.item(), error.item()


def by_class(
    distance: Callable[[Tensor, Tensor], float],
    real: Tensor,
    real_labels: Tensor,
    fake: Tensor,
    fake_labels: Tensor,
) -> list[float]:
    """`distance(real, fake)` of the features of each class in turn: one number for each class.

    `real` `[n, d]` with `real_labels` int64 `[n]`, `fake` `[m, d]` with `fake_labels` `[m]`. Raises
    `UserError` for other shapes, or where the two sides do not have the same classes.
    """
    if real_labels.shape != real.shape[:1] or fake_labels.shape != fake.shape[:1]:
        raise UserError(
            f"labels {list(real_labels.shape)} and {list(fake_labels.shape)} of features {list(real.shape)} "
            f"and {list(fake.shape)}: pass one for each row"
        )
    classes, requested = real_labels.unique().tolist(), fake_labels.unique().tolist()
    if classes != requested:
        raise UserError(f"real classes {classes} and generated classes {requested}: pass the same ones")
    return [distance(real[real_labels == number], fake[fake_labels == number]) for number in classes]
