"""Reading scenes: the attributes that an image shows, from its pixels and the MNIST classifier."""

import itertools
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ganforge.data.sources.scene_attributes import (
    BACKGROUND,
    BACKGROUNDS,
    COLOUR,
    COLOURS,
    FIRST,
    KIND,
    KINDS,
    NONE,
    NUM_COLUMNS,
    NUM_DIGITS,
    PALETTE,
    PLACE,
    SECOND,
    SIZE,
)
from ganforge.data.sources.scenes import EXTENTS, GRID, shape_opacity
from ganforge.evaluation.features.classifiers import load_classifier

UNREADABLE = -2
"""Every attribute of an image that shows no object, or more than two."""

DESCRIPTION = "colours, boxes and shapes by pixels, digits by the mnist classifier"
_CHUNK = 250
_DIGIT, _FRAME = 20, 28  # MNIST: the longer side of a digit, its image
_SEEN = 0.35  # opacity from which a pixel belongs to the box of an object
_LEAST = 8.0  # opaque pixels of an object, in an image of 32x32; the thinnest ones have 12
_OVERLAP = 0.72  # with a template: real shapes have more, real digits less
_CENTRAL = 4.0  # 32nds of the side: objects in the centre are nearer to it, all others farther away
_TILTS = (-6, 0, 6)  # degrees


def read_scenes(images: Tensor) -> Tensor:
    """The attributes int64 `[n, 9]` (`scene_attributes`) that `images` uint8 `[n, 3, side, side]` show.

    `UNREADABLE` where there is no object, or more than two. Two objects are distinguished by their colours.
    """
    return torch.cat([_read(part) for part in images.split(_CHUNK)])


def _palette(names: tuple[str, ...]) -> Tensor:
    return torch.tensor([PALETTE[name] for name in names], dtype=torch.float32)


def _read(images: Tensor) -> Tensor:
    pixels = images.float()
    side = pixels.shape[-1]
    ground = _border(pixels).median(2).values
    attributes = torch.full((len(images), NUM_COLUMNS), NONE)
    attributes[:, BACKGROUND] = torch.cdist(ground, _palette(BACKGROUNDS)).argmin(1)
    opacity = _opacity(pixels, ground)
    # An object fills its frame; what is smaller is the blend of two colours at an edge.
    present = opacity.sum((2, 3)) > _LEAST * (side / 32) ** 2
    numbers = present.sum(1)
    attributes[(numbers < 1) | (numbers > 2)] = UNREADABLE
    rows, colours = present[(numbers == 1) | (numbers == 2)].nonzero().unbind(1)
    readable = ((numbers == 1) | (numbers == 2)).nonzero()[:, 0]
    rows = readable[rows]
    if not len(rows):
        return attributes
    objects = _read_objects(opacity[rows, colours], colours)
    # The left one of two is the first, and the upper one: their places are in this order.
    order = torch.argsort(rows * len(PALETTE) + objects[:, PLACE], stable=True)
    rows, objects = rows[order], objects[order]
    first = torch.ones(len(rows), dtype=torch.bool)
    first[1:] = rows[1:] != rows[:-1]
    attributes[rows[first], FIRST:SECOND] = objects[first]
    attributes[rows[~first], SECOND:] = objects[~first]
    return attributes


def _border(pixels: Tensor) -> Tensor:
    """The outermost pixels `[n, 3, number]`."""
    sides = (pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, 1:-1, 0], pixels[:, :, 1:-1, -1])
    return torch.cat(sides, 2)


def _opacity(pixels: Tensor, ground: Tensor) -> Tensor:
    """How opaque each colour is at each pixel, `[n, colours, side, side]` from 0 to 1; one colour at each.

    A blend of background and colour lies on the line between them: the colour is the one whose line is
    nearest, first of all, then of those that the image has.
    """
    offset = pixels - ground[:, :, None, None]
    lines = _palette(COLOURS) - ground[:, None]
    along = torch.einsum("nchw,nkc->nkhw", offset, lines)
    lengths = lines.square().sum(2)[:, :, None, None]
    cosine = along / lengths.sqrt()
    opacity = (along / lengths).clamp(0, 1)
    strong = torch.where(opacity > _SEEN, opacity, 0)
    mass = (strong * _is_largest(cosine)).sum((2, 3))
    seen = mass > _LEAST / 2 * (pixels.shape[-1] / 32) ** 2
    chosen = _is_largest(torch.where(seen[:, :, None, None], cosine, -torch.inf))
    return opacity * chosen * seen[:, :, None, None]


