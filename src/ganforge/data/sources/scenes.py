"""Scenes: one or two digits or shapes with captions, so that samples of a caption can be checked exactly."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ganforge.data.sources.arrays import Arrays, resize_together
from ganforge.data.sources.scene_attributes import (
    BACKGROUND,
    BACKGROUNDS,
    COLOUR,
    COLOURS,
    FIRST,
    KIND,
    KINDS,
    NONE,
    NUM_DIGITS,
    PALETTE,
    PLACE,
    PLACES,
    SECOND,
    SIZE,
    draw_attributes,
)
from ganforge.data.sources.scene_captions import describe_scenes

NAME = "scenes"
LINE = "20,000 digits and shapes, 32x32, with captions"
COUNTS = {"train": 18_000, "test": 2_000}
DEFAULT_SIDE = 32
_SEED = 2026  # fixed, so that the name always means the same scenes

# In 32nds of the side. A digit's longer side is 20 of the 28 pixels of its frame, hence 15 of 21 when large.
GRID = 32
FRAMES = {"small": 15, "large": 21}
EXTENTS = {name: frame * 20 / 28 for name, frame in FRAMES.items()}
CENTRES = {"left": (8, 16), "right": (24, 16), "top": (16, 8), "bottom": (16, 24), "centre": (16, 16)}
_ALONG, _ACROSS, _CENTRE = 2.0, 3.0, 2.0  # how far an object may be from its place
_RESIZED, _TILTED = 0.06, math.radians(8)  # shapes: a relative difference of size, an angle
_SHADE = 12  # grey levels by which a colour differs from its palette
_CHUNK = 256  # images composed together, so that they stay in the cache

# Of each shape, for a circumradius of 1: corners, inner radius, longer side, and how far the middle of its
# height is above its centre.
_SHAPES: dict[str, tuple[int, float, float, float]] = {
    "square": (4, math.cos(math.pi / 4), 2 / 0.9 / math.sqrt(2), 0.0),
    "triangle": (3, 0.5, math.sqrt(3), 0.25),
    "star": (5, 0.45, 2 * math.sin(2 * math.pi / 5), (1 - math.cos(math.pi / 5)) / 2),
}


@dataclass(frozen=True)
class Scenes:
    """The scenes of each split by their attributes int64 `[count, 9]` (`scene_attributes`).

    `digits` are those of MNIST's same split: uint8 `[digits, 28, 28]`, sorted by their
    labels. `captions`, for each
    scene the texts that describe it, the first of which names everything.
    """

    attributes: dict[str, NDArray[np.int64]]
    digits: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]
    captions: dict[str, list[list[str]]]

    def images(self, split: str, side: int) -> NDArray[np.uint8]:
        """The images uint8 `[count, 3, side, side]` of a split."""
        return draw_scenes(self.attributes[split], self.digits[split], side, _random(split, "pixels"))

    def labels(self, split: str) -> NDArray[np.int64]:
        """The kind of the object, int64 `[count]`; of two that of the left or upper one."""
        return self.attributes[split][:, FIRST + KIND]


def _random(split: str, purpose: Literal["attributes", "captions", "pixels"]) -> np.random.Generator:
    number = 3 * list(COUNTS).index(split) + ("attributes", "captions", "pixels").index(purpose)
    return np.random.Generator(np.random.Philox(key=[_SEED, number]))


def make_scenes(mnist: Arrays) -> Scenes:
    """The scenes, with MNIST's training digits in training scenes and its test digits in test scenes."""
    digits = {split: sorted_digits(mnist, split) for split in COUNTS}
    attributes, captions = {}, {}
    for split, count in COUNTS.items():
        which: Literal["train", "test"] = "train" if split == "train" else "test"
        attributes[split] = draw_attributes(which, count, _random(split, "attributes"))
        captions[split] = describe_scenes(attributes[split], _random(split, "captions"))
    return Scenes(attributes, digits, captions)


