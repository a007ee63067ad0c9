"""Writing samples to PNG, folders and .npz, each with its provenance."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.reporting import grids

NUMBERED = re.compile(r"[0-9]{6,}\.png")


def refuse_form(out: Path) -> str:
    """The form of `out`: ".png", ".npz", or "" for a folder; raises UserError for any other ending."""
    form = out.suffix.lower()
    if form not in ("", ".png", ".npz"):
        raise UserError(f"--out {out}: expected a name ending in .png or .npz, or a folder")
    return form


def save_npz(arrays: dict[str, Any], out: Path) -> None:
    """Write `arrays` into the file `out`, at once when they are complete."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    replace_file(out, buffer.getvalue())


def own_images(folder: Path) -> list[Path]:
    """The samples of an earlier command in `folder`; raises UserError where it holds anything else."""
    own = sorted(path for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
    for path in own:
        if not NUMBERED.fullmatch(path.name) or not _is_sample(path):
            raise UserError(
                f"--out {folder}: there is {printable(path.name)} in it, which is no sample of ours: "
                "expected a new or empty folder, or one with samples to replace"
            )
    return own


def _is_sample(path: Path) -> bool:
    try:
        return grids.read_about(path).keys() >= {"run", "index"}
    except UserError:
        return False


def write_folder(
    parts: Iterable[Tensor],
    out: Path,
    about: dict[str, str],
    abouts: Sequence[dict[str, str]],
    surplus: list[Path],
) -> None:
    """One PNG for each sample of `parts`; of the images `surplus` those are removed that were not replaced.

    `about` is written into all, and of `abouts`, if there are any, one into each.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = set()
    for index, image in enumerate(_each(parts)):
        path = out / f"{index:06d}.png"
        own = {"index": str(index)} | (abouts[index] if abouts else {})
        grids.save_png(grids.grid(image, scale=1), path, about | own)
        written.add(path)
    for path in surplus:
        if path not in written:
            path.unlink()


def _each(parts: Iterable[Tensor]) -> Iterator[Tensor]:
    """The samples `[1, channels, height, width]` one by one."""
    for part in parts:
        yield from part.split(1)
