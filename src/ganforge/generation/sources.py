"""Bring an image file to what a run was trained on: its size, its lines, the colours behind transparency."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageColor
from torch import Tensor
from torch.nn.functional import max_pool2d

from ganforge.data.bicubic import resize
from ganforge.data.decode import Whole
from ganforge.data.derived_pairs import edges, parse_pairs
from ganforge.generation.lines import PAPER, as_pixels, find_drawing, is_thin
from ganforge.runs.trained import Trained

Size = Literal["training", "own"]
Lines = Literal["thin", "edges", "keep"]
MOST_TINT, MEAN_TINT = 12, 2
"""Differences between the channels, in levels of 255, that compression leaves in a grey image."""
RING = 3
"""Pixels around what is visible that get its colours, so that edges are not mixed with the background."""


@dataclass(frozen=True)
class Source:
    """An `image` as a network takes it, and how to finish the result.

    `grey`: it was stored as RGB, and so is the result, in three equal channels. `place` is the part of the
    result to keep, or None. `notes` say what was done, without the image's name.
    """

    image: Whole
    grey: bool = False
    place: tuple[slice, slice] | None = None
    notes: tuple[str, ...] = ()


def prepare(image: Whole, trained: Trained, size: Size = "training", lines: Lines = "thin") -> Source:
    """`image` as the run translates or enlarges it.

    Enlarging keeps its size and takes nearly grey colours as grey. Translation brings it within the `size`
    of training; for a run on derived edges, the `lines` of a drawing are thinned, or the edges of any image
    are found. Invisible pixels get colours that leave no outline.
    """
    config = trained.run.config
    if config.spec.enlarges:
        colours = image.colours if image.alpha is None else fill_clear(image.colours, image.alpha)
        grey = config.spec.channels == 3 and is_nearly_grey(colours)
        if grey:
            colours = colours.mean(0, keepdims=True, dtype=np.float32).round().astype(colours.dtype)
        return Source(replace(image, colours=colours), grey)
    own = (image.colours.shape[1], image.colours.shape[2])
    training = (config.spec.height, config.spec.width)
    shape = own if size == "own" else within(own, training)
    notes = []
    if shape != own:
        notes.append(
            f"resized to fit the {training[1]}x{training[0]} of training "
            "(--size own keeps its size, in tiles)"
        )
    if takes_lines(trained) and lines != "keep":
        source = _lines(image, shape, lines)
        if source is not None:
            source = replace(source, notes=(*notes, *source.notes))
            return source if size == "own" else _padded(source, training)
        notes.append(
            "no line drawing, which this run was trained on (--lines edges finds edges as training did)"
        )
    return Source(_composed(_resized(image, shape), config.data.background), notes=tuple(notes))


def takes_lines(trained: Trained) -> bool:
    """Whether the run was trained on edges that were derived from its images."""
    return parse_pairs(trained.run.config.data.pairs)[0] == "edges"


def thin_drawings(pixels: Tensor) -> tuple[Tensor, int]:
    """`pixels` uint8 `[count, 1, height, width]` with the lines of drawings thinned, and how many changed."""
    parts, count = list(pixels), 0
    for index, part in enumerate(parts):
        drawing = find_drawing(part.float() / 255, *part.shape[1:])
        if drawing is not None:
            parts[index] = as_pixels(drawing.ink if is_thin(drawing) else drawing.thin)
            count += not torch.equal(part, parts[index])
    return torch.stack(parts), count


def within(own: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """The height and width of an image of `own` size that just fits into `largest`."""
    scale = min(largest[0] / own[0], largest[1] / own[1])
    return max(1, round(own[0] * scale)), max(1, round(own[1] * scale))


def is_nearly_grey(colours: NDArray[Any]) -> bool:
    """Whether `colours` `[channels, height, width]`, uint8 or uint16, are three and grey but for noise."""
    if len(colours) != 3:
        return False
    unit = np.iinfo(colours.dtype).max / 255
    tint = colours.max(0) - colours.min(0)
    return bool(tint.max() <= MOST_TINT * unit and tint.mean() <= MEAN_TINT * unit)


def fill_clear(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """`colours` `[channels, height, width]` whose invisible pixels have the colours of visible ones nearby.

    A pyramid of means of what is visible, each level filled from the coarser one: "pull-push" of Gortler et
    al. 1996. Where nothing is visible, colours stay.
    """
    clear = alpha == 0
    if not clear.any() or clear.all():
        return colours
    means, weights = _halved(colours.astype(np.float32), alpha.astype(np.float32))
    behind = _filled(means, weights).round().astype(colours.dtype)
    behind = behind.repeat(2, 1).repeat(2, 2)[:, : alpha.shape[0], : alpha.shape[1]]
    return np.where(clear, behind, colours)


def _filled(means: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    if (weights > 0).all():
        return means
    behind = _filled(*_halved(means, weights)).repeat(2, 1).repeat(2, 2)
    return np.where(weights > 0, means, behind[:, : weights.shape[0], : weights.shape[1]])


def _halved(
    means: NDArray[np.float32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means over 2x2 pixels, weighted, and the sums of the weights."""
    odd = ((0, weights.shape[0] % 2), (0, weights.shape[1] % 2))
    means, weights = np.pad(means, ((0, 0), *odd)), np.pad(weights, odd)
    corners = [(slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]
    total = np.zeros(weights[::2, ::2].shape, np.float32)
    sums = np.zeros(means[:, ::2, ::2].shape, np.float32)
    for rows, columns in corners:
        total += weights[rows, columns]
        sums += means[:, rows, columns] * weights[rows, columns]
    sums /= np.maximum(total, 1e-9)
    return sums, total


def _lines(image: Whole, shape: tuple[int, int], lines: Lines) -> Source | None:
    """The lines of a drawing as uint8 `[1, *shape]`; None for another image. Drawings are opaque."""
    largest = np.iinfo(image.colours.dtype).max
    if lines == "edges":
        small = _composed(_resized(image, shape), "white")
        pixels = torch.from_numpy((small.colours / (largest / 255)).round().astype(np.uint8))
        return Source(
            Whole(edges(pixels[None])[0].numpy(), small.alpha), notes=("edges found as in training",)
        )
    colours = torch.from_numpy(image.colours.astype(np.float32) / largest)
    if image.alpha is not None:  # light pens draw on a dark ground
        alpha = torch.from_numpy(image.alpha.astype(np.float32) / largest)
        ink = float((colours.mean(0) * alpha).sum() / alpha.sum().clamp_min(1e-9))
        colours = colours * alpha + (1 - alpha) * (0.0 if ink > 0.5 else 1.0)
    drawing = find_drawing(colours, *shape)
    if drawing is None:
        return None
    if is_thin(drawing):
        return Source(Whole(as_pixels(drawing.ink).numpy(), None))
    note = "lines thinned to one pixel, black on white, as in training (--lines keep leaves them)"
    return Source(Whole(as_pixels(drawing.thin).numpy(), None), notes=(note,))


def _padded(source: Source, training: tuple[int, int]) -> Source:
    """`source` in the middle of paper of the size of `training`."""
    colours, alpha = source.image.colours, source.image.alpha
    height, width = colours.shape[1:]
    if (height, width) == training:
        return source
    top, left = (training[0] - height) // 2, (training[1] - width) // 2
    margins = ((top, training[0] - height - top), (left, training[1] - width - left))
    whole = np.pad(colours, ((0, 0), *margins), constant_values=PAPER)
    wide = None if alpha is None else np.pad(alpha, margins)
    place = (slice(top, top + height), slice(left, left + width))
    return replace(source, image=replace(source.image, colours=whole, alpha=wide), place=place)


def _resized(image: Whole, shape: tuple[int, int]) -> Whole:
    """`image` at that height and width; colours weigh as much as they are visible."""
    if image.colours.shape[1:] == shape:
        return image
    dtype, largest = image.colours.dtype, np.iinfo(image.colours.dtype).max
    colours = torch.from_numpy(image.colours.astype(np.float32))
    if image.alpha is None:
        return replace(image, colours=_levels(resize(colours[None], *shape)[0], dtype))
    alpha = torch.from_numpy(image.alpha.astype(np.float32) / largest)
    shares = resize(alpha[None, None], *shape)[0].clamp(0, 1)
    colours = resize((colours * alpha)[None], *shape)[0] / shares.clamp_min(1e-6)
    opacity = _levels(shares[0] * largest, dtype)
    return replace(image, colours=np.where(opacity > 0, _levels(colours, dtype), 0), alpha=opacity)


def _levels(values: Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    return values.round().clamp(0, float(np.iinfo(dtype).max)).numpy().astype(dtype)


def _composed(image: Whole, background: str) -> Whole:
    """`image` with the background of training behind it, but next to visible pixels with their colours."""
    if image.alpha is None:
        return image
    colours, visible = fill_clear(image.colours, image.alpha), image.alpha > 0
    near = max_pool2d(torch.from_numpy(visible)[None, None].float(), 2 * RING + 1, 1, RING)[0, 0] > 0
    unit = np.iinfo(colours.dtype).max // 255
    paper = np.array(ImageColor.getrgb(background)[: len(colours)], colours.dtype)[:, None, None] * unit
    return replace(image, colours=np.where(near.numpy(), colours, paper))
