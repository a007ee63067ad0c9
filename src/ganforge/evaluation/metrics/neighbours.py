"""The nearest neighbour of every query, to see whether a generator copies its training set."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.distances import CHUNK_BYTES


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
