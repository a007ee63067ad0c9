"""A score and the protocol that makes it comparable."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.data.dataset import batch_of, some_rows
from ganforge.data.split import Split
from ganforge.errors import UserError

CHUNK = 1_000


Protocol = dict[str, Any]


class Score(BaseModel):
    """One number, its unit and its protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    unit: str = ""
    plus_minus: float | None = None
    protocol: dict[str, Any]
    note: str = ""


def finite(values: Tensor, what: str) -> Tensor:
    """`values`; raises UserError where one is NaN or infinite, which as 8-bit pixels would pass unseen."""
    if not values.isfinite().all():
        raise UserError(f"{what} hold NaN or infinity: training has diverged, train anew with a smaller rate")
    return values


def rows_of(images: Split, count: int | None = None) -> Iterator[Tensor]:
    """The indices of `count` elements of a split, evenly spaced, or of all, a part at a time."""
    yield from some_rows(images, count).split(CHUNK)


def stored_parts(images: Split, count: int | None = None) -> Iterator[Tensor]:
    """The same elements as they are stored: pixels uint8, or points."""
    return (images.read(rows) for rows in rows_of(images, count))


def batches(images: Split, count: int | None = None) -> Iterator[Batch]:
    """The same elements as systems see them, with their labels and sources."""
    return (batch_of(images, rows) for rows in rows_of(images, count))
