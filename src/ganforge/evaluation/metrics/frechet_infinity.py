"""The Fréchet distance that infinitely many samples would have, by extrapolation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance

NUM_SIZES = 15
STUDENT_95 = 2.160368656
"""The 97.5 % quantile of Student's t with `NUM_SIZES` - 2 degrees of freedom."""


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
