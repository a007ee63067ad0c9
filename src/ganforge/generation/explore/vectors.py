"""Named directions between latents, kept with the model that they belong to."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.runs.folder import Run
from ganforge.runs.trained import Trained, Weights

FOLDER, ENDING = "vectors", ".safetensors"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
LARGEST = 64_000_000  # bytes


@dataclass(frozen=True)
class Vector:
    """A direction `[...]` of the shape of one latent, and what it is."""

    values: Tensor
    about: Mapping[str, str]


def path_of(trained: Trained, name: str) -> Path:
    """Where the vector `name` is: a file, where the name ends in .safetensors, else in the run's folder."""
    if name.endswith(ENDING):
        return Path(name).expanduser()
    if not NAME.fullmatch(name):
        raise UserError(
            f"{printable(name)[:80]!r} is no name of a vector: expected a letter, then letters and digits"
        )
    return trained.run.path / FOLDER / f"{name}{ENDING}"


def vector_names(run: Run) -> list[str]:
    """The names of the vectors that are kept in the folder of `run`."""
    return [printable(file.stem) for file in sorted((run.path / FOLDER).glob(f"*{ENDING}"))]


def check_place(trained: Trained, name: str, overwrite: bool = False) -> Path:
    """The file of a vector `name` that is to be saved.

    Raises UserError where none can be, and, without `overwrite`, where another kind of file has its name.
    """
    path = path_of(trained, name)
    if trained.run.packaged and not name.endswith(ENDING):
        raise UserError(f"{trained.run.path} came with the package: give a file, --save {name}{ENDING}")
    if os.path.lexists(path) and not (overwrite or _is_vector(path)):
        raise UserError(
            f"--save {printable(str(path))} exists and is no vector: name another file, or replace it with "
            "--overwrite"
        )
    return path


def save_vector(
    trained: Trained,
    name: str,
    values: Tensor,
    about: Mapping[str, str],
    weights: Weights = "ema",
    overwrite: bool = False,
) -> Path:
    """Keep `values`, a direction of `weights`, under `name`; returns the file.

    Raises UserError as `check_place`, and where the file cannot be written.
    """
    path = check_place(trained, name, overwrite)
    text = {"model": trained.hash_weights(weights), "system": trained.run.config.system, **about}
    content = save({"vector": values.float().contiguous()}, metadata={"ganforge": json.dumps(text)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise UserError(f"--save {printable(name)}: {error.strerror or error}") from error
    return path


def load_vector(trained: Trained, name: str, weights: Weights = "ema") -> Vector:
    """The vector `name`; raises UserError where there is none, or it belongs to other weights."""
    path = path_of(trained, name)
    if not path.is_file():
        known = ", ".join(vector_names(trained.run)) or "none"
        raise UserError(
            f"no vector {printable(name)}: this run has {known}; `ganforge explore "
            "arithmetic RUN ... --save NAME` makes one"
        )
    vector, shape = _read(path), trained.draw_latents(1).shape[1:]
    other = vector.about.get("model") != trained.hash_weights(weights)
    if other or vector.values.shape != shape or not vector.values.isfinite().all():
        raise UserError(
            f"{path} belongs to another model ({vector.about.get('system', 'unknown')}), where the same "
            "numbers mean other things: make it again with this run"
        )
    return vector


def _read(path: Path) -> Vector:
    """The vector in a file; raises UserError for any other file."""
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than any vector of latents")
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("ganforge", "{}"))
            values = file.get_tensor("vector")
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a vector: {printable(str(error))[:200]}") from error
    return Vector(values, {str(k): str(v) for k, v in about.items()} if isinstance(about, dict) else {})


def _is_vector(path: Path) -> bool:
    try:
        _read(path)
    except UserError:
        return False
    return True
