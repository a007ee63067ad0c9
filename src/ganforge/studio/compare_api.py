"""What the page calls to compare runs: curves over one another, differences, and the table of scores."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from ganforge.errors import UserError
from ganforge.evaluation.compare import cell_of, lines_of, read_evaluated, shared_note
from ganforge.reporting.charts import chart_of
from ganforge.reporting.evaluations import read_evaluations
from ganforge.reporting.html import words
from ganforge.reporting.log import read_log, series_of
from ganforge.runs.folder import LOG, Run
from ganforge.studio.runs import grids_of
from ganforge.studio.workshop import Workshop

MOST_RUNS = 6
"""As many as there are colours, and room for grids side by side."""


def compare_api(workshop: Workshop) -> APIRouter:
    """The endpoint `/api/compare`."""
    api = APIRouter()

    @api.get("/compare")
    def compare(runs: Annotated[list[str], Query(min_length=2, max_length=MOST_RUNS)]) -> dict[str, Any]:
        """Two to six runs next to one another."""
        opened = [workshop.open(name) for name in runs]
        if len(set(runs)) < len(runs):
            raise UserError("a run is named twice: choose each once")
        return {
            "runs": [
                {"name": name, "grids": grids_of(run.path)} for name, run in zip(runs, opened, strict=True)
            ],
            "folder": str(workshop.runs),
            "charts": _charts(runs, opened),
            "differences": _differences(opened),
            "scores": _scores(opened),
        }

    return api


def _charts(names: list[str], runs: list[Run]) -> list[dict[str, Any]]:
    series = {name: series_of(read_log(run.path / LOG)) for name, run in zip(names, runs, strict=True)}
    colours = {name: f"c{index}" for index, name in enumerate(names)}
    keys = dict.fromkeys(key for curves in series.values() for key in curves)
    charts = []
    for key in sorted(keys, key=lambda key: (not key.endswith("_loss"), key)):
        curves = {name: series[name][key] for name in names if key in series[name]}
        if len(curves) > 1:  # what one run alone has cannot be compared
            charts.append(chart_of(words(key), curves, colours))
    return charts


def _differences(runs: list[Run]) -> list[dict[str, Any]]:
    """Settings in which the runs differ."""
    settings = []
    for run in runs:
        config = run.config
        found = {"system": config.system} | config.data.model_dump(mode="json")
        settings.append(found | config.train.model_dump(mode="json") | config.config)
    keys = dict.fromkeys(key for each in settings for key in each)
    return [
        {"name": words(key), "values": [_shown(each.get(key, "-")) for each in settings]}
        for key in keys
        if len({str(each.get(key, "-")) for each in settings}) > 1
    ]


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _scores(runs: list[Run]) -> dict[str, Any]:
    """Stored scores, those of unlike protocols in rows of their own; what evaluates a run without any."""
    missing = [f"ganforge evaluate {run.path}" for run in runs if not read_evaluations(run.path)[0]]
    if len(runs) - len(missing) < 2:
        return {"rows": [], "shared": "", "missing": missing}
    compared = read_evaluated([run.path for run in runs])
    lines = lines_of(compared)
    rows = [
        {
            "name": f"{words(line.name)}, {line.unit}" if line.unit else words(line.name),
            "differs": line.differs,
            "cells": [cell_of(line.scores.get(place)) for place in range(len(runs))],
        }
        for line in lines
    ]
    return {"rows": rows, "shared": shared_note(lines), "missing": missing}
