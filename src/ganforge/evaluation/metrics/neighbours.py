"""Nearest neighbours among features: precision, recall, density, coverage, memorisation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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


def nearest(queries: Tensor, references: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The index and the L2 distance of each query's nearest reference, by exhaustive search in float64.

    `queries` `[n, d]`; `references` yields chunks `[m, d]` of any lengths, of which one at a time is held.
    The indices `[n]` (int64) count through all chunks from 0. Distances `[n]` are float64, in the units of
    the inputs; a copy has the distance 0. Raises `UserError` for another dimension or if there is no
    reference.
    """
    queries = queries.detach().double()
    best = torch.full((len(queries),), torch.inf, dtype=torch.float64, device=queries.device)
    indices = torch.full((len(queries),), -1, dtype=torch.long, device=queries.device)
    query_norms = queries.square().sum(dim=1, keepdim=True)
    rows = max(1, CHUNK_BYTES // (8 * max(1, len(queries))))
    start = 0
    for chunk in references:
        if chunk.dim() != 2 or chunk.shape[1] != queries.shape[1]:
            raise UserError(
                f"references {list(chunk.shape)} for queries {list(queries.shape)}: flatten both to [n, d]"
            )
        for piece in torch.split(chunk, rows) if len(chunk) else ():
            piece = piece.detach().to(queries.device).double()
            squares = torch.addmm(query_norms + piece.square().sum(dim=1), queries, piece.T, alpha=-2)
            found = squares.argmin(dim=1)
            # The expanded square finds the neighbour; the subtraction measures it, as rounding would turn
            # the 0 of a copy into 1e-7.
            distances = (queries - piece[found]).norm(dim=1)
            nearer = distances < best
            best = torch.where(nearer, distances, best)
            indices = torch.where(nearer, start + found, indices)
            start += len(piece)
    if start == 0:
        raise UserError("no references to search: at least one is needed, pass the training images")
    return indices, best


@dataclass(frozen=True)
class Memorisation:
    """The ratio of mean distances, its standard error over samples, and the share nearer to training ones."""

    ratio: float
    standard_error: float
    share_nearer_to_training: float


def memorisation(fake: Tensor, training: Tensor, held_out: Tensor) -> Memorisation | None:
    """Mean distance of fakes to their nearest training features, over that to the nearest held-out ones.

    `fake` `[m, d]`; `training` and `held_out` `[n, d]`, equally many, since among more references the nearest
    is nearer. 1 means that training images are no nearer than others of their kind, 0 copies. The share
    counts samples that are nearer to a training image, ties half: 1/2 is even. The error is that of a ratio
    of paired means, over samples alone. None where every fake is a copy of a held-out image, so that there
    are no distances. Raises `UserError` for unequal numbers or dimensions, NaN or infinite features, or fewer
    than 2 fakes.
    """
    if len(training) != len(held_out):
        raise UserError(
            f"{len(training)} training and {len(held_out)} held-out references: pass equally many of both"
        )
    if len(fake) < 2:
        raise UserError(f"{len(fake)} samples: at least 2 are needed, draw more samples")
    for name, features in (("samples", fake), ("training", training), ("held-out", held_out)):
        if not features.isfinite().all():
            raise UserError(f"features ({name}) hold NaN or infinity: finite ones are needed")
    _, to_training = nearest(fake, [training])
    _, to_held_out = nearest(fake, [held_out])
    scale = to_held_out.mean()
    if scale == 0:
        return None
    ratio = to_training.mean() / scale
    error = (to_training - ratio * to_held_out).std() / scale / len(fake) ** 0.5
    nearer = (torch.sign(to_held_out - to_training) + 1) / 2
    return Memorisation(ratio.item(), error.item(), nearer.mean().item())