def sorted_digits(mnist: Arrays, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The digits uint8 `[digits, 28, 28]` of a split, and their labels, by which they are sorted."""
    order = np.argsort(mnist.labels[split], kind="stable")
    return mnist.pixels[split][order, ..., 0], mnist.labels[split][order]


def draw_scenes(
    attributes: NDArray[np.int64],
    digits: tuple[NDArray[np.uint8], NDArray[np.int64]],
    side: int,
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Images uint8 `[count, 3, side, side]` with these attributes: other digits, shades and places each time.

    The same numbers are drawn for every side.
    """
    count = len(attributes)
    draws = random.random((count, 2, 5))  # for each object: across, down, which digit, size, angle
    shades = random.integers(-_SHADE, _SHADE + 1, size=(count, 3, 3))
    images = np.empty((count, 3, side, side), np.uint8)
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        images[rows] = _compose(attributes[rows], digits, side, draws[rows], shades[rows])
    return images


def _compose(
    attributes: NDArray[np.int64],
    digits: tuple[NDArray[np.uint8], NDArray[np.int64]],
    side: int,
    draws: NDArray[np.float64],
    shades: NDArray[np.int64],
) -> NDArray[np.uint8]:
    palette = {name: np.array([PALETTE[each] for each in name]) for name in (BACKGROUNDS, COLOURS)}
    ground = (palette[BACKGROUNDS][attributes[:, BACKGROUND]] + shades[:, 0]).astype(np.uint16)
    images = np.broadcast_to(ground[:, :, None, None], (len(attributes), 3, side, side)).copy()
    for number, start in enumerate((FIRST, SECOND)):
        rows = np.flatnonzero(attributes[:, start + KIND] != NONE)
        objects = attributes[rows, start : start + 4]
        opacity = _opacities(objects, digits, side, draws[rows, number])[:, None].astype(np.uint16)
        colour = (palette[COLOURS][objects[:, COLOUR]] + shades[rows, 1 + number]).astype(np.uint16)
        # In whole numbers of 16 bits: the sum divided by 255, rounded.
        total = images[rows] * (255 - opacity) + colour[:, :, None, None] * opacity + 128
        images[rows] = (total + (total >> 8)) >> 8
    return images.astype(np.uint8)


def _opacities(
    objects: NDArray[np.int64],
    digits: tuple[NDArray[np.uint8], NDArray[np.int64]],
    side: int,
    draws: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """How opaque objects `[n, 4]` are, uint8 `[n, side, side]`."""
    frames = np.array(list(FRAMES.values()))[objects[:, SIZE]]
    centres = _centres(objects, draws[:, :2]) * side / GRID
    patch = -(-max(FRAMES.values()) * side // GRID) + 2
    canvas = np.zeros((len(objects), side + 2 * patch, side + 2 * patch), np.uint8)
    for size in range(len(FRAMES)):
        frame = max(1, round(FRAMES[list(FRAMES)[size]] * side / GRID))
        rows = np.flatnonzero((objects[:, KIND] < NUM_DIGITS) & (objects[:, SIZE] == size))
        if len(rows):
            drawn, middles = _digits(objects[rows, KIND], digits, frame, draws[rows, 2])
            corners = np.rint(centres[rows] - middles - frame / 2).astype(np.int64)
            _paste(canvas, rows, drawn, corners + patch)
    rows = np.flatnonzero(objects[:, KIND] >= NUM_DIGITS)
    corners = np.floor(centres[rows] - patch / 2).astype(np.int64)
    extents = frames[rows] * (20 / 28) * side / GRID * (1 + _RESIZED * (2 * draws[rows, 3] - 1))
    angles = _TILTED * (2 * draws[rows, 4] - 1)
    shapes = shape_opacity(objects[rows, KIND], centres[rows] - corners, extents, angles, patch)
    _paste(canvas, rows, shapes, corners + patch)
    return canvas[:, patch:-patch, patch:-patch]


def _centres(objects: NDArray[np.int64], draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where objects are `[n, 2]`, across and down, in 32nds: near their place, within their half."""
    middles = np.array([CENTRES[name] for name in PLACES], float)[objects[:, PLACE]]
    extents = np.array(list(EXTENTS.values()))[objects[:, SIZE]]
    along = np.minimum(_ALONG, GRID / 4 - extents / 2)[:, None]
    off_centre = middles != GRID / 2
    reach = np.where(off_centre, along, np.where(off_centre.any(1, keepdims=True), _ACROSS, _CENTRE))
    return middles + reach * (2 * draws - 1)


def _digits(
    kinds: NDArray[np.int64],
    digits: tuple[NDArray[np.uint8], NDArray[np.int64]],
    frame: int,
    draws: NDArray[np.float64],
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Digits uint8 `[n, frame, frame]`, and how far the middle of what is drawn is off that of the frame."""
    pixels, labels = digits
    first = np.searchsorted(labels, np.arange(NUM_DIGITS + 1))
    chosen = pixels[first[kinds] + (draws * (first[kinds + 1] - first[kinds])).astype(np.int64)]
    own = pixels.shape[1]
    middles = []
    for axis in (1, 2):  # what is seen in each column, then in each row
        seen = chosen.max(axis) > 100
        lowest, highest = seen.argmax(1), own - 1 - seen[:, ::-1].argmax(1)
        middles.append(((lowest + highest) / 2 - (own - 1) / 2) * frame / own)
    return resize_together(chosen[..., None], frame, frame)[..., 0], np.stack(middles, 1)


def shape_opacity(
    kinds: NDArray[np.int64],
    centres: NDArray[np.float64],
    extents: NDArray[np.float64],
    angles: NDArray[np.float64],
    side: int,
) -> NDArray[np.uint8]:
    """Shapes in patches uint8 `[n, side, side]`, from 0 to 255 at their edges.

    `centres` `[n, 2]` is the middle of what is drawn, across and down, `extents` its longer side, in pixels.
    """
    line = np.arange(side) + 0.5
    right = line[None, None, :] - centres[:, 0, None, None]
    down = line[None, :, None] - centres[:, 1, None, None]
    distances = np.hypot(right, down) - extents[:, None, None] / 2
    for name, (corners, inner, longer, lower) in _SHAPES.items():
        rows = kinds == KINDS.index(name)
        radius = (extents[rows] / longer)[:, None, None]
        distances[rows] = _distance(
            right[rows], down[rows] - lower * radius, radius, angles[rows, None, None], corners, inner
        )
    return np.rint(255 * (0.5 - distances).clip(0, 1)).astype(np.uint8)


def _distance(
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    radius: NDArray[np.float64],
    angle: NDArray[np.float64],
    corners: int,
    inner: float,
) -> NDArray[np.float64]:
    """The distance to the edge of a polygon or star that stands on its base, negative inside.

    All its edges are one after folding it: the line from a corner to `inner` radii, halfway to the next.
    """
    first = math.pi / 4 if corners == 4 else 0.0
    turn = np.arctan2(right, -down) - angle - first
    half = math.pi / corners
    folded = np.abs((turn + half) % (2 * half) - half)
    distance = np.hypot(right, down)
    across, up = distance * np.sin(folded), distance * np.cos(folded) - radius
    edge_across, edge_up = inner * math.sin(half), inner * math.cos(half) - 1
    length = math.hypot(edge_across, edge_up)
    return (across * -edge_up + up * edge_across) / length


def _paste(
    canvas: NDArray[np.uint8],
    rows: NDArray[np.int64],
    patches: NDArray[np.uint8],
    corners: NDArray[np.int64],
) -> None:
    """Put `patches` `[n, side, side]` on `canvas[rows]`, the upper left at `corners`, across and down."""
    side = patches.shape[1]
    for row, patch, (across, down) in zip(rows.tolist(), patches, corners.tolist(), strict=True):
        canvas[row, down : down + side, across : across + side] = patch
