"""Writing samples of a run to files: of the classes that are asked for, along codes, as one grid or many."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.data.batch import to_uint8
from ganforge.errors import UserError, printable
from ganforge.generation.output import own_images, refuse_form, save_npz, write_folder
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
    """Samples that are about to be drawn, how they lie in a grid, and their labels int64 `[count]`."""

    count: int
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
    Raises UserError where `out` cannot be written, or the system lacks what is asked for.
    """
    spec = trained.run.config.spec
    about = {"command": command, "run": trained.run.path.name, "system": trained.run.config.system,
             "step": str(trained.step), "seed": str(seed),
             "weights": trained.resolve_weights(weights)}  # fmt: skip
    form = refuse_form(out)
    if not form and spec.values == "points":
        raise UserError(f"--out {out}: 2-D points are written to a .png or an .npz")
    parsed = [parse_code(text) for text in codes]
    given = None if labels is None else list(labels)
    try:
        surplus = [] if form else own_images(out)
        drawing = _plan(trained, count, seed, weights, given, parsed, in_rows=form == ".png")
        names = _names_of(drawing.labels, spec.class_names)
        if not form:
            write_folder(drawing.parts, out, about, [{"label": name} for name in names], surplus)
            return f"{out}: {drawing.count} images"
        images = torch.cat(list(drawing.parts))
        out.parent.mkdir(parents=True, exist_ok=True)
        if names:
            about["labels"] = ", ".join(names)
        if form == ".png":
            grids.save_png(grids.draw(images, spec, columns=drawing.columns), out, about)
        else:
            _write_arrays(images, drawing.labels, spec.values == "points", out, about)
        return f"{out}: {drawing.count} samples"
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from error


def parse_code(text: str) -> Code:
    """The code in "0=4" or "1=-1..1"; raises UserError for another form."""
    found = CODE.fullmatch(text.replace(" ", ""))
    try:
        if found is None:
            raise ValueError
        low, high = float(found[2]), None if found[3] is None else float(found[3])
        if not np.isfinite([low, low if high is None else high]).all():
            raise ValueError
    except ValueError:
        raise UserError(
            f"--code {printable(text)[:80]}: expected NUMBER=VALUE or NUMBER=FROM..TO, "
            "such as --code 0=4 or --code 1=-1..1"
        ) from None
    return Code(int(found[1]), low, high)


def parse_labels(text: str) -> list[Label]:
    """The labels in "3,3,7" or "cat,dog"; raises UserError where one is empty."""
    labels: list[Label] = [label.strip() for label in text.split(",")]
    if "" in labels:
        raise UserError(
            f"--labels {printable(text)[:80]!r}: expected classes with commas between, such as --labels 3,3,7"
        )
    return labels


def _plan(
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
        raise UserError("--code: every code may be given once, such as --code 0=4 --code 1=-1..1")
    if ranges:
        if count is not None:
            raise UserError("--count does not go with a range of --code, which gives a grid of its own size")
        return _traverse(trained, seed, weights, labels, codes, ranges)
    given, columns = None, None
    if in_rows and labels is None and count is None:
        given, columns = preview_conditions(trained.system), PREVIEW_COLUMNS
    if given is None:
        given, columns = class_conditions(trained, labels, count, DEFAULT_COUNT)
    if count is None:
        count = DEFAULT_COUNT if given is None else len(given.images)
    parts: Iterable[Tensor]
    if codes:
        latents = trained.draw_latents(count, seed)
        for code in codes:
            latents = trained.set_code(latents, code.index, code.low)
        parts = [trained.decode(latents, given, weights)]
    else:
        parts = trained.draw(count, seed=seed, weights=weights, given=given)
    return Drawing(count, parts, columns, None if given is None else given.labels)


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
        raise UserError(f"--code: {len(ranges)} ranges were given, expected one or two (down and across)")
    columns = TRAVERSAL_COLUMNS
    num_noises, rows = (TRAVERSAL_ROWS, TRAVERSAL_ROWS) if len(ranges) == 1 else (1, TRAVERSAL_COLUMNS)
    given, _ = class_conditions(trained, labels, num_noises, DEFAULT_COUNT)
    repeats = rows * columns // num_noises
    latents = trained.draw_latents(num_noises, seed).repeat_interleave(repeats, dim=0)
    if given is not None and given.labels is not None:
        given = trained.conditions(given.labels.repeat_interleave(repeats).tolist())
    for code in codes:
        if code.high is None:
            latents = trained.set_code(latents, code.index, code.low)
        elif code is ranges[-1]:
            latents = trained.set_code(latents, code.index, _steps(code, columns).repeat(rows))
        else:
            latents = trained.set_code(latents, code.index, _steps(code, rows).repeat_interleave(columns))
    images = trained.decode(latents, given, weights)
    return Drawing(len(images), [images], columns, None if given is None else given.labels)


def _steps(code: Code, count: int) -> Tensor:
    assert code.high is not None
    return torch.linspace(code.low, code.high, count)


def _names_of(labels: Tensor | None, class_names: Sequence[str]) -> list[str]:
    return [] if labels is None else [class_names[number] for number in labels.tolist()]


def _write_arrays(images: Tensor, labels: Tensor | None, points: bool, out: Path, about: object) -> None:
    array = images.flatten(1) if points else to_uint8(images).permute(0, 2, 3, 1)
    arrays: dict[str, Any] = {"images": array.numpy(), "about": np.array(json.dumps(about))}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    save_npz(arrays, out)
