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
from safetensors import SafetensorError
from torch import Tensor

from ganforge.errors import UserError
from ganforge.files.atomic import TEMPORARY, make_folder, sync_folder, write_synced


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: its tensors by file and name, and its JSON state."""

    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


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
        f"{stem}.safetensors": safetensors.torch.save(
            {k: t.detach().cpu().contiguous() for k, t in named.items()}
        )
        for stem, named in tensors.items()
    }
    contents["state.json"] = _json_bytes(state)
    manifest = {name: {"bytes": len(data), "sha256": _hash(data)} for name, data in contents.items()}
    contents["manifest.json"] = _json_bytes(manifest)  # last: its presence says that the others are complete

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
    """Read and verify the checkpoint folder `path`; raises UserError naming the file that is damaged."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        expected = {str(name): (entry["bytes"], entry["sha256"]) for name, entry in manifest.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"checkpoint {path} is damaged in manifest.json") from error
    tensors: dict[str, dict[str, Tensor]] = {}
    state: dict[str, Any] = {}
    for name, seal in expected.items():
        try:
            data = (path / Path(name).name).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise UserError(f"checkpoint {path} is damaged: {name!r} cannot be read") from error
        if (len(data), _hash(data)) != seal:
            raise UserError(f"checkpoint {path} is damaged in {name}")
        try:
            if name == "state.json":
                state = json.loads(data)
            else:
                tensors[name.removesuffix(".safetensors")] = safetensors.torch.load(data)
        except (ValueError, RecursionError, SafetensorError) as error:
            raise UserError(f"checkpoint {path} is damaged: {name!r} cannot be understood") from error
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise UserError(f"checkpoint {path} is damaged: it has no state.json with a step")
    return Checkpoint(path, tensors, state)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def committed(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first; nothing in them is read."""
    if not folder.is_dir():
        return []
    folders = (path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())
    return sorted(folders, key=lambda path: int(path.name), reverse=True)


def _remove_leftovers(folder: Path) -> None:
    """Delete what a crash left half-written; safe because the run folder is locked."""
    for path in folder.glob(f"*{TEMPORARY}*"):
        shutil.rmtree(path)
