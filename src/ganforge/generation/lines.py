"""Line drawings as a run on derived edges was trained on them: black lines, one pixel wide, on white."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

INK, PAPER = 0, 255
WORKING_SIDES = 4
"""Lines are thinned at up to this many times the final side: strokes stay apart, and it stays quick."""
FAINTEST = 0.1
"""Difference to the paper, of the full range, from which a pixel is no paper."""
MOST_INK, MOST_SHADED, MOST_SOLID, WIDEST = 0.45, 0.1, 0.5, 0.2
"""Limits of a drawing: the share of ink; of shaded pixels and of filled shapes per pixel of ink; the width of
the typical stroke as a share of the shorter side."""
THIN_ALREADY = 0.67
"""Where thinning leaves this share of the ink, lines are as thin as edges found in training."""


@dataclass(frozen=True)
class Drawing:
    """`ink`, bool `[height, width]`, of a line drawing, and `thin`: its lines, one pixel wide."""

    ink: Tensor
    thin: Tensor


def find_drawing(colours: Tensor, height: int, width: int) -> Drawing | None:
    """The drawing in `colours` `[1 or 3, own height, own width]` in [0, 1], or None: it looks like none.

    `thin` is `height` x `width`. A drawing has strokes of one darkness or more, in any colours, on a plain
    ground, light or dark. Filled shapes get an outline.
    """
    paper = colours.flatten(1).median(1).values[:, None, None]
    difference = (colours - paper).abs().amax(0)
    marked = difference[difference > FAINTEST]
    if not len(marked):
        return None
    strong = _quantile(marked, 0.9)
    ink = difference > strong / 2
    shaded = (difference > max(FAINTEST, strong / 4)) & (difference < 0.75 * strong)
    edge = _spread(ink) & _spread(~ink)  # where antialiasing shades
    share, shades = float(ink.float().mean()), float((shaded & ~edge).float().mean())
    if share > MOST_INK or shades > MOST_SHADED * max(share, 0.05):
        return None
    factor = max(
        1, min(colours.shape[1] // (WORKING_SIDES * height), colours.shape[2] // (WORKING_SIDES * width))
    )
    small = max_pool2d(ink[None, None].float(), factor, ceil_mode=True)[0, 0] > 0
    stroke = float(small.sum()) / max(1, int(thinned(small).sum()))
    if stroke > WIDEST * min(small.shape):
        return None
    if stroke > 3:  # pinholes in a wide stroke would become loops
        small = ~_spread(~_spread(small))
    solid = _solid(small, math.ceil(stroke))
    if float(solid.sum()) > MOST_SOLID * float(small.sum()):
        return None
    lines = thinned(small & ~solid) | (solid & _spread(~solid))
    return Drawing(ink, thinned(_moved(lines, height, width)))


def is_thin(drawing: Drawing) -> bool:
    """Whether the ink is already that of thin lines of the final size, as edges found in training are."""
    return drawing.ink.shape == drawing.thin.shape and float(drawing.thin.sum()) >= THIN_ALREADY * float(
        drawing.ink.sum()
    )


def as_pixels(lines: Tensor) -> Tensor:
    """`lines`, bool `[height, width]`, as uint8 `[1, height, width]`: black on white."""
    return torch.where(lines, INK, PAPER).to(torch.uint8)[None]


def thinned(ink: Tensor) -> Tensor:
    """`ink`, bool `[height, width]`, as lines one pixel wide with the same ends and crossings.

    Zhang and Suen 1984: border pixels go, from two sides in turn, where that breaks no line.
    """
    ink = ink.clone()
    while True:
        before = ink
        for first in (True, False):
            around = _neighbours(ink)
            count = around.sum(0)
            rises = (~around & around.roll(-1, 0)).sum(0)
            up, right, down, left = around[0], around[2], around[4], around[6]
            if first:
                free = ~(up & right & down) & ~(right & down & left)
            else:
                free = ~(up & right & left) & ~(up & down & left)
            ink = ink & ~((count >= 2) & (count <= 6) & (rises == 1) & free)
        if torch.equal(before, ink):
            return ink


def _neighbours(ink: Tensor) -> Tensor:
    """The eight neighbours `[8, height, width]`, clockwise from the one above; none outside."""
    height, width = ink.shape
    wide = torch.zeros(height + 2, width + 2, dtype=torch.bool)
    wide[1:-1, 1:-1] = ink
    places = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    return torch.stack([wide[down : down + height, across : across + width] for down, across in places])


def _spread(mask: Tensor, reach: int = 1) -> Tensor:
    """`mask` and all pixels within `reach` of it, corners included."""
    return max_pool2d(mask[None, None].float(), 2 * reach + 1, 1, reach)[0, 0] > 0


def _solid(ink: Tensor, stroke: int) -> Tensor:
    """The parts of `ink` in which a square of more than twice the `stroke` fits: filled shapes."""
    core = ~_spread(~ink, stroke)
    return _spread(core, stroke + 2) & ink


def _moved(lines: Tensor, height: int, width: int) -> Tensor:
    """`lines` at `height` x `width`: a pixel is ink where a line passes."""
    own_height, own_width = lines.shape
    if own_height >= height and own_width >= width:
        rows, columns = lines.nonzero(as_tuple=True)
        moved = torch.zeros(height, width, dtype=torch.bool)
        moved[rows * height // own_height, columns * width // own_width] = True
        return moved
    rows = torch.arange(height) * own_height // height
    columns = torch.arange(width) * own_width // width
    return lines[rows][:, columns]


def _quantile(values: Tensor, share: float) -> float:
    """The value below which that share of `values` lies; `torch.quantile` takes no more than 16 million."""
    return float(values.sort().values[int(share * (len(values) - 1))])