def _is_largest(values: Tensor) -> Tensor:
    return torch.zeros_like(values).scatter_(1, values.argmax(1, keepdim=True), 1.0)


def _read_objects(opacity: Tensor, colours: Tensor) -> Tensor:
    """The attributes int64 `[n, 4]` of objects of these colours, from their opacity `[n, side, side]`."""
    side = opacity.shape[-1]
    centres, longer = _boxes(opacity)
    objects = torch.empty(len(opacity), 4, dtype=torch.int64)
    objects[:, COLOUR] = colours
    objects[:, SIZE] = (longer * GRID / side > sum(EXTENTS.values()) / 2).long()
    objects[:, PLACE] = _places(centres * GRID / side - GRID / 2)
    objects[:, KIND] = _kinds(opacity, centres, longer)
    return objects


def _boxes(opacity: Tensor) -> tuple[Tensor, Tensor]:
    """The centres `[n, 2]`, across and down, and longer sides `[n]` of what is seen, in pixels."""
    lines = [(opacity.amax(axis) > _SEEN).int() for axis in (1, 2)]
    start = torch.stack([line.argmax(1) for line in lines], 1)
    end = torch.stack([opacity.shape[-1] - line.flip(1).argmax(1) for line in lines], 1)
    return (start + end) / 2, (end - start).amax(1).float()


def _places(offsets: Tensor) -> Tensor:
    """Numbers in PLACES of offsets `[n, 2]` from the centre, across and down, in 32nds."""
    down = (offsets[:, 1].abs() > offsets[:, 0].abs()).long()
    farther = offsets.gather(1, down[:, None])[:, 0]
    return torch.where(farther.abs() < _CENTRAL, 4, 2 * down + (farther > 0).long())


def _kinds(opacity: Tensor, centres: Tensor, longer: Tensor) -> Tensor:
    """Numbers in KINDS: a shape where a template overlaps, else what the MNIST classifier reads."""
    boxed = _cropped(opacity, centres, longer, _DIGIT)
    templates = _templates(opacity.shape[-1])
    common = torch.minimum(boxed[:, None], templates).sum((2, 3))
    overlaps = common / torch.maximum(boxed[:, None], templates).sum((2, 3))
    best, shape = overlaps.unflatten(1, (len(KINDS) - NUM_DIGITS, -1)).amax(2).max(1)
    line = torch.arange(opacity.shape[-1]) + 0.5
    total = opacity.sum((1, 2)).clamp(min=1e-6)
    mass = torch.stack([(opacity.sum(axis) * line).sum(1) / total for axis in (1, 2)], 1)
    # As MNIST was made: the longer side is 20 pixels, and the centre of mass in the middle of 28.
    digits = (1.2 * _cropped(opacity, mass, longer * _FRAME / _DIGIT, _FRAME)).clamp(max=1)
    numbers = load_classifier("mnist").classify(2 * digits[:, None] - 1).argmax(1)
    return torch.where(best > _OVERLAP, NUM_DIGITS + shape, numbers)


def _cropped(opacity: Tensor, centres: Tensor, extents: Tensor, side: int) -> Tensor:
    """Squares of `extents` `[n]` pixels around `centres` `[n, 2]`, resampled to `[n, side, side]`."""
    own = opacity.shape[-1]
    scale = extents / own
    moves = 2 * centres / own - 1
    zero = torch.zeros_like(scale)
    maps = torch.stack([scale, zero, moves[:, 0], zero, scale, moves[:, 1]], 1).view(-1, 2, 3)
    grid = affine_grid(maps, [len(opacity), 1, side, side], align_corners=False)
    sampled = grid_sample(opacity[:, None], grid, mode="bicubic", align_corners=False)
    return sampled[:, 0].clamp(0, 1)


@cache
def _templates(side: int) -> Tensor:
    """Each shape in both sizes, tilted and between pixels as in scenes of this side, cropped as objects are.

    `[shapes * own, 20, 20]`: all of a shape, then all of the next.
    """
    shapes, halves = range(NUM_DIGITS, len(KINDS)), (0.0, 0.5)
    choices = itertools.product(shapes, EXTENTS.values(), _TILTS, halves, halves)
    kinds, extents, tilts, across, down = (np.array(column) for column in zip(*choices, strict=True))
    middles = np.stack([side / 2 + across, side / 2 + down], 1)
    drawn = shape_opacity(kinds, middles, extents * side / GRID, np.radians(tilts), side)
    opacity = torch.from_numpy(drawn).float() / 255
    return _cropped(opacity, *_boxes(opacity), _DIGIT)
