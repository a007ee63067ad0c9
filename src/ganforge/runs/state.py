"""What has become of a run, read from its folder alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganforge.files.reading import read_json
from ganforge.reporting.evaluations import read_evaluations
from ganforge.reporting.log import number_of
from ganforge.runs.folder import Run, is_held

Condition = Literal[
    "running", "finished", "diverged", "failed", "stopped", "not started", "packaged", "imported"
]
_NEWS = ("start", "train", "end", "failure")
_FIRST = ("psnr_y", "l1", "fid", "fid_to_training", "kid", "frechet_distance", "modes", "nll_bits_per_dim")
"""Scores of an evaluation to show where no best checkpoint was kept: the first of these that there is."""


@dataclass(frozen=True)
class State:
    """How far a run is: its condition, steps done and requested, and why it failed, if it did."""

    condition: Condition
    step: int
    steps: int
    why: str = ""


def state_of(run: Run, lines: Sequence[dict[str, Any]] | None = None) -> State:
    """The state of `run`; `lines` are those of its log, where they were read already."""
    steps = int(run.config.config["steps"])
    if run.packaged or run.shared:
        return State("packaged", steps, steps)
    if run.config.origin is not None:
        return State("imported", steps, steps)
    lines = run.lines() if lines is None else lines
    done = max((line["step"] for line in lines if line["kind"] in ("train", "end")), default=0)
    if is_held(run.path):
        return State("running", done, steps)
    news = [line for line in lines if line["kind"] in _NEWS or line.get("signal") == "nan"]
    if not news:
        return State("not started", 0, steps)
    last = news[-1]
    if any(line.get("signal") == "nan" for line in news[-2:]) and last["kind"] not in ("train", "end"):
        return State("diverged", done, steps, str(last.get("text", "")))
    if last["kind"] == "failure":
        return State("failed", done, steps, str(last.get("text", "")))
    return State("finished" if done >= steps else "stopped", done, steps)


def best_score(run: Run) -> str:
    """The best score that is stored of `run`, such as `fid 12.3`; empty where there is none."""
    kept = sorted(run.best.glob("[0-9]*/state.json"))
    stored = _json(kept[-1]) if kept else None
    if isinstance(stored, dict) and (value := number_of(stored.get("value"))) is not None:
        return f"{stored.get('metric')} {value:.4g}"
    stored_ones, _ = read_evaluations(run.path)
    scores = stored_ones[0].values if stored_ones else {}
    return next((f"{name} {scores[name]:.4g}" for name in _FIRST if name in scores), "")


def _json(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError):  # none yet, or damaged: whoever needs it says so
        return None
