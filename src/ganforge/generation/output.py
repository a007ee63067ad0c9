"""Writing results to a PNG, an .npz or a folder of PNGs, each with its provenance."""

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganforge.data.batch import to_uint8
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights

NUMBERED = re.compile(r"[0-9]{6,}\.png")


def provenance(trained: Trained, weights: Weights, command: str, seed: int | None = None) -> dict[str, str]:
    """Where a result comes from: the texts that are stored in it."""
    about = {
        "command": command,
        "run": trained.run.path.name,
        "system": trained.run.config.system,
        "step": str(trained.step),
    }
    if seed is not None:
        about["seed"] = str(seed)
    return about | {"weights": trained.resolve_weights(weights)}


def to_arrays(images: Tensor) -> NDArray[np.uint8]:
    """`images` `[count, channels, height, width]` in [-1, 1] as uint8 `[count, height, width, channels]`."""
    pixels: NDArray[np.uint8] = to_uint8(images).permute(0, 2, 3, 1).numpy()
    return pixels


@contextmanager
def open_output(path: Path, *endings: str) -> Iterator["Output"]:
    """The output `path`: a file with one of `endings`, or a folder.

    Raises UserError for another ending, for a folder with foreign files, and where writing fails.
    """
    form = path.suffix.lower()
    if form not in ("", *endings):
        listed = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        raise UserError(f"--out {path}: expected a name ending in {listed}, or a folder")
    try:
        yield Output(path, form, () if form else tuple(_earlier_samples(path)))
    except OSError as error:
        raise UserError(f"--out {path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Output:
    """One file, whose ending is `form`, or a folder (`form` "") with the samples of an `earlier` command."""

    path: Path
    form: str
    earlier: tuple[Path, ...]

    def write_image(self, image: Image.Image, about: dict[str, str]) -> None:
        """Write `image` as a PNG."""
        grids.save_png(image, self.path, about)

    def write_bytes(self, content: bytes) -> None:
        """Write the file, at once when it is complete."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, content)

    def write_arrays(self, about: dict[str, str], **arrays: NDArray[Any] | None) -> None:
        """Write the .npz of those `arrays` that there are, and of `about` as JSON."""
        present: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **(present | {"about": np.array(json.dumps(about))}))
        self.write_bytes(buffer.getvalue())

    def write_folder(
        self, parts: Iterable[Tensor], about: dict[str, str], each: Sequence[dict[str, str]] = ()
    ) -> str:
        """Write one PNG for each sample of `parts`, and remove earlier samples that are not replaced.

        `about` is stored in all of them, each row of `each`, if any, in one. Returns a line for the user.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        written = []
        for index, image in enumerate(sample for part in parts for sample in part.split(1)):
            file = self.path / f"{index:06d}.png"
            own = {"index": str(index)} | (each[index] if each else {})
            grids.save_png(grids.grid(image, scale=1), file, about | own)
            written.append(file)
        for file in set(self.earlier).difference(written):
            file.unlink()
        return f"{self.path}: {len(written)} images"


def _earlier_samples(folder: Path) -> list[Path]:
    """The samples of an earlier command in `folder`; raises UserError where it holds anything else."""
    files = sorted(path for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
    for path in files:
        if not NUMBERED.fullmatch(path.name) or not _is_sample(path):
            raise UserError(
                f"--out {folder} holds {printable(path.name)}, which is not a sample: "
                "expected a new or empty folder, or one with samples to replace"
            )
    return files


def _is_sample(path: Path) -> bool:
    try:
        return grids.read_about(path).keys() >= {"run", "index"}
    except UserError:
        return False
