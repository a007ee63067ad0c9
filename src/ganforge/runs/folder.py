"""The run folder, the only interface between training and everything after it.

runs/NAME/  config.json  metrics.jsonl  samples/000500.png  checkpoints/000500/...
            evaluations/  neighbours.png  report.html  text_encoder/
"""

import json
import os
import re
import stat
import sys
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
from ganforge.files.atomic import TEMPORARY, make_folder, remove, remove_leftovers, replace_file
from ganforge.files.reading import kind_of, read_json, read_regular
from ganforge.reporting.log import MOST_STEPS, parse_lines
from ganforge.runs.compatibility import current_data_options, without_unknown
from ganforge.runs.options import TrainOptions
from ganforge.runs.pretrained import PRETRAINED, packaged

LOG, DAMAGED = "metrics.jsonl", "metrics.damaged.jsonl"
_BEGUN = (LOG, DAMAGED, "report.html", "samples", "text_encoder", "config.json")
"""What a training makes before its first checkpoint."""
_LEFTOVER = re.compile(rf"({'|'.join(map(re.escape, _BEGUN))}){re.escape(TEMPORARY)}\d+")
"""What a kill leaves of it half-written."""
SHARED = "model.safetensors"
"""The weights of a folder that `export hub` wrote, in the place of checkpoints."""
_FILES = (
    "config.json",
    SHARED,
    LOG,
    DAMAGED,
    "evaluation.json",
    "neighbours.png",
    "samples.png",
    "report.html",
)
_FOLDERS = (
    "checkpoints",
    "checkpoints/best",
    "samples",
    "evaluations",
    "text_encoder",
    "embeddings",
    "style",
    "vectors",
    "tensorboard",
)


