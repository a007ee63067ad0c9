"""What scenes are made of: the attributes of one or two objects, and which combinations are held out."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

KINDS = (*"0123456789", "circle", "square", "triangle", "star")
NUM_DIGITS = 10
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
SIZES = ("small", "large")
PLACES = ("left", "right", "top", "bottom", "centre")
BACKGROUNDS = ("black", "white", "grey", "pink")
PALETTE = {
    "red": (220, 40, 45),
    "green": (35, 165, 65),
    "blue": (40, 80, 230),
    "yellow": (240, 210, 30),
    "purple": (150, 50, 200),
    "cyan": (30, 200, 220),
    "black": (14, 14, 14),
    "white": (241, 241, 241),
    "grey": (128, 128, 128),
    "pink": (241, 190, 205),
}

# Columns of the attributes int64 `[count, NUM_COLUMNS]`: the background, then the attributes of the object
# at FIRST and of that at SECOND, each KIND, COLOUR, SIZE, PLACE.
BACKGROUND, FIRST, SECOND, NUM_COLUMNS = 0, 1, 5, 9
KIND, COLOUR, SIZE, PLACE = range(4)
NONE = -1
"""The attributes of the second object where there is one object."""

TWO_OBJECTS = 1 / 3
_PAIRS = (("left", "right"), ("top", "bottom"))


def is_held_out(
    kind: NDArray[np.int64], colour: NDArray[np.int64], place: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether combinations are held out of training: a tenth, such that every two attributes occur together.

    A kind and a colour miss at most one of five places, a kind and a place at most one of six colours, and a
    colour and a place at most two of fourteen kinds.
    """
    return (kind + 3 * colour + 2 * place) % 10 == 0


def draw_attributes(
    split: Literal["train", "test"], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """The attributes int64 `[count, NUM_COLUMNS]` of scenes: of two objects in a third of them.

    Every object of a test scene is a held-out combination of kind, colour and place, none of a training scene
    is. Two objects are next to one another or one above the other, the left or upper one first, and differ in
    colour.
    """
    sizes = (len(KINDS), len(COLOURS), len(PLACES))
    kind, colour, place = (axis.ravel() for axis in np.indices(sizes))
    chosen = is_held_out(kind, colour, place) == (split == "test")
    combinations = np.stack([kind, colour, place], 1)[chosen]
    attributes = np.full((count, NUM_COLUMNS), NONE)
    attributes[:, BACKGROUND] = random.integers(len(BACKGROUNDS), size=count)
    drawn = combinations[random.integers(len(combinations), size=count)]
    attributes[:, [FIRST + KIND, FIRST + COLOUR, FIRST + PLACE]] = drawn
    attributes[:, FIRST + SIZE] = random.integers(len(SIZES), size=count)
    with_two = random.random(count) < TWO_OBJECTS
    upright = random.random(count) < 0.5
    second_sizes = random.integers(len(SIZES), size=count)
    for number, (first, second) in enumerate(_PAIRS):
        rows = np.flatnonzero(with_two & (upright == bool(number)))
        pairs = _pairs(combinations, PLACES.index(first), PLACES.index(second))
        drawn = pairs[random.integers(len(pairs), size=len(rows))]
        for start, part in ((FIRST, drawn[:, 0]), (SECOND, drawn[:, 1])):
            columns = np.array([start + KIND, start + COLOUR, start + PLACE])
            attributes[rows[:, None], columns] = part
        attributes[rows, SECOND + SIZE] = second_sizes[rows]
    return attributes


def _pairs(combinations: NDArray[np.int64], first: int, second: int) -> NDArray[np.int64]:
    """All pairs `[pairs, 2, 3]` of combinations at these places whose colours differ."""
    ones = combinations[combinations[:, 2] == first]
    others = combinations[combinations[:, 2] == second]
    left, right = (axis.ravel() for axis in np.indices((len(ones), len(others))))
    pairs = np.stack([ones[left], others[right]], 1)
    return pairs[pairs[:, 0, 1] != pairs[:, 1, 1]]
