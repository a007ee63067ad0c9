"""Run folders as the studio shows them, read again only where their files changed."""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganforge.errors import UserError
from ganforge.files.reading import read_regular
from ganforge.reporting.log import number_of, parse_lines
from ganforge.reporting.page import detail_of
from ganforge.runs.folder import LOG, Run, find_runs, is_held
from ganforge.runs.state import best_score, state_of
from ganforge.studio.workshop import LINK_OUT, leads_out

TAIL_BYTES = 16_384
"""The end of a log, which says how a run stands."""
TRASH = ".trash"
GRID = re.compile("[0-9]{1,18}")
"""The step of a sample grid, as its file is called."""
MOST_GRID_BYTES = 64 * 2**20
SHOWN = ("images_per_second", "seconds_per_step")


PATIENCE = 20
"""While a run is trained, what took a second to read is kept for as many: 5 % of a core at most."""


@dataclass(frozen=True)
class _Kept:
    stamp: tuple[Any, ...]
    value: Any
    ended: float
    seconds: float


class Readings:
    """What was read of run folders, each until one of the files that it came from changes."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def get(
        self, kind: str, path: Path, stamp: tuple[Any, ...], read: Callable[[], Any], patient: bool = False
    ) -> Any:
        """What `read` returned for `path` when its files were as `stamp` says; others wait for who reads.

        `patient`: an older value will do where it was costly to read.
        """
        key = (kind, str(path))
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            began = time.monotonic()
            if kept is not None and (
                kept.stamp == stamp or (patient and began - kept.ended < PATIENCE * kept.seconds)
            ):
                return kept.value
            value = read()
            ended = time.monotonic()
            with self._lock:
                self._kept[key] = _Kept(stamp, value, ended, ended - began)
            return value

    def forget_others(self, paths: list[Path]) -> None:
        """Keep only what is of `paths`."""
        names = {str(path) for path in paths}
        with self._lock:
            self._kept = {key: kept for key, kept in self._kept.items() if key[1] in names}
            self._locks = {key: lock for key, lock in self._locks.items() if key[1] in names or lock.locked()}


def stamp_of(path: Path, *names: str) -> tuple[Any, ...]:
    """Size and time of the files `names` in a folder, None where one is missing."""
    stamps = list[Any]()
    for name in names:
        try:
            status = os.stat(path / name)
            stamps.append((status.st_size, status.st_mtime_ns))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


def list_runs(folder: Path, readings: Readings) -> list[dict[str, Any]]:
    """A row for each run folder, the newest first."""
    paths = find_runs(folder)
    rows = [_link(path) if leads_out(path, folder) else row_of(path, readings) for path in paths]
    readings.forget_others(paths)
    return sorted(rows, key=lambda row: row["changed"], reverse=True)


def _link(path: Path) -> dict[str, Any]:
    return {"name": path.name, "changed": 0.0, "grid": None, "state": "unreadable", "why": LINK_OUT}


def row_of(path: Path, readings: Readings) -> dict[str, Any]:
    """How a run stands, in short."""
    stamp = stamp_of(path, "config.json", LOG, "evaluations", "checkpoints/best", "samples")
    row: dict[str, Any] = readings.get("row", path, (*stamp, is_held(path)), lambda: _row(path))
    return row


def _row(path: Path) -> dict[str, Any]:
    times = [stamp[1] / 1e9 for stamp in stamp_of(path, "config.json", LOG) if stamp is not None]
    row = {"name": path.name, "changed": max(times, default=0.0), "grid": newest_grid(path)}
    try:
        run = Run.open(path)
    except UserError as error:  # the other runs are still worth showing
        return row | {"state": "unreadable", "why": str(error)}
    config, lines = run.config, _last_lines(path)
    state, left = state_of(run, lines), None
    trained = [line for line in lines if line["kind"] == "train"]
    if state.condition == "running" and trained:
        left = (state.steps - state.step) * (number_of(trained[-1].get("seconds_per_step")) or 0.0)
    diagnosis = [line for line in lines if line["kind"] == "diagnosis"]
    return row | {
        "system": config.system,
        "data": config.data.data,
        "shape": list(config.spec.shape),
        "values": config.spec.values,
        "seed": config.train.seed,
        "score": best_score(run),
        "why": str(diagnosis[-1].get("text", "")) if diagnosis else "",
        "state": state.condition,
        "step": state.step,
        "steps": state.steps,
        "seconds_left": left,
    }


def _last_lines(path: Path) -> list[dict[str, Any]]:
    """The lines at the end of the log: all of a short one."""
    try:
        with open(path / LOG, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            content = file.read()
    except OSError:
        return []
    if size > TAIL_BYTES:
        content = content.partition(b"\n")[2]
    return parse_lines(content)[0]


def grids_of(path: Path) -> list[int]:
    """The steps of the sample grids of a run, in order."""
    return sorted(int(file.stem) for file in path.glob("samples/*.png") if GRID.fullmatch(file.stem))


def newest_grid(path: Path) -> int | None:
    """The step of the newest sample grid."""
    return max(grids_of(path), default=None)


def read_grid(path: Path, step: int) -> bytes:
    """The PNG of the grid at `step`; raises OSError where there is none."""
    names = [
        file for file in path.glob("samples/*.png") if GRID.fullmatch(file.stem) and int(file.stem) == step
    ]
    if not names:
        raise FileNotFoundError(step)
    return read_regular(names[0], MOST_GRID_BYTES)


def detail(run: Run, readings: Readings) -> dict[str, Any]:
    """All that the page of a run shows, but its images."""
    running = is_held(run.path)
    stamp = (*stamp_of(run.path, "config.json", LOG, "evaluations"), running)
    found: dict[str, Any] = readings.get(
        "running" if running else "detail",
        run.path,
        stamp,
        lambda: detail_of(run.path, running=running),
        patient=running,
    )
    return found | {"grids": grids_of(run.path)}


def move_to_trash(folder: Path, path: Path) -> Path:
    """Move a run into the trash folder among the runs; returns where it is."""
    trash = folder / TRASH
    trash.mkdir(exist_ok=True)
    place = trash / path.name
    if place.exists():
        place = trash / f"{path.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    shutil.move(path, place)
    return place
