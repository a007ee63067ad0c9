"""The run folder, the only interface between training and everything after it.

runs/NAME/  config.json  metrics.jsonl  samples/000500.png  checkpoints/000500/...
            evaluation.json  neighbours.png  report.html  text_encoder/
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ganforge.data.batch import DataSpec
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.files.atomic import TEMPORARY, replace_file

Metric = Literal[
    "fid", "kid", "precision", "recall", "coverage", "frechet_distance", "modes", "high_quality",
    "nll_nats", "nll_bits_per_dim", "elbo_nats",
]  # fmt: skip
HIGHER_IS_BETTER: dict[Metric, bool] = {
    "fid": False,
    "kid": False,
    "precision": True,
    "recall": True,
    "coverage": True,
    "frechet_distance": False,
    "modes": True,
    "high_quality": True,
    "nll_nats": False,
    "nll_bits_per_dim": False,
    "elbo_nats": True,
}
"""What `--keep-best` can choose by."""


class TrainOptions(BaseModel):
    """What the engine can be told, whatever the system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: NonNegativeInt = Field(
        0, lt=2**64, description="Seed of the weights, the data's order and the latents."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto: bf16 where it is measured to be faster, else fp32; settled when a run begins.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train.")
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compile each network; auto: only where it was measured to pay, so far nowhere.",
    )
    checkpoint_every: PositiveInt = Field(500, description="Steps between checkpoints.")
    sample_every: PositiveInt = Field(500, description="Steps between sample pictures.")
    log_every: PositiveInt = Field(50, description="Steps between lines of metrics.jsonl.")
    keep: PositiveInt = Field(2, description="Newest checkpoints that are kept.")
    evaluate_every: NonNegativeInt = Field(
        0, description="Steps between evaluations of samples, into metrics.jsonl and the report; 0: none."
    )
    evaluate_samples: int = Field(5_000, ge=2, description="Samples of each such evaluation.")
    keep_best: Metric | None = Field(
        None, description="Keep the checkpoint that is best by this metric of the evaluations too."
    )
    on_nan: Literal["stop", "skip", "rollback"] = Field(
        "stop",
        description="What to do about NaN or infinity: stop; skip the updates that have it, which reads "
        "from the device at every update, and stop after 100 in a row; or rollback to the newest checkpoint "
        "and go on with other random numbers, at most 3 times from each.",
    )

    @model_validator(mode="after")
    def _best_needs_evaluations(self) -> "TrainOptions":
        if self.keep_best is not None and not self.evaluate_every:
            raise ValueError(f"--keep-best {self.keep_best} needs evaluations: add --evaluate-every 1000")
        return self


# What the same run may be continued with; everything else is part of what the run is.
FREE_TO_CHANGE = ("config.steps", "train.device", "train.compile", "train.checkpoint_every",
                  "train.sample_every",
                  "train.log_every", "train.keep", "train.evaluate_every", "train.evaluate_samples",
                  "train.keep_best", "train.on_nan", "ganforge", "start_from")  # fmt: skip


PRETRAINED = "pretrained:"


def packaged_runs() -> dict[str, Path]:
    """The run folders that came with the package, by name."""
    folder = Path(str(resources.files("ganforge"))) / "pretrained"
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/config.json"))}


def packaged(name: str) -> Path:
    """The run folder `name` that came with the package; raises UserError with those there are."""
    found = packaged_runs()
    if name not in found:
        raise UserError(f"no pretrained run {name[:80]!r}: this version has {', '.join(found) or 'none'}")
    return found[name]


class RunConfig(BaseModel):
    """All that a run was asked for and the interface of its data: `config.json`."""

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
        """Make the folder and write `config.json`; raises UserError where it holds another run's files."""
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file, not a run folder: name another with --run")
        # What was made just before this call.
        own = (".lock",) if config.data.text_encoder is None else (".lock", "text_encoder")
        foreign = sorted(p.name for p in path.iterdir() if p.name not in own) if path.exists() else []
        if foreign:
            raise UserError(
                f"{path} is not a run folder and not empty ({foreign[0]}): name another with --run"
            )
        path.mkdir(parents=True, exist_ok=True)
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
            run = cls(path, RunConfig.model_validate_json(file.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(f"{file} cannot be read: {place or 'JSON'}: {first['msg']}") from error
        run.packaged = named
        return run

    def write_config(self, config: RunConfig) -> None:
        """Replace `config.json`."""
        self.config = config
        replace_file(self.path / "config.json", (config.model_dump_json(indent=1) + "\n").encode())

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

    def metrics(self, kind: str = "train") -> list[dict[str, Any]]:
        """The lines of one kind of `metrics.jsonl`; a line that a crash tore is left out."""
        file = self.path / "metrics.jsonl"
        return [line for line in _lines(file) if line.get("kind") == kind] if file.exists() else []

    def rewind(self, step: int) -> None:
        """Drop what was recorded after `step`, so that a resumed run has each step once.

        What a kill left half-written goes too, of the files that only the holder of the run writes.
        """
        for pattern in ("config.json", "metrics.jsonl", "samples/*"):
            for leftover in self.path.glob(f"{pattern}{TEMPORARY}[0-9]*"):
                leftover.unlink()
        file = self.path / "metrics.jsonl"
        if file.exists():
            kept = [line for line in _lines(file) if line.get("step", 0) <= step]
            replace_file(file, "".join(json.dumps(line, allow_nan=True) + "\n" for line in kept).encode())
        for picture in (self.path / "samples").glob("[0-9]*.png"):
            if picture.stem.isdigit() and int(picture.stem) > step:
                picture.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder `path`; raises UserError where another process holds it. Death releases it."""
    made = not path.exists()
    lock = FileLock(path / ".lock", timeout=0)
    try:
        path.mkdir(parents=True, exist_ok=True)
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


def _lines(file: Path) -> list[dict[str, Any]]:
    lines = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def find_runs(folder: Path = Path("runs")) -> list[Path]:
    """Run folders directly under `folder`, newest first."""
    found = [path.parent for path in folder.glob("*/config.json")]
    return sorted(found, key=lambda path: os.stat(path / "config.json").st_mtime, reverse=True)
