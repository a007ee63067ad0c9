"""Image sizes that networks of halving or doubling stages have: the smallest maps times a power of two."""

import math

Sides = tuple[int, int]
Start = int | Sides
"""The smallest maps of a network: the side of a square, or height and width."""
SMALLEST, LARGEST = 3, 9
"""Limits of the shorter side of the smallest maps of rectangles."""


def sides_of(start: Start) -> Sides:
    """Height and width of the smallest maps."""
    return (start, start) if isinstance(start, int) else start


def stages_of(size: int) -> tuple[int, int] | None:
    """Side of the smallest feature map and number of doublings that reach `size`: 64 -> (4, 4), 28 -> (7, 2).

    None where `size` is neither 4 nor 7 times a power of two from 2 up.
    """
    for start in (4, 7):
        doublings = round(math.log2(size / start))
        if doublings >= 1 and start * 2**doublings == size:
            return start, doublings
    return None


def rectangle_stages(height: int, width: int) -> tuple[Sides, int] | None:
    """The same for images of any shape: 48x64 -> ((3, 4), 4); squares of `stages_of` as there.

    Other sizes are halved as long as both sides stay whole and the shorter is 3 or more; None where that ends
    above 9.
    """
    square = stages_of(height) if height == width else None
    if square is not None:
        return (square[0], square[0]), square[1]
    doublings = 0
    while not (height % 2 or width % 2) and min(height, width) >= 2 * SMALLEST:
        height, width, doublings = height // 2, width // 2, doublings + 1
    if not doublings or not SMALLEST <= min(height, width) <= LARGEST:
        return None
    return (height, width), doublings


def nearest_rectangle(height: int, width: int) -> Sides:
    """The height and width, of those that `rectangle_stages` takes, that are nearest in proportion."""
    candidates = []
    for doublings in range(1, 13):
        unit = 2**doublings
        down = {max(SMALLEST, round(height / unit) + step) for step in (-1, 0, 1)}
        across = {max(SMALLEST, round(width / unit) + step) for step in (-1, 0, 1)}
        candidates += [(a * unit, b * unit) for a in down for b in across if min(a, b) <= LARGEST]

    def distance(sides: Sides) -> float:
        down, across = math.log(sides[0] / height), math.log(sides[1] / width)
        return abs(down) + abs(across) + 2 * abs(down - across)  # a change of the shape counts twice

    return min((sides for sides in candidates if rectangle_stages(*sides)), key=lambda s: (distance(s), s))


def nearest_square(side: int) -> int:
    """The side of `stages_of` that is nearest to `side` in proportion."""
    sides = [start * 2**doublings for start in (4, 7) for doublings in range(1, 13)]
    return min(sides, key=lambda other: (abs(math.log(other / side)), other))


def size_option(height: int, width: int) -> int | str:
    """The value of `--size`: one number for a square, else height x width."""
    return height if height == width else f"{height}x{width}"
