"""The commit protocol: a checkpoint is either complete and verified, or it is not there.

A checkpoint folder holds `*.safetensors`, `state.json` and `manifest.json` (sizes and SHA-256 of the others).
It is written under a temporary name, every file is fsynced, the manifest comes last, the folder is renamed,
the parent is fsynced, and only then are older checkpoints deleted. Nothing is ever unpickled.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)
from safetensors import SafetensorError
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.files.atomic import TEMPORARY, make_folder, remove, sync_folder, write_synced
from ganforge.files.reading import parse_json, read_json, read_regular
from ganforge.reporting.log import MOST_STEPS

LEFT_OUT = "left_out"
"""In a checkpoint's state: the names of networks whose weights were not kept."""
STATE, MANIFEST, TENSORS = "state.json", "manifest.json", ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: its tensors by file and name, and its JSON state."""

    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class _Meter(BaseModel):
    """Sums of metrics since the last line of the log."""

    model_config = ConfigDict(extra="forbid", strict=True)
    count: NonNegativeInt
    sums: dict[str, FiniteFloat]


class _Best(BaseModel):
    """The best score so far, by the metric of --keep-best."""

    model_config = ConfigDict(extra="forbid", strict=True)
    metric: str
    value: FiniteFloat


class _State(BaseModel):
    """`state.json`: what a checkpoint holds besides tensors. Those of a packaged run have little of it."""

    model_config = ConfigDict(extra="ignore", strict=True)
    step: NonNegativeInt = Field(le=MOST_STEPS)
    images: NonNegativeInt = 0
    param_groups: dict[str, list[dict[str, Any]]] = {}
    meter: _Meter | None = None
    best: _Best | None = None
    left_out: list[str] = []

    @model_validator(mode="after")
    def _counts_steps(self) -> "_State":
        if self.meter is not None and self.meter.count > self.step:
            raise ValueError("meter counts more steps than were done")
        return self


class _Seal(BaseModel):
    """An entry of `manifest.json`."""

    model_config = ConfigDict(extra="ignore", strict=True)
    bytes: NonNegativeInt
    sha256: str


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=True) + "\n").encode()


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int
) -> Path:
    """Commit a checkpoint of `step` under `folder` and delete all but the newest `keep`.

    `tensors` maps file stems to named tensors. Equal content gives equal bytes. Raises UserError where the
    disk is full or not writable; what was committed before stays.
    """
    contents = {
        f"{stem}{TENSORS}": safetensors.torch.save(
            {k: t.detach().cpu().contiguous() for k, t in named.items()}
        )
        for stem, named in tensors.items()
    }
    contents[STATE] = _json_bytes(state)
    manifest = {name: {"bytes": len(data), "sha256": _hash(data)} for name, data in contents.items()}
    contents[MANIFEST] = _json_bytes(manifest)  # last: its presence says that the others are complete

    final = folder / f"{step:06d}"
    temporary = folder / f"{final.name}{TEMPORARY}{os.getpid()}"
    try:
        make_folder(folder)
        _remove_leftovers(folder)
        temporary.mkdir()
        for name, data in contents.items():
            write_synced(temporary / name, data)
        sync_folder(temporary)
        if final.exists():  # a damaged one of the same step, or one that a crash left complete but unused
            shutil.rmtree(final)
        os.rename(temporary, final)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _disk_error(error, final, sum(map(len, contents.values()))) from error
    folders = committed(folder)
    newer = [path for path in folders if int(path.name) > step]  # damaged: this training passed over them
    for old in newer + folders[len(newer) + keep :]:
        shutil.rmtree(old)
    return final


def _disk_error(error: OSError, path: Path, size: int) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        why = f"no room for the {size / 1e6:.1f} MB of {path}: free some space"
    else:
        why = f"cannot write {path} ({error.strerror or error})"
    return UserError(f"{why} and type the same command again; earlier checkpoints are intact")


def delete_older(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints under `folder`, and what a crash left half-written."""
    _remove_leftovers(folder)
    for old in committed(folder)[keep:]:
        shutil.rmtree(old)


def load_newest(folder: Path, warn: list[str] | None = None) -> Checkpoint | None:
    """The newest checkpoint under `folder` whose files match their manifest, or None where there is none.

    Each damaged one is passed over and named, with its damaged file, in a line appended to `warn`.
    Raises UserError where there are checkpoints and all of them are damaged.
    """
    problems: list[str] = []
    for path in committed(folder):
        try:
            return load_checkpoint(path)
        except UserError as error:
            problems.append(str(error))
            if warn is not None:
                warn.append(f"{error}; using the previous one")
    if problems:
        raise UserError(f"no usable checkpoint: {'; '.join(problems)}")
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify the checkpoint folder `path`; raises UserError naming the file that is damaged.

    Every file is what the manifest says, of its size and SHA-256, before anything in it is believed.
    """
    tensors: dict[str, dict[str, Tensor]] = {}
    state: dict[str, Any] | None = None
    for name, seal in _manifest(path).items():
        shown = printable(name)[:100]
        try:
            data = read_regular(path / Path(name).name, seal.bytes)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            why = error.strerror if isinstance(error, OSError) and error.strerror else "no such file"
            raise UserError(f"checkpoint {path} is damaged: {shown} cannot be read ({why})") from error
        if (len(data), _hash(data)) != (seal.bytes, seal.sha256):
            raise UserError(f"checkpoint {path} is damaged in {shown}")
        try:
            if name == STATE:
                state = parse_json(data)
                _State.model_validate(state)
            else:
                tensors[name.removesuffix(TENSORS)] = safetensors.torch.load(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise UserError(f"checkpoint {path} is damaged: {shown}: {where}: {first['msg']}") from error
        # A type of numbers that torch lacks is a KeyError of safetensors.
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
            raise UserError(f"checkpoint {path} is damaged: {shown} cannot be understood") from error
    if state is None:
        raise UserError(f"checkpoint {path} is damaged: it has no {STATE} with a step")
    return Checkpoint(path, tensors, state)


def load_shared(path: Path) -> Checkpoint:
    """Read the weights that `export hub` wrote: a safetensors file that holds its state as metadata.

    Raises UserError where it is damaged, or something else.
    """
    try:
        data = read_regular(path)
        tensors = safetensors.torch.load(data)  # which checks the header that is read next
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
        state = parse_json(header["__metadata__"]["ganforge"].encode())
        _State.model_validate(state)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = printable(" ".join(str(error).split()))[:120]
        raise UserError(
            f"{path} is damaged or was not written by `ganforge export hub` ({reason}): copy it again"
        ) from error
    return Checkpoint(path, {"system": tensors, "average": {}}, state)


def _manifest(path: Path) -> dict[str, _Seal]:
    try:
        manifest = read_json(path / MANIFEST)
        return {str(name): _Seal.model_validate(entry) for name, entry in manifest.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"checkpoint {path} is damaged in {MANIFEST}") from error


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def committed(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first; nothing in them is read."""
    if not folder.is_dir():
        return []
    folders = (
        path
        for path in folder.iterdir()
        if path.name.isascii() and path.name.isdecimal() and path.is_dir() and not path.is_symlink()
    )
    return sorted(folders, key=lambda path: int(path.name), reverse=True)


def _remove_leftovers(folder: Path) -> None:
    """Delete what a crash left half-written; safe because the run folder is locked."""
    for path in folder.glob(f"*{TEMPORARY}*"):
        remove(path)
