"""The page of a sweep: parallel coordinates, importance, curves and all trials, from plain values."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganforge.reporting.charts import Points, chart_of, colours_of
from ganforge.reporting.html import write_page

WIDTH, HEIGHT, MARGIN = 1000, 300, 50  # of the drawing, in its own units
MOST_TICKS = 8
MOST_CURVES = 6


@dataclass(frozen=True)
class Axis:
    """An option that was searched: its values in order where they are choices, else a range."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def place(self, value: Any) -> float:
        """Where a value lies: 0 at the bottom, 1 at the top."""
        if self.choices:
            return (self.choices.index(value) + 0.5) / len(self.choices)
        low, high, value = (
            (math.log(number) for number in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, float(value))
        )
        return 0.5 if high == low else (value - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts at the axis."""
        if self.choices:
            skip = math.ceil(len(self.choices) / MOST_TICKS)
            return [(self.place(choice), str(choice)) for choice in self.choices[::skip]]
        return [(0.0, f"{self.low:.4g}"), (1.0, f"{self.high:.4g}")]


@dataclass(frozen=True)
class TrialRow:
    """A trial: `state` in words, its score where it has one, and scores by step."""

    number: int
    state: str
    values: Mapping[str, Any]
    score: float | None
    run: Path
    scores: Mapping[int, float] = field(default_factory=dict)
    note: str = ""


def write_sweep_page(
    path: Path,
    title: str,
    score: str,
    higher_is_better: bool,
    axes: Sequence[Axis],
    trials: Sequence[TrialRow],
    importance: Mapping[str, float],
    protocol: str,
) -> None:
    """Write the page to `path`; equal values give equal bytes."""
    ranked = ranked_trials(trials, higher_is_better)
    names = [f"trial {row.number}" for row in ranked if len(row.scores) > 1][:MOST_CURVES]
    curves: dict[str, Points] = {
        f"trial {row.number}": sorted(row.scores.items()) for row in ranked if f"trial {row.number}" in names
    }
    rest = [row for row in trials if row not in ranked]
    write_page(
        path,
        "sweep.html",
        title=title,
        score=score,
        better="higher" if higher_is_better else "lower",
        protocol=protocol,
        drawing=_parallel(axes, ranked, score, higher_is_better),
        importance=[
            {"name": name, "share": share, "text": f"{100 * share:.0f} %"}
            for name, share in importance.items()
        ],
        axes=[axis.name for axis in axes],
        rows=[_row(row, axes) for row in (*ranked, *rest)],
        best=f"ganforge sample {shlex.quote(str(ranked[0].run))}" if ranked else "",
        charts=[chart_of(f"{score} of the best trials", curves, colours_of(names))] if curves else None,
        running=False,
    )


def ranked_trials(trials: Sequence[TrialRow], higher_is_better: bool) -> list[TrialRow]:
    """The trials that finished, the best first."""
    done = [row for row in trials if row.score is not None and row.state == "finished"]
    return sorted(done, key=lambda row: (-(row.score or 0.0) if higher_is_better else row.score, row.number))


def _row(row: TrialRow, axes: Sequence[Axis]) -> dict[str, Any]:
    return {
        "number": row.number,
        "state": row.state,
        "values": [_text(row.values.get(axis.name)) for axis in axes],
        "score": "-" if row.score is None else f"{row.score:.4g}",
        "note": row.note,
    }


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _parallel(
    axes: Sequence[Axis], ranked: Sequence[TrialRow], score: str, higher_is_better: bool
) -> dict[str, Any] | None:
    """Lines and axes of the drawing: an axis for each option, the score at the right; None without trials."""
    if not ranked:
        return None
    scores = [row.score for row in ranked if row.score is not None]
    last = Axis(score, low=min(scores), high=max(scores))
    every = [*axes, last]
    inner, tall = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN

    def x(index: int) -> float:
        return round(MARGIN + inner * index / (len(every) - 1), 1)

    def y(place: float) -> float:
        return round(MARGIN + tall * (1 - place), 1)

    lines = []
    for rank, row in reversed(list(enumerate(ranked))):  # the best is drawn last, on top
        values = [*(axis.place(row.values[axis.name]) for axis in axes), last.place(row.score)]
        points = " ".join(f"{x(index)},{y(place)}" for index, place in enumerate(values))
        share = 1 - rank / max(1, len(ranked) - 1)
        label = f"trial {row.number}: {score} {row.score:.4g}; " + ", ".join(
            f"{axis.name} {_text(row.values[axis.name])}" for axis in axes
        )
        opacity = round(0.15 + 0.85 * share**2, 2)
        line = {"points": points, "opacity": opacity, "label": label, "best": not rank}
        lines.append(line)
    drawn = [
        {
            "name": axis.name,
            "x": x(index),
            "ticks": [{"y": y(place), "text": text} for place, text in axis.ticks()],
        }
        for index, axis in enumerate(every)
    ]
    size = {"width": WIDTH, "height": HEIGHT, "top": MARGIN, "bottom": HEIGHT - MARGIN}
    return size | {"lines": lines, "axes": drawn}
