"""Levels: the values that are black and white in training, as `--range` has them."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Levels = tuple[float, float]
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})", re.IGNORECASE)


def parse_levels(text: str) -> Levels | None:
    """The two levels of "LOW..HIGH"; None for "full" and "data". Raises ValueError for anything else."""
    if text in ("full", "data"):
        return None
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None or not float(match[1]) < float(match[2]) < float("inf"):
        raise ValueError("expected full, data, or LOW..HIGH such as --range 0..4095")
    return float(match[1]), float(match[2])


def show_levels(levels: Levels) -> str:
    """The levels as `--range` takes them."""
    return "..".join(show_level(level) for level in levels)


def show_level(level: float) -> str:
    """A level without needless decimals."""
    return str(int(level)) if level == int(level) else repr(float(level))


def full_levels(bits: int) -> Levels:
    """The whole range of values with 8 or 16 bits, or of floats (32), which by custom end at 1."""
    return 0.0, {8: 255.0, 16: 65535.0, 32: 1.0}[bits]


def to_bytes(values: NDArray[Any], levels: Levels, largest: int) -> NDArray[Any]:
    """`values` with `levels` as 0 and `largest`, at most 65535, as uint16; values outside are clipped."""
    low, high = levels
    scaled = (np.nan_to_num(values.astype(np.float64)) - low) * (largest / (high - low))
    return np.rint(scaled.clip(0, largest)).astype(np.uint16)


def from_full(values: NDArray[Any], levels: Levels) -> NDArray[Any]:
    """`values` of an unsigned type, over its whole range, as the values between `levels` in the same type."""
    largest = np.iinfo(values.dtype).max
    low, high = levels
    return (
        np.rint(low + values.astype(np.float64) * ((high - low) / largest))
        .clip(0, largest)
        .astype(values.dtype)
    )
