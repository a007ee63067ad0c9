"""What a tracker gets: the lines of `metrics.jsonl` and the sample grids of a run folder, in their order."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganforge.files.reading import read_regular
from ganforge.reporting.evaluations import read_evaluations
from ganforge.reporting.log import current_line, number_of, parse_lines
from ganforge.reporting.trackers import Tracker

LOG = "metrics.jsonl"
GROUPS = {"train": "train", "evaluation": "scores", "samples": "samples"}
"""Kind of line -> what the names of its numbers begin with."""
SPEED = ("images", "images_per_second", "seconds_per_step", "peak_memory_bytes")
TEXTS = {"diagnosis": "health", "note": "notes", "failure": "health"}
TAIL = 200


def identity_of(run: Path) -> str:
    """A name for the training in a run folder, by its first start: another for one that begins anew."""
    lines, _ = parse_lines(_content(run))
    first = next((line for line in lines if line["kind"] == "start"), {})
    return hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()[:16]


class Feed:
    """Gives what is new in a run folder to a tracker, which `restart` makes.

    `since`: steps up to this one are with the tracker already, unless it is made anew.
    """

    def __init__(self, run: Path, restart: Callable[[], Tracker], since: int = -1) -> None:
        self._run, self._restart, self._tracker = run, restart, restart()
        self._known = -1 if self._tracker.replays else since
        self._highest = self._known
        self._offset, self._tail, self._images = 0, b"", set[str]()

    def follow(self) -> None:
        """Give all that has been logged and drawn since the last time.

        After a rollback, whose lines are gone from the log, the tracker is made anew, or gets later steps.
        """
        content = _content(self._run)
        if content[: self._offset][-TAIL:] != self._tail:
            if self._tracker.replays:
                self._tracker.close()
                self._tracker, self._images, self._highest = self._restart(), set(), -1
            self._offset, self._known = 0, self._highest
        end = content.rfind(b"\n") + 1
        lines, _ = parse_lines(content[self._offset : end])
        self._offset, self._tail = end, content[:end][-TAIL:]
        events: list[tuple[int, int, dict[str, Any] | Path]] = [
            (int(line["step"]), 0, line) for line in map(current_line, lines)
        ]
        for path in sorted((self._run / "samples").glob("[0-9]*.png")):
            if path.stem.isdigit() and path.name not in self._images:
                self._images.add(path.name)
                events.append((int(path.stem), 1, path))
        for step, _, event in sorted(events, key=lambda event: event[:2]):
            if step > self._known:
                _give(self._tracker, step, event)
                self._highest = max(self._highest, step)

    def give_evaluations(self) -> None:
        """Give the scores of `ganforge evaluate` that the run folder holds."""
        stored, _ = read_evaluations(self._run)
        for evaluation in sorted(stored, key=lambda each: (each.step, each.trust)):
            values = {f"evaluate/{name}": value for name, value in evaluation.values.items()}
            self._tracker.scalars(evaluation.step, values)

    def close(self) -> None:
        """Give the rest and end."""
        try:
            self.follow()
        finally:
            self._tracker.close()


def _give(tracker: Tracker, step: int, event: Mapping[str, Any] | Path) -> None:
    """A line of the log, or a sample grid."""
    if isinstance(event, Path):
        tracker.image(step, "samples", event)
    elif (kind := event["kind"]) in TEXTS:
        tracker.text(step, TEXTS[kind], str(event.get("text", "")))
    elif kind in GROUPS and (values := scalars_of(event)):
        tracker.scalars(step, values)


def scalars_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a line by the names that trackers show: train/generator_loss, speed/images."""
    group, values = GROUPS[line["kind"]], {}
    for name, entry in line.items():
        value = None if isinstance(entry, bool) else number_of(entry)
        if value is None or name in ("step", "seconds", "session"):
            continue
        values[f"speed/{name}" if name in SPEED else f"{group}/{name}"] = value
    return values


def _content(run: Path) -> bytes:
    try:
        return read_regular(run / LOG)
    except FileNotFoundError:
        return b""
