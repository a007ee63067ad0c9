"""The run folder, the only interface between training and everything after it.

runs/NAME/  config.json  metrics.jsonl  samples/000500.png  checkpoints/000500/...
            evaluation.json  neighbours.png  report.html  text_encoder/
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
)

from ganforge.data.options import DataOptions
from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.files.atomic import TEMPORARY, make_folder, replace_file
from ganforge.reporting.log import current_line
from ganforge.runs.compatibility import current_data_options, without_unknown
from ganforge.runs.options import FREE_TO_CHANGE, TrainOptions
from ganforge.runs.pretrained import PRETRAINED, packaged

_BEGUN = ("metrics.jsonl", "report.html", "samples", "text_encoder", "config.json")
"""What a training makes before its first checkpoint."""
_LEFTOVER = re.compile(rf"({'|'.join(map(re.escape, _BEGUN))}){re.escape(TEMPORARY)}\d+")
"""What a kill leaves of it half-written."""


class RunConfig(BaseModel):
    """All options of a run and the interface of its data: `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ganforge: str
    system: str
    data: DataOptions
    train: TrainOptions
    config: dict[str, Any]
    spec: DataSpec
    fingerprint: str
    suggested_for: Literal["cpu", "cuda"] = "cpu"  # where it began: suggestions stay those of this device
    start_from: str | None = None
    start_networks: dict[str, str] = {}
    """Own network -> the network, run and step that its first weights are from; empty: whatever fitted."""


class Run:
    """A run folder, opened by `Run.create` or `Run.open`."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config
        self.packaged = False
        """Whether it came with the package: nothing is written into such a folder."""

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> "Run":
        """Make the folder and write `config.json`; raises UserError where it holds other files.

        A folder with nothing but a lock and what a killed start left half-written is an empty one.
        """
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file, not a run folder: name another with --run")
        present = [p for p in path.iterdir() if p.name != ".lock"] if path.exists() else []
        leftovers = [p for p in present if _LEFTOVER.fullmatch(p.name)]
        foreign = sorted(p.name for p in present if p not in leftovers)
        if foreign:
            raise UserError(
                f"{path} is not a run folder and not empty ({foreign[0]}): name another with --run"
            )
        make_folder(path)
        for leftover in leftovers:
            _remove(leftover)
        run = cls(path, config)
        run.write_config(config)
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """The run in the folder `path`; raises UserError where there is none or its config cannot be read.

        `pretrained:NAME` is one that came with the package.
        """
        named = str(path).startswith(PRETRAINED)
        if named:
            path = packaged(str(path).removeprefix(PRETRAINED))
        file = path / "config.json"
        if not file.is_file():
            raise UserError(f"{path} is not a run folder (no config.json): see `ganforge list runs`")
        try:
            run = cls(path, RunConfig.model_validate(_current(file)))
        except ValueError as error:
            if not isinstance(error, ValidationError):
                raise UserError(f"{file} cannot be read: JSON: {error}") from error
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(f"{file} cannot be read: {place or 'JSON'}: {first['msg']}") from error
        run.packaged = named
        return run

    def write_config(self, config: RunConfig) -> None:
        """Replace `config.json`."""
        self.config = config
        replace_file(self.path / "config.json", (config.model_dump_json(indent=1) + "\n").encode())

    def discard(self) -> None:
        """Remove what was begun before any checkpoint; the config last, so that a kill leaves a run."""
        for name in _BEGUN:
            _remove(self.path / name)

    def check_same(self, config: RunConfig) -> None:
        """Raise UserError, with the differences, where `config` is not that of this run."""
        mine, theirs = _flatten(self.config.model_dump(mode="json")), _flatten(config.model_dump(mode="json"))
        different = [
            f"{name} is {mine.get(name)!r} there and {theirs.get(name)!r} here"
            for name in sorted(mine.keys() | theirs.keys())
            if name not in FREE_TO_CHANGE and not name.startswith("start_networks.")
            if mine.get(name) != theirs.get(name)
        ]
        if self.config.system != config.system:
            different = [f"system is {self.config.system} there and {config.system} here"]
        if different:
            shown = "; ".join(different[:4]) + ("; ..." if len(different) > 4 else "")
            raise UserError(f"{self.path} holds another run: {shown}: name a new folder with --run")

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder of the checkpoint that `--keep-best` keeps."""
        return self.checkpoints / "best"

    def append(self, line: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=True) + "\n")

    def sync_log(self) -> None:
        """Wait until the disk has `metrics.jsonl`."""
        with open(self.path / "metrics.jsonl", "ab") as file:
            os.fsync(file.fileno())

    def metrics(self, kind: str = "train") -> list[dict[str, Any]]:
        """The lines of one kind of `metrics.jsonl`; a line that a crash tore is left out."""
        file = self.path / "metrics.jsonl"
        return [line for line in _lines(file) if line.get("kind") == kind] if file.exists() else []

    def rewind(self, step: int | None) -> None:
        """Drop what was recorded after the checkpoint of `step`, so that a resumed run has each step once.

        None: there is no checkpoint, and only what is known of the earlier starts stays. What a kill left
        half-written goes too, of the files that only the holder of the run writes.
        """
        for pattern in ("config.json", "metrics.jsonl", "samples/*", "text_encoder"):
            for leftover in self.path.glob(f"{pattern}{TEMPORARY}[0-9]*"):
                _remove(leftover)
        file, last = self.path / "metrics.jsonl", -1 if step is None else step
        if file.exists():
            lines = _lines(file)
            kept = [line for line in lines if line.get("step", 0) <= last]
            if step is None:
                kept = [line for line in lines if line.get("kind") == "start"]
            replace_file(file, "".join(json.dumps(line, allow_nan=True) + "\n" for line in kept).encode())
        for image in (self.path / "samples").glob("[0-9]*.png"):
            if image.stem.isdigit() and int(image.stem) > last:
                image.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder `path`; raises UserError where another process holds it. Death releases it."""
    made = not path.exists()
    lock = FileLock(path / ".lock", timeout=0)
    try:
        make_folder(path)
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"another process is training in {path}: wait for it or name another folder"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot make the run folder {path}: {error.strerror}: name another with --run"
        ) from error
    try:
        yield
    finally:
        if not (path / "config.json").exists():  # a mistake: no run was begun, the place stays as it was
            (path / ".lock").unlink(missing_ok=True)
            with suppress(OSError):
                if made:
                    path.rmdir()
        lock.release()


def _current(file: Path) -> Any:
    """What `config.json` holds, by the names and fields of this version."""
    try:
        values = json.loads(file.read_bytes())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        return values
    values = without_unknown(RunConfig, values, str(file))
    if isinstance(values.get("data"), dict):
        values["data"] = without_unknown(DataOptions, current_data_options(values["data"]), str(file))
    if isinstance(values.get("train"), dict):
        values["train"] = without_unknown(TrainOptions, values["train"], str(file))
    return values


def _lines(file: Path) -> list[dict[str, Any]]:
    lines = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(current_line(line))
    return lines


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def find_runs(folder: Path = Path("runs")) -> list[Path]:
    """Run folders directly under `folder`, newest first."""
    found = [path.parent for path in folder.glob("*/config.json")]
    return sorted(found, key=lambda path: os.stat(path / "config.json").st_mtime, reverse=True)