class Origin(BaseModel):
    """Where the weights of an imported run are from: the `kind` of code, and a file by name and SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    file: str
    sha256: str


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
    suggested: dict[str, Any] | None = None
    """What was suggested for this data when the run began; None: a run of 0.2 or before."""
    start_from: str | None = None
    start_networks: dict[str, str] = {}
    """Own network -> the network, run and step that its first weights are from; empty: whatever fitted."""
    start_fields: tuple[str, ...] = ()
    """Fields of `config` whose defaults came from the run `start_from`."""
    places: dict[str, str] = {}
    """`data`, `sources`, `text_encoder`, `start_from` -> the absolute path where it was last seen."""
    origin: Origin | None = None
    """Of weights that were imported, whose data are not known: `fingerprint` is empty."""


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
            remove(leftover)
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
        if not file.exists():
            raise UserError(f"{path} is not a run folder (no config.json): see `ganforge list runs`")
        _check_kinds(path)
        try:
            run = cls(path, RunConfig.model_validate(_current(file)))
            steps = run.config.config.get("steps")
            if type(steps) is not int or not 0 < steps <= MOST_STEPS:
                raise ValueError(f"steps is {str(steps)[:40]!r}, expected a number from 1")
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
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
            remove(self.path / name)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder of the checkpoint that `--keep-best` keeps."""
        return self.checkpoints / "best"

    @property
    def shared(self) -> bool:
        """Whether `export hub` wrote the folder: it has weights and no checkpoint, and cannot be resumed."""
        return (self.path / SHARED).is_file() and not self.checkpoints.exists()

    def append(self, line: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with open(self.path / LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=True) + "\n")

    def sync_log(self) -> None:
        """Wait until the disk has `metrics.jsonl`."""
        with open(self.path / LOG, "ab") as file:
            os.fsync(file.fileno())

    def metrics(self, kind: str = "train") -> list[dict[str, Any]]:
        """The lines of one kind of `metrics.jsonl`; a line that a crash tore is left out."""
        return [line for line in self.lines() if line.get("kind") == kind]

    def lines(self) -> list[dict[str, Any]]:
        """All lines of `metrics.jsonl`, except damaged ones."""
        return self._parsed()[0]

    def _parsed(self) -> tuple[list[dict[str, Any]], list[bytes]]:
        try:
            return parse_lines(read_regular(self.path / LOG))
        except FileNotFoundError:
            return [], []

    def rewind(self, step: int | None) -> int:
        """Drop what was recorded after the checkpoint of `step`, so that a resumed run has each step once.

        None: there is no checkpoint, and only what is known of the earlier starts stays. What a kill left
        half-written goes too. Damaged lines move to `metrics.damaged.jsonl`; returns how many.
        """
        self.remove_leftovers()
        file, last = self.path / LOG, -1 if step is None else step
        lines, damaged = self._parsed()
        if damaged:
            aside = self.path / DAMAGED
            earlier = read_regular(aside) if aside.exists() else b""
            known = earlier.split(b"\n")  # killed after this, before the next
            new = [text for text in damaged if text not in known]
            replace_file(aside, earlier + b"".join(text + b"\n" for text in new))
        if file.exists():
            kept = [line for line in lines if line["step"] <= last]
            if step is None:
                kept = [line for line in lines if line["kind"] == "start"]
            replace_file(file, "".join(json.dumps(line, allow_nan=True) + "\n" for line in kept).encode())
        for image in (self.path / "samples").glob("[0-9]*.png"):
            if image.stem.isdigit() and int(image.stem) > last:
                image.unlink()
        return len(damaged)

    def remove_leftovers(self, held: bool = True) -> None:
        """Remove what killed processes left half-written; `held`: this one holds the folder.

        A report or an evaluation may be another process's, which lives.
        """
        for name in ("config.json", LOG, DAMAGED, "text_encoder", "samples/*") if held else ():
            for leftover in self.path.glob(f"{name}{TEMPORARY}[0-9]*"):
                remove(leftover)
        for folder in (self.path, self.path / "evaluations"):
            remove_leftovers(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder `path`; raises UserError where another process holds it. Death releases it."""
    made = not path.exists()
    lock = FileLock(path / ".lock", timeout=0.5)  # `is_held` holds it for a moment
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


def is_held(path: Path) -> bool:
    """Whether a process is training in the run folder `path`; changes nothing there."""
    if sys.platform == "win32":
        try:
            with FileLock(path / ".lock", timeout=0):
                return False
        except Timeout:
            return True
    import fcntl  # not on Windows

    try:
        descriptor = os.open(path / ".lock", os.O_RDONLY | os.O_NONBLOCK)  # a named pipe is not waited for
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _check_kinds(run: Path) -> None:
    """Raise UserError where a part of the run folder is a link out of it, or neither file nor folder.

    Reading such a part could wait for ever or fill the memory, and writing it would change other files.
    """
    root = run.resolve()
    for name in (*_FILES, *_FOLDERS):
        path = run / name
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                if not path.resolve().is_relative_to(root):
                    raise UserError(f"{path} is a link out of the run folder: put what it names in its place")
                status = os.stat(path)
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:  # a link to itself
            raise UserError(f"{path} cannot be read: {error}") from error
        expected = stat.S_ISDIR if name in _FOLDERS else stat.S_ISREG
        if not expected(status.st_mode):
            what = "a file" if stat.S_ISREG(status.st_mode) else kind_of(status.st_mode)
            wanted = "a folder" if name in _FOLDERS else "a file"
            raise UserError(f"{path} is {what}, expected {wanted}: remove it")


def _current(file: Path) -> Any:
    """What `config.json` holds, by the names and fields of this version."""
    values = read_json(file)
    if not isinstance(values, dict):
        return values
    values = without_unknown(RunConfig, values, str(file))
    if isinstance(values.get("data"), dict):
        values["data"] = without_unknown(DataOptions, current_data_options(values["data"]), str(file))
    if isinstance(values.get("train"), dict):
        values["train"] = without_unknown(TrainOptions, values["train"], str(file))
    return values


def runs_in(folder: Path) -> list[Path]:
    """The run in `folder`, or those directly under it, such as seed-2 and seed-10, in this order."""
    if (folder / "config.json").is_file():
        return [folder]
    runs = [path.parent for path in folder.glob("*/config.json")]
    return sorted(
        runs, key=lambda run: [int(w) if w.isdecimal() else w for w in re.split("([0-9]+)", run.name)]
    )


def find_runs(folder: Path = Path("runs"), nested: bool = False) -> list[Path]:
    """Run folders directly under `folder`, newest first; `nested`: those one folder below, of seeds, too."""
    found = [path.parent for path in folder.glob("*/config.json")]
    if nested:
        places = [path for path in folder.glob("[!.]*") if path.is_dir()]  # not those of the studio's trash
        found = [run for path in places for run in runs_in(path)]
    return sorted(found, key=_changed, reverse=True)


def _changed(path: Path) -> float:
    try:
        return os.stat(path / "config.json").st_mtime
    except OSError:  # moved away since it was found
        return 0.0
