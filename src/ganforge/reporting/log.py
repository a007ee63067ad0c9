"""The log `metrics.jsonl` for the report: lines in order, curves, and remarks on unreadable lines."""

import itertools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganforge.reporting.charts import Points

BOOKKEEPING = frozenset({"kind", "step", "images", "seconds", "images_per_second", "seconds_per_step",
                         "peak_memory_bytes", "session"})  # fmt: skip

RENAMED = {"judge_confidence": "classifier_confidence",
           "real_judge_confidence": "real_classifier_confidence"}  # fmt: skip
"""Keys of 0.1."""


@dataclass
class Log:
    """The lines of `metrics.jsonl` in the order of steps; steps that a resumed run repeated are dropped."""

    starts: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)  # "train" and "end"
    others: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """The training time of all sessions together: each start counts from zero again."""
        sessions = {
            line["session"]: seconds for line in self.lines if (seconds := number_of(line.get("seconds")))
        }
        return sum(sessions.values()) if sessions else None

    def newest(self, key: str) -> float | None:
        """The newest number logged under `key`, whether on a "train" or an "end" line."""
        values = (number_of(line.get(key)) for line in reversed(self.lines))
        return next((value for value in values if value is not None), None)

    @property
    def diagnosis(self) -> list[dict[str, Any]]:
        """The lines of the training diagnosis."""
        return [line for line in self.others if line.get("kind") == "diagnosis"]


def current_line(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log by the names of this version."""
    if line.get("kind") == "health":
        line = line | {"kind": "diagnosis"}
    return {RENAMED.get(name, name): value for name, value in line.items()}


def read_log(path: Path) -> Log:
    """The readable lines of the log in `path`; none where there is no file."""
    log, unreadable = Log(), 0
    content = path.read_bytes() if path.exists() else b""
    lines = content.splitlines()
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
        except ValueError:
            # A crash leaves half a last line, which is expected and needs no remark.
            unreadable += number < len(lines) or content.endswith(b"\n")
            continue
        if not isinstance(line, dict):
            unreadable += 1
            continue
        line = current_line(line)
        step = line["step"] = int(number_of(line.get("step")) or 0)
        kind = line.get("kind")
        if kind in ("start", "train", "end"):
            while log.lines and log.lines[-1]["step"] > step:  # resumed from an earlier checkpoint
                log.lines.pop()
            (log.starts if kind == "start" else log.lines).append(line | {"session": len(log.starts)})
        else:
            log.others.append(line)
    if unreadable:
        log.remarks.append(f"metrics.jsonl: {unreadable} unreadable lines were left out.")
    return log


def series_of(log: Log) -> dict[str, Points]:
    """Every curve by its metric's name; of a step logged twice the later value counts."""
    series: dict[str, dict[int, float]] = {}
    broken: dict[str, int] = {}
    for line in itertools.chain(log.lines, filter(measures, log.others)):
        prefix = "" if line.get("kind") in ("train", "end", "samples") else f"{line.get('kind')}_"
        for key, value in line.items():
            if key in BOOKKEEPING:
                continue
            if (number := number_of(value)) is not None:
                series.setdefault(prefix + key, {})[line["step"]] = number
            elif isinstance(value, float):
                broken.setdefault(prefix + key, line["step"])
    log.remarks += [f"{key} was not a finite number from step {step:,}." for key, step in broken.items()]
    return {key: sorted(points.items()) for key, points in series.items()}


def measures(line: dict[str, Any]) -> bool:
    """Whether a line of another kind holds numbers for a chart, rather than a note to read."""
    return "text" not in line and any(number_of(line[key]) is not None for key in line.keys() - BOOKKEEPING)


def number_of(value: Any) -> float | None:
    """A finite float, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the floats
        return None
