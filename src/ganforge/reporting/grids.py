"""Grids and scatter plots of tensors."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from ganforge.data import alpha
from ganforge.data.batch import DataSpec, to_uint8
from ganforge.errors import UserError
from ganforge.files.reading import read_regular

WHITE = (255, 255, 255)
SAMPLE_COLOUR = "#d9480f"
REFERENCE_COLOUR = "#1c6dd0"  # both as in the charts of the report
FRAME_COLOUR = (240, 180, 0)  # the paper's figure 2 frames the training images in yellow

SMALLEST_CELL = 48  # pixels: smaller cells are enlarged
FRAME = 3  # pixels
GAP = 2  # pixels
TEXT_SIZE = 14  # pixels
SMALLEST_TEXT_WIDTH = 240  # pixels: room for a caption above one small image
MOST_SHOWN = 400  # characters of a caption, of which a row has room for fewer
SCATTER_INCHES = 4.8
SCATTER_DPI = 100
MOST_PNG_BYTES = 256 * 2**20

# What Pillow raises for files that are no PNG, or a part of one, or absurdly large.
BROKEN_PNG = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def grid(
    images: Tensor,
    columns: int | None = None,
    gap: int = GAP,
    scale: int | None = None,
    transparent: bool = False,
) -> Image.Image:
    """The images in rows, left to right, with a white gap between cells.

    `images` `[n, channels, height, width]` in [-1, 1], 1, 3 or 4 channels; values outside are clamped and NaN
    is drawn mid-grey. With alpha, the fourth channel, they are shown on a checkerboard; a `transparent` grid
    is RGBA, its gaps too. `columns`: near-square by default. `scale`: integer nearest-neighbour factor; by
    default the smallest that makes a cell's longer side at least 48 pixels. Raises `UserError` for other
    shapes.
    """
    cells = _cells(images, scale, transparent)
    count, height, width, channels = cells.shape
    across = _columns(count, height, width) if columns is None else columns
    if across < 1 or gap < 0:
        raise UserError(f"a grid needs columns >= 1 and gap >= 0, got columns={across}, gap={gap}")
    down = math.ceil(count / across)
    shape = (down * (height + gap) - gap, across * (width + gap) - gap, channels)
    canvas = np.full(shape, 0 if channels == 4 else 255, dtype=np.uint8)
    for index, cell in enumerate(cells):
        top, left = (index // across) * (height + gap), (index % across) * (width + gap)
        canvas[top : top + height, left : left + width] = cell
    return Image.fromarray(canvas[:, :, 0] if channels == 1 else canvas)


def neighbours_grid(
    samples: Tensor, neighbours: Tensor, columns: int | None = None, scale: int | None = None
) -> Image.Image:
    """Each sample with its nearest training image to its right, framed: figure 2 of Goodfellow et al. 2014.

    `samples`, `neighbours` `[n, channels, height, width]` in [-1, 1], of one shape; `columns` counts pairs.
    The frame lies outside the images. Raises `UserError` where the shapes differ.
    """
    if samples.shape != neighbours.shape:
        raise UserError(
            f"every sample needs one neighbour of its shape, got samples {tuple(samples.shape)} "
            f"and neighbours {tuple(neighbours.shape)}"
        )
    left, right = (_cells(images, scale) for images in (samples, neighbours))
    count, height, width, _ = left.shape
    pair_width, pair_height = 2 * (width + 2 * FRAME), height + 2 * FRAME
    across = _columns(count, pair_height, pair_width) if columns is None else columns
    if across < 1:
        raise UserError(f"a grid needs columns >= 1, got {across}")
    down, pair_gap = math.ceil(count / across), 4 * FRAME
    size = (across * (pair_width + pair_gap) - pair_gap, down * (pair_height + GAP) - GAP)
    canvas = Image.new("RGB", size, WHITE)
    pen = ImageDraw.Draw(canvas)
    for index in range(count):
        x, y = (index % across) * (pair_width + pair_gap), (index // across) * (pair_height + GAP)
        middle = x + width + 2 * FRAME
        pen.rectangle((middle, y, x + pair_width - 1, y + pair_height - 1), fill=FRAME_COLOUR)
        canvas.paste(_image(left[index]), (x + FRAME, y + FRAME))
        canvas.paste(_image(right[index]), (middle + FRAME, y + FRAME))
    return canvas


def pairs_grid(sources: Tensor, outputs: Tensor, targets: Tensor | None = None) -> Image.Image:
    """The source, output and target of each pair side by side, several pairs in a row.

    All `[n, 1 or 3 channels, height, width]` in [-1, 1]; sources of another size are enlarged to that of
    the outputs, their pixels as squares; `targets` can be left out. Raises `UserError` for other shapes.
    """
    if sources.shape[2:] != outputs.shape[2:]:
        sources = interpolate(sources, outputs.shape[2:], mode="nearest-exact")
    kinds = [images for images in (sources, outputs, targets) if images is not None]
    channels = max(images.shape[1] for images in kinds)
    together = torch.stack([images.expand(-1, channels, -1, -1) for images in kinds], 1)
    height, width = together.shape[-2:]
    return grid(together.flatten(0, 1), len(kinds) * _columns(len(sources), height, len(kinds) * width))


def captioned_grid(images: Tensor, texts: Sequence[str]) -> Image.Image:
    """A row of images for each of `texts`, the text above it, cut where the row (or 240 pixels) ends.

    `images` `[rows * n, channels, height, width]` in [-1, 1], row by row. Raises `UserError` as `grid`.
    """
    parts = images.split(len(images) // len(texts))
    rows = [grid(part, len(part)) for part in parts]
    font = ImageFont.load_default(TEXT_SIZE)
    line = TEXT_SIZE + 2 * FRAME
    width = max(rows[0].width, SMALLEST_TEXT_WIDTH)
    canvas = Image.new("RGB", (width, len(rows) * (rows[0].height + line)), WHITE)
    pen = ImageDraw.Draw(canvas)
    for index, (row, text) in enumerate(zip(rows, texts, strict=True)):
        top = index * (rows[0].height + line)
        shown = "".join(c if c.isprintable() else " " for c in text[:MOST_SHOWN])
        while len(shown) > 1 and pen.textlength(shown, font) > width - 2 * FRAME:
            shown = shown.rstrip("\u2026")[:-1] + "\u2026"
        pen.text((FRAME, top + FRAME), shown, fill=(0, 0, 0), font=font)
        canvas.paste(row, (0, top + line))
    return canvas


def stacked(images: Sequence[Image.Image]) -> Image.Image:
    """Images below one another, left aligned, with a gap between."""
    width, height = max(image.width for image in images), sum(image.height + GAP for image in images) - GAP
    canvas, top = Image.new("RGB", (width, height), WHITE), 0
    for image in images:
        canvas.paste(image.convert("RGB"), (0, top))
        top += image.height + GAP
    return canvas


def labelled_grid(images: Tensor, rows: Sequence[str], columns: Sequence[str]) -> Image.Image:
    """A grid of a row for each of `rows` with its text at the left, and the texts of `columns` above.

    `images` `[rows * columns, channels, height, width]` in [-1, 1], row by row. Raises `UserError` as `grid`.
    """
    cells, font, gap = grid(images, len(columns)), ImageFont.load_default(TEXT_SIZE), FRAME
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    left = 2 * gap + math.ceil(max((pen.textlength(text, font) for text in rows), default=0))
    top = TEXT_SIZE + 2 * gap if any(columns) else 0
    canvas = Image.new("RGB", (left + cells.width, top + cells.height), WHITE)
    canvas.paste(cells.convert("RGB"), (left, top))
    pen = ImageDraw.Draw(canvas)
    across, down = (cells.width + GAP) / len(columns), (cells.height + GAP) / len(rows)
    for index, text in enumerate(columns):
        pen.text((left + (index + 0.5) * across, gap), text, fill=(0, 0, 0), font=font, anchor="ma")
    for index, text in enumerate(rows):
        pen.text((gap, top + (index + 0.5) * down), text, fill=(0, 0, 0), font=font, anchor="lm")
    return canvas


def scatter(points: Tensor, reference: Tensor | None = None) -> Image.Image:
    """Generated `points` `[n, 2]` over real `reference` points `[m, 2]`, with equal axes, 480 x 480 pixels.

    With a reference the frame depends on it alone, so that the plots of a run can be compared; the number of
    points outside is written in the corner. Raises `UserError` for other shapes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = _coordinates(points)
    real = None if reference is None else _coordinates(reference)
    low, high = _square(drawn if real is None else real)
    # The object interface, not pyplot: pyplot keeps global state and may look for a display.
    figure = Figure(figsize=(SCATTER_INCHES, SCATTER_INCHES), dpi=SCATTER_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.09, 0.07, 0.88, 0.88))
    size = float(np.clip(4000 / max(len(drawn), 1), 3, 16))
    if real is not None:
        axes.scatter(
            real[:, 0], real[:, 1], s=size, c=REFERENCE_COLOUR, alpha=0.35, linewidths=0, label="real"
        )
    axes.scatter(
        drawn[:, 0], drawn[:, 1], s=size, c=SAMPLE_COLOUR, alpha=0.75, linewidths=0, label="generated"
    )
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.tick_params(labelsize=8, colors="#495057")
    axes.grid(True, color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color("#ced4da")
    if real is not None:
        axes.legend(loc="upper right", fontsize=8, markerscale=2, framealpha=0.9)
    outside = int((~((drawn >= low) & (drawn <= high)).all(axis=1)).sum())
    if outside:
        note = f"{outside:,} of {len(drawn):,} outside"
        axes.text(0.02, 0.02, note, transform=axes.transAxes, fontsize=8, color=SAMPLE_COLOUR)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels[:, :, :3].copy())


