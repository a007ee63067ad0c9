"""Squared distances of all pairs of points, a part at a time, and how crowded a set of features is."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganforge.errors import UserError

CHUNK_BYTES = 20_000_000
ROUNDING = 1e-12
"""Squared distances below this share of the points' squared lengths are rounding errors: copies."""
TIE = 1e-9
"""What two squared distances may differ by, relatively, and still be equal."""


def squared_distance_chunks(samples: Tensor, images: Tensor) -> Iterator[Tensor]:
    """`|image - sample|^2` in float64, `[images, samples]`, in chunks of rows of about `CHUNK_BYTES`.

    Expanded into `|x|^2 + |g|^2 - 2 x.g`, a matrix product: at 784 pixels in [0, 1] its rounding stays below
    1e-12, where float32 would lose 1e-4 and sigma = 0.1 would blow that up a hundredfold. A chunk may be
    overwritten, and is when the next one comes.
    """
    samples = samples.double()
    sample_norms = samples.square().sum(dim=1)
    rows = max(1, CHUNK_BYTES // (8 * len(samples)))
    # One buffer for all: fresh memory for each chunk takes a third of the time, to be cleared by the kernel.
    buffer = samples.new_empty(min(rows, len(images)), len(samples))
    for chunk in torch.split(images, rows):
        chunk = chunk.double()
        norms = chunk.square().sum(dim=1, keepdim=True)
        squares = torch.add(norms, sample_norms, out=buffer[: len(chunk)])
        yield squares.addmm_(chunk, samples.T, alpha=-2).clamp_(min=0)


def checked_pair(real: Tensor, fake: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Both sets of features `[n, d]` and `[m, d]` in float64 on one device.

    Raises `UserError` for other shapes, for fewer than `least` of either, and for NaN or infinity.
    """
    if real.dim() != 2 or fake.dim() != 2 or real.shape[1] != fake.shape[1]:
        raise UserError(
            f"features of shapes {list(real.shape)} and {list(fake.shape)}: pass [n, d] and [m, d]"
        )
    fewest = min(len(real), len(fake))
    if fewest < least:
        raise UserError(f"{fewest} features: at least {least} of either side are needed, draw more samples")
    real, fake = real.detach().double(), fake.detach().double().to(real.device)
    if not (real.isfinite().all() and fake.isfinite().all()):
        raise UserError("features hold NaN or infinity: finite ones are needed, look at the samples")
    return real, fake


class Neighbourhoods:
    """Two sets of features, and the squared distances from each to its nearest others in its own set.

    Made once, for all scores that compare neighbourhoods; each matrix of all pairs exists only a part at a
    time, in float64. `real` and `fake`, `[n, d]` and `[m, d]`, lie around the mean of the real ones, which
    changes no distance and keeps the digits of features far from zero. Raises `UserError` for other shapes,
    NaN or infinite features, or a side with no more than `most` features.
    """

    def __init__(self, real: Tensor, fake: Tensor, most: int = 5) -> None:
        real, fake = checked_pair(real, fake, most + 1)
        centre = real.mean(dim=0)
        self.real, self.fake = real - centre, fake - centre
        self.within_real = nearest_within(self.real, most)
        self.within_fake = nearest_within(self.fake, most)

    def between(self) -> Iterator[Tensor]:
        """The squared distances `[rows, m]` from the real ones, a part after another, to all fakes."""
        lengths, start = self.fake.square().sum(dim=1), 0
        for squares in squared_distance_chunks(self.fake, self.real):
            part = self.real[start : start + len(squares)]
            yield _without_rounding(squares, part, lengths)
            start += len(squares)

    def real_radii(self, k: int) -> Tensor:
        """The squared radii `[n]` of real neighbourhoods: up to the k-th nearest other, which is outside."""
        return self._radii(self.within_real, k)

    def fake_radii(self, k: int) -> Tensor:
        """The same of the fakes, `[m]`."""
        return self._radii(self.within_fake, k)

    @staticmethod
    def _radii(within: Tensor, k: int) -> Tensor:
        if not 1 <= k <= within.shape[1]:
            raise UserError(f"k = {k}: these neighbourhoods were made for k from 1 to {within.shape[1]}")
        # A distance that equals the radius but for rounding is outside: the comparison is a strict one.
        return within[:, k - 1] * (1 - TIE)


def nearest_within(features: Tensor, count: int) -> Tensor:
    """Squared distances from each feature to its `count` nearest others, ascending: float64 `[n, count]`."""
    found, start = features.new_empty(len(features), count), 0
    lengths = features.square().sum(dim=1)
    for squares in squared_distance_chunks(features, features):
        part = features[start : start + len(squares)]
        rows = torch.arange(len(part), device=features.device)
        squares[rows, start + rows] = torch.inf  # nobody is its own neighbour
        squares = _without_rounding(squares, part, lengths)
        found[start : start + len(part)] = squares.topk(count, dim=1, largest=False).values
        start += len(part)
    return found


def _without_rounding(squares: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    """`squares` `[n, m]`, overwritten, where copies have the distance 0, not about 1e-16 of their length.

    `rows` `[n, d]` are one side, `lengths` `[m]` the squared lengths of the other.
    """
    row_lengths = rows.square().sum(dim=1)
    # Copies are rare: one look at the smallest of each row saves three passes over the whole.
    if (squares.amin(dim=1) < ROUNDING * (row_lengths + lengths.max())).any():
        squares.masked_fill_(squares < ROUNDING * (row_lengths[:, None] + lengths), 0)
    return squares
