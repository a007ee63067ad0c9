"""Samples of a run, of chosen classes or along codes, written as a grid, an array or one file each."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.generation.output import open_output, provenance, to_arrays
from ganforge.reporting import grids
from ganforge.runs.conditions import PREVIEW_COLUMNS, class_conditions, preview_conditions
from ganforge.runs.trained import Label, Trained, Weights

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
    """Samples, drawn as `parts` are read, the columns of their grid, and their labels int64 `[count]`."""

    parts: Iterable[Tensor]
    columns: int | None
    labels: Tensor | None


def write_samples(
    trained: Trained,
    out: Path,
    count: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    command: str = "",
    labels: Sequence[Label] | None = None,
    codes: Sequence[str] = (),
) -> str:
    """Write `count` samples to `out` and return what was written, in words.

    `out` ending in .png gets one grid (a scatter of 2-D points), in .npz the arrays `images` (uint8
    `[count, height, width, channels]`, or float `[count, 2]` points), `labels` of a conditional system, and
    `about`, JSON; any other is a folder of one PNG each, where samples of an earlier time are replaced.

    `labels` take turns; left out, all classes do, and a .png without `count` has a row for each class.
    `codes` are texts "0=4" or "1=-1..1": one range becomes rows of `TRAVERSAL_COLUMNS` samples of the same
    noise; of two the first goes down and the second across.
    Raises UserError where `out` cannot be written, or the system has no such label or code.
    """
    spec = trained.run.config.spec
    parsed = [parse_code(text) for text in codes]
    about = provenance(trained, weights, command, seed)
    with open_output(out, ".png", ".npz") as output:
        points = spec.values == "points"
        if points and not output.form:
            raise UserError(f"--out {out}: 2-D points are written to a .png or an .npz")
        chosen = None if labels is None else list(labels)
        drawing = _draw(trained, count, seed, weights, chosen, parsed, in_rows=output.form == ".png")
        numbers = [] if drawing.labels is None else drawing.labels.tolist()
        names = [spec.class_names[number] for number in numbers]
        if not output.form:
            return output.write_folder(drawing.parts, about, [{"label": name} for name in names])
        images = torch.cat(list(drawing.parts))
        if names:
            about["labels"] = ", ".join(names)
        if output.form == ".png":
            output.write_image(grids.draw(images, spec, columns=drawing.columns), about)
        else:
            output.write_arrays(
                about,
                images=images.flatten(1).numpy() if points else to_arrays(images),
                labels=None if drawing.labels is None else drawing.labels.numpy(),
            )
    return f"{out}: {len(images)} samples"


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


def _draw(
    trained: Trained,
    count: int | None,
    seed: int,
    weights: Weights,
    labels: list[Label] | None,
    codes: list[Code],
    in_rows: bool,
) -> Drawing:
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
        return _traverse(trained, seed, weights, labels, codes, ranges)
    batch, columns = None, None
    if in_rows and labels is None and count is None:
        batch, columns = preview_conditions(trained.system), PREVIEW_COLUMNS
    if batch is None:
        batch, columns = class_conditions(trained, labels, count, DEFAULT_COUNT)
    if count is None:
        count = DEFAULT_COUNT if batch is None else len(batch.images)
    parts: Iterable[Tensor]
    if codes:
        latents = trained.draw_latents(count, seed)
        for code in codes:
            latents = trained.set_code(latents, code.index, code.low)
        parts = [trained.decode(latents, batch, weights)]
    else:
        parts = trained.draw(count, seed=seed, weights=weights, given=batch)
    return Drawing(parts, columns, None if batch is None else batch.labels)


def _traverse(
    trained: Trained,
    seed: int,
    weights: Weights,
    labels: list[Label] | None,
    codes: list[Code],
    ranges: list[Code],
) -> Drawing:
    """Rows of samples along the last range; rows differ in the other range, else in their noise and label."""
    if len(ranges) > 2:
        raise UserError(f"--code: {len(ranges)} ranges: expected one or two (down and across)")
    columns = TRAVERSAL_COLUMNS
    num_noises, rows = (TRAVERSAL_ROWS, TRAVERSAL_ROWS) if len(ranges) == 1 else (1, TRAVERSAL_COLUMNS)
    batch, _ = class_conditions(trained, labels, num_noises, DEFAULT_COUNT)
    repeats = rows * columns // num_noises
    latents = trained.draw_latents(num_noises, seed).repeat_interleave(repeats, dim=0)
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
    return Drawing([images], columns, None if batch is None else batch.labels)


def _steps(code: Code, count: int) -> Tensor:
    assert code.high is not None
    return torch.linspace(code.low, code.high, count)