def draw(
    images: Tensor,
    spec: DataSpec,
    reference: Tensor | None = None,
    columns: int | None = None,
    transparent: bool = False,
) -> Image.Image:
    """A batch as an image: a grid of pixels, `transparent` or not, or a scatter plot of points.

    `images` `[n, channels, height, width]` of the data `spec`; `reference` is plotted behind points. The grid
    is near-square without `columns`.
    """
    if spec.values == "pixels":
        return grid(images, columns, transparent=transparent)
    return scatter(images.flatten(1), None if reference is None else reference.flatten(1))


class Figure(NamedTuple):
    """An image within a page: its caption, the PNG itself as an address, and its size in pixels."""

    caption: str
    address: str
    width: int
    height: int


def embed_png(path: Path, longest_side: int, caption: str) -> Figure:
    """The PNG in `path` within a page, shrunk to `longest_side` pixels where it is larger.

    Raises `UserError` where `path` holds no whole PNG.
    """
    try:
        content = read_regular(path, MOST_PNG_BYTES)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()  # finds a truncated file
            if max(image.size) > longest_side:
                image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
                buffer = io.BytesIO()
                image.save(buffer, format="PNG")
                content = buffer.getvalue()
            width, height = image.size
    except BROKEN_PNG as error:
        raise UserError(f"{path} is not a readable PNG: {error}") from error
    address = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return Figure(caption, address, width, height)


