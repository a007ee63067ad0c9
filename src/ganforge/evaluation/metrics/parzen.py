"""The Parzen-window log-likelihood of Goodfellow et al. 2014: a historical check, no measure of quality."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.neighbours import squared_distance_chunks

SIGMA_GRID = tuple(10 ** (-1 + step / 9) for step in range(10))
NUM_VALIDATION_IMAGES = 1000


@dataclass(frozen=True)
class ParzenResult:
    """The mean log-likelihood of the test images, plus or minus its standard error over images, in nats.

    `sigma` won on the validation images; `sigma_grid_log_likelihoods` holds (sigma, mean nats there) of all
    ten candidates, so a best one at either end can be seen.
    """

    mean_nats: float
    standard_error_nats: float
    sigma: float
    sigma_grid_log_likelihoods: tuple[tuple[float, float], ...]


def log_likelihoods(samples: Tensor, images: Tensor, sigmas: Sequence[float]) -> Tensor:
    """`log p(image)` in nats under a Parzen window of every width in `sigmas`: float64 `[sigmas, images]`.

    `log p(x) = log mean_j exp(-|x - g_j|^2 / (2 sigma^2)) - d log(sigma sqrt(2 pi))` with the samples `g_j`
    and images of any equal shapes `[m, ...]` and `[n, ...]`, d values each; squared distances are
    computed once and serve every sigma. Goodfellow et al. 2014, section 5. Raises `UserError` for unequal
    shapes.
    """
    if samples.dim() < 2 or samples.shape[1:] != images.shape[1:] or len(samples) == 0 or len(images) == 0:
        raise UserError(
            f"samples {list(samples.shape)} and images {list(images.shape)}: pass equally shaped ones"
        )
    samples, images = samples.flatten(1), images.flatten(1)
    widths = torch.tensor(sigmas, dtype=torch.float64, device=images.device)
    dimension = images.shape[1]
    found, start = widths.new_empty(len(widths), len(images)), 0
    terms = widths.new_empty(0)
    for squares in squared_distance_chunks(samples.detach().to(images.device), images.detach()):
        # Without the nearest sample's distance its term is exp(0), so the sum cannot underflow.
        smallest = squares.min(dim=1, keepdim=True).values
        squares -= smallest
        rows = slice(start, start + len(squares))
        for index, sigma in enumerate(sigmas):
            precision = 1 / (2 * sigma * sigma)
            torch.mul(squares, -precision, out=terms.resize_(squares.shape)).exp_()
            found[index, rows] = terms.mean(dim=1).log() - smallest[:, 0] * precision
        start += len(squares)
    constants = dimension * (widths * math.sqrt(2 * math.pi)).log()
    return found - constants[:, None]


def log_likelihood(samples: Tensor, images: Tensor, sigma: float) -> Tensor:
    """`log p(image)` in nats under a Parzen window of width `sigma`: float64 `[n]`."""
    return log_likelihoods(samples, images, [sigma])[0]


def parzen(samples: Tensor, validation: Tensor, test: Tensor) -> ParzenResult:
    """The Parzen score of `samples` by the protocol of 2014, in nats.

    All three `[n, ...]` with pixels in [0, 1] (not [-1, 1]); samples are mean images, not rounded to 8 bit;
    10,000 of them compare with the papers. The width is the best of ten on a log grid from 0.1 to 1 for the
    first 1,000 of `validation`, evenly spaced in `evaluate`; the test images never take part in that choice.
    The error is the standard deviation over test images / sqrt(number). Goodfellow et al. 2014, section 5,
    and the authors' `parzen_ll.py`. Copies of the training set score as well as the truth (Theis et al.
    2016).

    Raises `UserError` for pixels outside [0, 1], other shapes, or fewer than 2 test images.
    """
    for name, images in (("samples", samples), ("validation images", validation), ("test images", test)):
        if len(images) < 2:
            raise UserError(f"{len(images)} {name}: at least 2 are needed, the papers use 10,000")
        low, high = images.min().item(), images.max().item()
        if not (low >= -1e-6 and high <= 1 + 1e-6):
            raise UserError(
                f"{name} with pixels from {low:.3g} to {high:.3g}: [0, 1] is needed, pass (images + 1) / 2"
            )
    grid = log_likelihoods(samples, validation[:NUM_VALIDATION_IMAGES], SIGMA_GRID).mean(dim=1).tolist()
    sigma = SIGMA_GRID[grid.index(max(grid))]
    scores = log_likelihood(samples, test, sigma)
    return ParzenResult(
        mean_nats=scores.mean().item(),
        standard_error_nats=scores.std(correction=0).item() / math.sqrt(len(test)),
        sigma=sigma,
        sigma_grid_log_likelihoods=tuple(zip(SIGMA_GRID, grid, strict=True)),
    )
