"""The log `metrics.jsonl`: its lines, validated, and for the report their order, curves and remarks."""

import itertools
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from ganforge.files.reading import parse_json, read_regular
from ganforge.reporting.charts import Points

BOOKKEEPING = frozenset({"kind", "step", "images", "seconds", "images_per_second", "seconds_per_step",
                         "peak_memory_bytes", "session"})  # fmt: skip

PROBABILITIES = {"real_probability": "D(real)", "fake_probability": "D(fake)"}
"""Keys of the discriminator's mean probabilities of real, and what they are called."""

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


MOST_STEPS = 2**53
_HALF = re.compile(rb"\\u[dD]")
_NUMBERS = ("_probability", "_gradient_norm", "_skipped_updates", "_distance", "_confidence")
"""What the training diagnosis calculates with."""


class _Line(BaseModel):
    """What every line has: its kind and the step it is of. Other numbers and texts may be there too."""

    model_config = ConfigDict(extra="allow", strict=True)
    kind: str
    step: NonNegativeInt = Field(le=MOST_STEPS)


class _Start(_Line):
    command: str = ""


class _Measured(_Line):
    """A line of kind "train", "end", "evaluation" or one of its own: numbers and texts, none nested."""

    __pydantic_extra__: dict[str, float | int | str | bool | None]
    seconds: float = 0.0

    @model_validator(mode="after")
    def _numbers(self) -> "_Measured":
        for name, value in (self.__pydantic_extra__ or {}).items():
            is_number = isinstance(value, float) or (type(value) is int and abs(value) <= MOST_STEPS)
            if name.endswith(_NUMBERS) and not is_number:
                raise ValueError(f"{name} is no number")
        return self


class _Samples(_Measured):
    """Numbers, and counts of classes that must be of the same classes."""

    classes: dict[str, NonNegativeInt] | None = None
    recounted_classes: dict[str, NonNegativeInt] | None = None
    expected_classes: dict[str, float] | None = None
    classifier_confidence: float | None = None
    real_classifier_confidence: float | None = None

    @model_validator(mode="after")
    def _same_classes(self) -> "_Samples":
        counts = (self.classes, self.expected_classes, self.recounted_classes)
        if self.classes is None:
            if counts != (None, None, None):
                raise ValueError("counts without classes")
            return self
        expected = self.expected_classes
        if expected is None or self.classifier_confidence is None or self.real_classifier_confidence is None:
            raise ValueError("classes without what was expected")
        if not all(math.isfinite(share) and share >= 0 for share in expected.values()):
            raise ValueError("an expected count below 0")
        if any(each is not None and each.keys() != expected.keys() for each in counts):
            raise ValueError("counts of different classes")
        return self


class _Said(_Line):
    text: str = ""
    signal: str = ""


_MODELS: dict[str, type[_Line]] = {
    "start": _Start, "train": _Measured, "end": _Measured, "samples": _Samples, "note": _Said,
    "failure": _Said, "diagnosis": _Said, "evaluation": _Measured,
}  # fmt: skip


def parse_lines(content: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The lines of a log by the names of this version, and those that are damaged.

    Half of a last line, which a crash leaves, is neither.
    """
    lines: list[dict[str, Any]] = []
    damaged: list[bytes] = []
    *whole, torn = content.split(b"\n")
    for text in [*whole, torn]:
        if not text.strip():
            continue
        try:
            line = parse_json(text)
            if not isinstance(line, dict):
                raise ValueError("no object")
            line = current_line(line)
            # Pydantic takes no halves of characters, which odd file names have.
            half = _HALF.search(text)
            whole_text = current_line(json.loads(_HALF.sub(rb"\\u0", text))) if half else line
            _MODELS.get(str(line.get("kind")), _Line).model_validate(whole_text)
        except (ValueError, ValidationError):
            damaged.append(text)
        else:
            lines.append(line)
    if damaged and damaged[-1] is torn:
        damaged.pop()
    return lines, damaged


def read_log(path: Path) -> Log:
    """The readable lines of the log in `path`; none where there is no file."""
    log = Log()
    try:
        lines, damaged = parse_lines(read_regular(path))
    except FileNotFoundError:
        return log
    for line in lines:
        step, kind = line["step"], line["kind"]
        if kind in ("start", "train", "end"):
            while log.lines and log.lines[-1]["step"] > step:  # resumed from an earlier checkpoint
                log.lines.pop()
            (log.starts if kind == "start" else log.lines).append(line | {"session": len(log.starts)})
        else:
            log.others.append(line)
    if damaged:
        log.remarks.append(f"metrics.jsonl: {len(damaged)} unreadable lines were left out.")
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
