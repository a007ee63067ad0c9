"""A comparison as one self-contained page: samples of one seed, overlaid curves, scores of groups."""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ganforge.errors import UserError
from ganforge.evaluation.compare import Compared, Line, shared_note
from ganforge.evaluation.groups import (
    BOLD_NOTE,
    P_NOTE,
    SEEDS_NOTE,
    Group,
    best_group,
    differences,
    group_cell,
    line_p_value,
    seeds_of,
    steps_of,
)
from ganforge.files.provenance import check_replaceable, read_provenance
from ganforge.generation.sample import write_samples
from ganforge.reporting.charts import Points, chart_of, colours_of
from ganforge.reporting.grids import Figure, embed_png
from ganforge.reporting.html import words, write_page
from ganforge.reporting.log import read_log, series_of
from ganforge.runs.trained import load

GRID_SIDE = 640  # pixels: larger sample grids are shrunk for the page


def write_html(
    path: Path,
    runs: Sequence[Compared],
    groups: Sequence[Group],
    lines: Sequence[Line],
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """One self-contained page: samples of the runs with the same seed side by side, curves, then the lines.

    The whole protocol of a line shows where the pointer rests on the score's name. Raises UserError where
    another file than such a page is in the way, without `overwrite`.
    """
    check_replaceable(path, overwrite, "--html")
    rows = [
        {
            "name": f"{line.name}, {line.unit}" if line.unit else line.name,
            "protocol": "; ".join(f"{key}: {value}" for key, value in line.protocol.items()),
            "differs": line.differs,
            "cells": [_cell(line, groups, place, runs) for place in range(len(groups))],
            "p": None if (p := line_p_value(line, groups)) is None else f"{p:.2g}",
        }
        for line in lines
    ]
    columns = [
        {
            "name": group.name,
            "about": f"{runs[group.places[0]].run.config.system}, step {steps_of(runs, group)}",
            "seeds": ", ".join(map(str, seeds_of(runs, group))) if len(group.places) > 1 else "",
        }
        for group in groups
    ]
    charts = _charts(runs, groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(
        path,
        "comparison.html",
        title="Runs compared: " + ", ".join(group.name for group in groups),
        columns=columns,
        grids=[figure for compared in runs if (figure := _grid(compared, seed))],
        rows=rows,
        has_p=any(row["p"] is not None for row in rows),
        differences=differences(runs, groups),
        shared=shared_note(lines),
        notes=[f"{compared.name}: {note}" for compared in runs for note in compared.notes],
        about=[SEEDS_NOTE, BOLD_NOTE, P_NOTE] if len(groups) < len(runs) else [],
        charts=charts,
        running=False,
    )


def _cell(line: Line, groups: Sequence[Group], place: int, runs: Sequence[Compared]) -> dict[str, Any]:
    """The text of a group, whether it is best, and what each run scored, for the pointer."""
    group = groups[place]
    values = [
        f"{runs[each].name}: {line.scores[each].value:.6g}" for each in group.places if each in line.scores
    ]
    return {
        "text": group_cell(line, group),
        "best": best_group(line, groups) == place,
        "runs": "; ".join(values) if len(group.places) > 1 else "",
    }


def _charts(runs: Sequence[Compared], groups: Sequence[Group]) -> list[dict[str, Any]]:
    """A chart for each metric of the logs, with a curve for each run, in the colour of its group."""
    curves: dict[str, dict[str, Points]] = {}
    palette, colours = colours_of(group.name for group in groups), dict[str, str]()
    for group in groups:
        for place in group.places:
            name = runs[place].name
            colours[name] = palette[group.name]
            for key, points in series_of(read_log(runs[place].run.path / "metrics.jsonl")).items():
                curves.setdefault(key, {})[name] = points
    large = [key for key in curves if key.startswith("evaluation_")] + [
        key for key in curves if key.endswith("_loss")
    ]
    order = [*large, *sorted(key for key in curves if key not in large)]
    return [chart_of(words(key), curves[key], colours) for key in order]


def _grid(compared: Compared, seed: int) -> Figure | None:
    """Fresh samples of `seed`; where that cannot be, those that training stored."""
    try:
        with TemporaryDirectory() as folder:
            trained, out = load(compared.run.path), Path(folder) / "grid.png"
            write_samples(trained, out, seed=seed)
            return embed_png(out, GRID_SIDE, f"{compared.name}: step {trained.step:,}, seed {seed}")
    except UserError:  # no checkpoint any more, or samples need sources or captions
        return _stored_grid(compared)


def _stored_grid(compared: Compared) -> Figure | None:
    """The newest sample grid that training stored, with its step and seed; None without one."""
    stored = (compared.run.path / "samples").glob("*.png")
    grids = [path for path in stored if re.fullmatch("[0-9]+", path.stem)]
    if not grids:
        return None
    newest = max(grids, key=lambda path: int(path.stem))
    try:
        seed = read_provenance(newest).get("seed", "unknown")
        return embed_png(newest, GRID_SIDE, f"{compared.name}: step {int(newest.stem):,}, seed {seed}")
    except UserError:  # the scores are still worth showing
        return None