def _cells(images: Tensor, scale: int | None, transparent: bool = False) -> NDArray[np.uint8]:
    """Pixels uint8 `[n, height, width, channels]`, scaled up; with alpha only where `transparent`."""
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4) or 0 in images.shape:
        raise UserError(
            f"expected images [n, 1, 3 or 4 channels, height, width], n >= 1, got {tuple(images.shape)}"
        )
    height, width = images.shape[2:]
    factor = math.ceil(SMALLEST_CELL / max(height, width)) if scale is None else scale
    if factor < 1:
        raise UserError(f"scale is an integer factor >= 1, got {scale}")
    # A diverged network outputs NaN, which is undefined as an integer; the image must still be drawn.
    finite = torch.nan_to_num(images.detach().float(), nan=0.0, posinf=1.0, neginf=-1.0)
    if images.shape[1] == alpha.CHANNELS:
        finite = alpha.straight(finite) if transparent else alpha.on_checkerboard(finite, factor)
    pixels = to_uint8(finite).permute(0, 2, 3, 1).cpu().numpy()
    return pixels.repeat(factor, axis=1).repeat(factor, axis=2)


def _image(cell: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(cell[:, :, 0] if cell.shape[2] == 1 else cell)


def _columns(count: int, height: int, width: int) -> int:
    """The number of columns of a near-square grid; one near it that leaves no cell empty is preferred."""
    nearest = min(count, max(1, math.ceil(math.sqrt(count * height / width))))
    for candidate in range(nearest, min(count, nearest + nearest // 2) + 1):
        if count % candidate == 0:
            return candidate
    return nearest


def _coordinates(points: Tensor) -> NDArray[np.float64]:
    if points.ndim != 2 or points.shape[1] != 2:
        raise UserError(f"expected points [n, 2], got shape {tuple(points.shape)}")
    return points.detach().double().cpu().numpy()


def _square(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lower left and upper right corner of the square around the finite points, with a margin."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return np.full(2, -1.0), np.full(2, 1.0)
    low, high = finite.min(axis=0), finite.max(axis=0)
    middle = (low + high) / 2
    # Not narrower than what the axes can resolve around a diverged run's far away points.
    half = 0.62 * max((high - low).max(), 1e-3, 1e-6 * np.abs(middle).max())
    return middle - half, middle + half
