"""The Fréchet distance between two sets of features, read as Gaussians (FID)."""

import torch
from torch import Tensor

from ganforge.errors import UserError

SMALLEST_FID_COUNT = 2_048


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


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric root of a symmetric `matrix` without negative eigenvalues but for rounding errors."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def frechet_distance(real: Moments, fake: Moments) -> float:
    """`|m_r - m_f|^2 + trace(S_r + S_f - 2 (S_r^1/2 S_f S_r^1/2)^1/2)`, the squared 2-Wasserstein distance.

    The middle root has the trace of `(S_r S_f)^1/2` (Heusel et al. 2017), but is taken of a symmetric
    matrix: two eigendecompositions, real numbers only, no jitter on the diagonal; that of `real` is kept for
    the next distance from it. Symmetric in its arguments, 0 for equal moments up to rounding, and never
    negative. Biased upwards by about 1 / count: compare only equal counts. Raises `UserError` where the
    dimensions differ or a side has fewer than 2 features.
    """
    if real.dimension != fake.dimension:
        raise UserError(
            f"features of {real.dimension} and {fake.dimension} dimensions: both sides need the same judge"
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
