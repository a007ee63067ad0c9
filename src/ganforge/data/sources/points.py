"""Two-dimensional points of somebody's own, from rows of two numbers."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganforge.errors import UserError, printable
from ganforge.files.reading import read_regular

MOST_BYTES = 64 * 2**20
LARGEST = 1e6
"""Of a coordinate: networks are trained on the numbers as they are."""


def read_points(path: Path) -> NDArray[np.float32]:
    """The points float32 `[count, 2]` of a CSV file; its first row may be a heading.

    Raises UserError for a row without two numbers, one that is not finite or beyond a million, and for
    fewer than two rows.
    """
    shown = printable(str(path))
    try:
        text = read_regular(path, MOST_BYTES).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    rows = list[tuple[float, float]]()
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        if not any(field.strip() for field in row):
            continue
        try:
            x, y = map(float, row)
            if not max(abs(x), abs(y)) <= LARGEST:  # NaN is not either
                raise ValueError
        except ValueError:
            if number == 1 and not any(map(_is_number, row)):
                continue
            raise UserError(
                f"{shown}, row {number}: {printable(','.join(row))[:60]!r}: expected two numbers of at most "
                "a million, such as 0.5,-1.25"
            ) from None
        rows.append((x, y))
    if len(rows) < 2:
        raise UserError(f"{shown} has {len(rows)} points: expected two at least, in rows such as 0.5,-1.25")
    return np.array(rows, dtype=np.float32)


def write_points(points: Iterable[tuple[float, float]]) -> bytes:
    """A CSV file of float32 `points`, which `read_points` reads as they are."""
    return "".join(["x,y\n", *(f"{np.float32(x)},{np.float32(y)}\n" for x, y in points)]).encode()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
