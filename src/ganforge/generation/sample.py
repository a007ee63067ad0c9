"""Samples of a run, of chosen classes or along codes, written as a grid, an array or one file each."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.generation.output import (
    IMAGES,
    hash_latents,
    open_output,
    provenance,
    stored_levels,
    to_arrays,
    to_stored,
)
from ganforge.generation.truncation import truncated
from ganforge.reporting import grids
from ganforge.runs.conditions import PREVIEW_COLUMNS, class_conditions, preview_conditions
from ganforge.runs.trained import Label, Trained, Weights
from ganforge.system import LatentSystem

DEFAULT_COUNT = 64
TRAVERSAL_COLUMNS = 10
TRAVERSAL_ROWS = 8
CODE = re.compile(r"([0-9]{1,6})=([^=]+?)(?:\.\.([^=]+))?")


@dataclass(frozen=True)
class Code:
    """One `--code`: the code `index` fixed to `low`, or traversed from `low` to `high`."""

    index: int
    low: float
    high: float | None


@dataclass(frozen=True)
class Drawing:
    """Samples, drawn as `parts` are read, the columns of their grid, their labels `[count]`, and latents."""

    parts: Iterable[Tensor]
    columns: int | None
    labels: Tensor | None
    latents: Tensor | None


def write_samples(
    trained: Trained,
    out: Path,
    count: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    command: str = "",
    labels: Sequence[Label] | None = None,
    codes: Sequence[str] = (),
    overwrite: bool = False,
    truncation: float | None = None,
) -> str:
    """Write `count` samples to `out` and return what was written, in words.

    `out` ending in .png, .jpg, .webp or .gif gets one grid (a scatter of 2-D points), in .npz the arrays
    `images` (uint8 `[count, height, width, channels]`, or float `[count, 2]` points), `labels` of a
    conditional system, and `about`, JSON; any other is a folder of one PNG each. What exists is replaced as
    `open_output` says. Values of a run with a --range of 16-bit images are uint16 in that range, in .npz and
    folders.

    `labels` take turns; left out, all classes do, and a grid without `count` has a row for each class.
    `codes` are texts "0=4" or "1=-1..1": one range becomes rows of `TRAVERSAL_COLUMNS` samples of the same
    noise; of two the first goes down and the second across. `truncation` is that of `truncated`.
    Raises UserError where `out` cannot be written, or the system has no such label or code.
    """
    spec = trained.run.config.spec
    parsed = [parse_code(text) for text in codes]
    about = provenance(trained, weights, command, seed, truncation)
    with open_output(out, *IMAGES, ".npz", about=about, overwrite=overwrite) as output:
        points = spec.values == "points"
        if points and not output.form:
            raise UserError(f"--out {out}: 2-D points are written to an image, such as a .png, or an .npz")
        chosen = None if labels is None else list(labels)
        drawing = draw_samples(trained, count, seed, weights, chosen, parsed, output.is_image, truncation)
        if drawing.latents is not None:
            about["latents"] = hash_latents(drawing.latents)
        numbers = [] if drawing.labels is None else drawing.labels.tolist()
        names = [spec.class_names[number] for number in numbers]
        if not output.form:
            each = [{"label": name} for name in names]
            return output.write_folder(drawing.parts, about, each, stored_levels(trained))
        images = torch.cat(list(drawing.parts))
        if names:
            about["labels"] = ", ".join(names)
        if output.is_image:
            grid = grids.draw(images, spec, columns=drawing.columns, transparent=True)
            output.write_image(grid, about, trained.run.config.data.background)
        else:
            output.write_arrays(
                about,
                images=sample_arrays(trained, images),
                labels=None if drawing.labels is None else drawing.labels.numpy(),
            )
    return f"{out}: {len(images)} samples{output.replaced}"


def sample_arrays(trained: Trained, images: Tensor) -> NDArray[Any]:
    """Bytes, or uint16 in the range of a run whose images are stored with 16 bits; points as they are."""
    if trained.run.config.spec.values == "points":
        return images.flatten(1).numpy()
    levels = stored_levels(trained)
    return to_arrays(images) if levels is None else to_stored(images, levels)


def parse_code(text: str) -> Code:
    """The code in "0=4" or "1=-1..1"; raises UserError for another form."""
    match = CODE.fullmatch(text.replace(" ", ""))
    try:
        if match is None:
            raise ValueError
        low, high = float(match[2]), None if match[3] is None else float(match[3])
        if not np.isfinite([low, low if high is None else high]).all():
            raise ValueError
    except ValueError:
        raise UserError(
            f"--code {printable(text)[:80]}: expected NUMBER=VALUE or NUMBER=FROM..TO, "
            "such as --code 0=4 or --code 1=-1..1"
        ) from None
    return Code(int(match[1]), low, high)


def parse_labels(text: str) -> list[Label]:
    """The labels in "3,3,7" or "cat,dog"; raises UserError where one is empty."""
    labels: list[Label] = [label.strip() for label in text.split(",")]
    if "" in labels:
        raise UserError(
            f"--labels {printable(text)[:80]!r}: expected classes with commas between, such as --labels 3,3,7"
        )
    return labels


def draw_samples(
    trained: Trained,
    count: int | None,
    seed: int,
    weights: Weights,
    labels: list[Label] | None,
    codes: list[Code],
    in_rows: bool,
    truncation: float | None = None,
) -> Drawing:
    """The samples of one seed; `in_rows`: without `count` and `labels` a row for each class."""
    if count is not None and count < 1:
        raise UserError(f"--count {count}: expected 1 or more")
    ranges = [code for code in codes if code.high is not None]
    if len({code.index for code in codes}) < len(codes):
        raise UserError("--code: expected each code once, such as --code 0=4 --code 1=-1..1")
    if ranges:
        if count is not None:
            raise UserError(
                "--count does not go with a range of --code, whose grid has a fixed size: leave it out"
            )
        return _traverse(trained, seed, weights, labels, codes, ranges, truncation)
    batch, columns = None, None
    if in_rows and labels is None and count is None:
        batch, columns = preview_conditions(trained.system), PREVIEW_COLUMNS
    if batch is None:
        batch, columns = class_conditions(trained, labels, count, DEFAULT_COUNT)
    if count is None:
        count = DEFAULT_COUNT if batch is None else len(batch.images)
    latents = None
    if codes or truncation is not None or isinstance(trained.system, LatentSystem):
        latents = truncated(trained, count, seed, weights, truncation)
    for code in codes:
        assert latents is not None
        latents = trained.set_code(latents, code.index, code.low)
    parts: Iterable[Tensor]
    if latents is not None and (codes or truncation is not None):
        parts = [trained.decode(latents, batch, weights)]
    else:
        parts = trained.draw(count, seed=seed, weights=weights, given=batch)
    return Drawing(parts, columns, None if batch is None else batch.labels, latents)


def _traverse(
    trained: Trained,
    seed: int,
    weights: Weights,
    labels: list[Label] | None,
    codes: list[Code],
    ranges: list[Code],
    truncation: float | None,
) -> Drawing:
    """Rows of samples along the last range; rows differ in the other range, else in their noise and label."""
    if len(ranges) > 2:
        raise UserError(f"--code: {len(ranges)} ranges: expected one or two (down and across)")
    columns = TRAVERSAL_COLUMNS
    num_noises, rows = (TRAVERSAL_ROWS, TRAVERSAL_ROWS) if len(ranges) == 1 else (1, TRAVERSAL_COLUMNS)
    batch, _ = class_conditions(trained, labels, num_noises, DEFAULT_COUNT)
    repeats = rows * columns // num_noises
    latents = truncated(trained, num_noises, seed, weights, truncation).repeat_interleave(repeats, dim=0)
    if batch is not None and batch.labels is not None:
        batch = trained.conditions(batch.labels.repeat_interleave(repeats).tolist())
    for code in codes:
        if code.high is None:
            latents = trained.set_code(latents, code.index, code.low)
        elif code is ranges[-1]:
            latents = trained.set_code(latents, code.index, _steps(code, columns).repeat(rows))
        else:
            latents = trained.set_code(latents, code.index, _steps(code, rows).repeat_interleave(columns))
    images = trained.decode(latents, batch, weights)
    return Drawing([images], columns, None if batch is None else batch.labels, latents)


def _steps(code: Code, count: int) -> Tensor:
    assert code.high is not None
    return torch.linspace(code.low, code.high, count)
