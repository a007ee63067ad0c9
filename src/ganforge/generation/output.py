"""Writing results to an image file, an .npz or a folder of PNGs, each with its provenance."""

import hashlib
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

from ganforge.data import alpha
from ganforge.data.batch import to_uint8
from ganforge.data.levels import Levels, from_full, parse_levels, show_levels
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.files.images import FORMATS, save_image
from ganforge.files.png import write_png
from ganforge.files.provenance import check_replaceable, read_provenance
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights

IMAGES = tuple(FORMATS)
NUMBERED = re.compile(r"[0-9]{6,}\.png")
CHANGES_WITH_TRAINING = {"step", "weights", "model"}
HASH_DIGITS = 16
"""Of a SHA-256, enough to tell any two apart that are not made to be alike."""


def provenance(
    trained: Trained, weights: Weights, command: str, seed: int | None = None, truncation: float | None = None
) -> dict[str, str]:
    """Where a result comes from: the texts that are stored in it."""
    about = {
        "command": command,
        "run": trained.run.path.name,
        "system": trained.run.config.system,
        "step": str(trained.step),
        "model": trained.hash_weights(weights)[:HASH_DIGITS],
    }
    if seed is not None:
        about["seed"] = str(seed)
    if truncation is not None:
        about["truncation"] = f"{truncation:g}"
    if (levels := parse_levels(trained.run.config.data.range)) is not None:
        about["range"] = show_levels(levels)  # what is black and what is white
    return about | {"weights": trained.resolve_weights(weights)}


def hash_latents(latents: Tensor) -> str:
    """The beginning of a SHA-256 of latents in float32: what tells one draw from another."""
    return hashlib.sha256(latents.float().cpu().contiguous().numpy().tobytes()).hexdigest()[:HASH_DIGITS]


def to_arrays(images: Tensor) -> NDArray[np.uint8]:
    """`images` `[count, channels, height, width]` in [-1, 1] as uint8 `[count, height, width, channels]`.

    Those with alpha become as files have them, not premultiplied.
    """
    if images.shape[1] == alpha.CHANNELS:
        images = alpha.straight(images)
    pixels: NDArray[np.uint8] = to_uint8(images).permute(0, 2, 3, 1).numpy()
    return pixels


def stored_levels(trained: Trained) -> Levels | None:
    """The range of a run whose images are stored with 16 bits and go back to such files; else None."""
    levels, bits = parse_levels(trained.run.config.data.range), trained.run.config.spec.bits
    return levels if levels is not None and bits == 16 and levels[0] >= 0 and levels[1] <= 65535 else None


def to_stored(images: Tensor, levels: Levels) -> NDArray[np.uint16]:
    """`images` in [-1, 1] as `to_arrays` orders them, with values between `levels`."""
    full = images.clamp(-1, 1).add(1).mul(65535 / 2).round().permute(0, 2, 3, 1).numpy().astype(np.uint16)
    stored: NDArray[np.uint16] = from_full(full, levels)
    return stored


def listed(endings: Sequence[str]) -> str:
    """`endings` in words: ".png, .jpg or .gif"."""
    return " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))


def ending_of(path: Path) -> str:
    """The ending of a file's name in lower case; "" for a folder, also for one that is called v1.5."""
    ending = path.suffix.lower()
    return "" if ending[1:].isdigit() else ending


@contextmanager
def open_output(
    path: Path, *endings: str, about: dict[str, str] | None = None, overwrite: bool = False
) -> Iterator["Output"]:
    """The output `path`: a file with one of `endings`, or a folder.

    A file that this package has written is replaced, and so is a folder of samples of the same draw, which
    `about` describes; others only with `overwrite`, which leaves files of other names in a folder alone.
    Raises UserError for another ending, for what must not be replaced, and where writing fails.
    """
    form = ending_of(path)
    if form not in ("", *endings):
        raise UserError(f"--out {path}: expected a name ending in {listed(endings)}, or a folder")
    try:
        earlier: dict[Path, dict[str, str]] = {}
        replaced = check_replaceable(path, overwrite) if form else ""
        if not form:
            earlier = _earlier_samples(path, overwrite)
            _check_same_draw(path, earlier, [about or {}] * len(earlier), overwrite)
        yield Output(path, form, earlier, replaced, overwrite)
    except OSError as error:
        raise UserError(f"--out {path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Output:
    """One file, whose ending is `form`, or a folder (`form` "") with `earlier` samples and their texts.

    `replaced` says what happens to an earlier file, for the end of a line to the user.
    """

    path: Path
    form: str
    earlier: dict[Path, dict[str, str]]
    replaced: str = ""
    overwrite: bool = False

    @property
    def is_image(self) -> bool:
        """Whether one image is written, as a PNG, JPEG, WebP or GIF."""
        return self.form in FORMATS

    def write_image(self, image: Image.Image, about: dict[str, str], background: str = "white") -> None:
        """Write `image` in the format of the ending, on `background` where the format has no alpha."""
        save_image(image, self.path, about, background=background)

    def write_bytes(self, content: bytes) -> None:
        """Write the file, at once when it is complete."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, content)

    def write_arrays(self, about: dict[str, str], **arrays: NDArray[Any] | None) -> None:
        """Write the .npz of those `arrays` that there are, and of `about` as JSON."""
        self.write_bytes(encode_arrays(about, **arrays))

    def write_folder(
        self,
        parts: Iterable[Tensor],
        about: dict[str, str],
        each: Sequence[dict[str, str]] = (),
        levels: Levels | None = None,
    ) -> str:
        """Write one PNG for each sample of `parts`; with `overwrite`, no other earlier sample remains.

        `about` is stored in all of them, each row of `each`, if any, in one. With `levels` the files have 16
        bits and values between them. Returns a line for the user.
        """
        if each:
            _check_same_draw(self.path, self.earlier, [about | own for own in each], self.overwrite)
        self.path.mkdir(parents=True, exist_ok=True)
        written = []
        for index, image in enumerate(sample for part in parts for sample in part.split(1)):
            file = self.path / f"{index:06d}.png"
            own = {"index": str(index)} | (each[index] if each else {})
            if levels is None:
                save_image(grids.grid(image, scale=1, transparent=True), file, about | own)
            else:
                write_png(file, image.shape[3], image.shape[2], to_stored(image, levels), about | own)
            written.append(file)
        replaced = set(self.earlier) if self.overwrite else set(self.earlier).intersection(written)
        for file in replaced.difference(written):
            file.unlink()
        said = f", replaced {len(replaced)} earlier ones" if replaced else ""
        return f"{self.path}: {len(written)} images{said}"


def encode_arrays(about: dict[str, str], **arrays: NDArray[Any] | None) -> bytes:
    """An .npz of those `arrays` that there are, and of `about` as JSON."""
    present: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **(present | {"about": np.array(json.dumps(about))}))
    return buffer.getvalue()


def _earlier_samples(folder: Path, overwrite: bool) -> dict[Path, dict[str, str]]:
    """The samples of an earlier command in `folder`; raises UserError where it holds anything else."""
    files = sorted(path for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
    samples = {}
    for path in files:
        about = read_provenance(path) if NUMBERED.fullmatch(path.name) and path.is_file() else {}
        if about.keys() >= {"run", "index"}:
            samples[path] = about
        elif not overwrite:
            raise UserError(
                f"--out {folder} holds {printable(path.name)}, which is not a sample: expected a new or "
                "empty folder, or --overwrite, which leaves files of other names alone"
            )
    return samples


def _check_same_draw(
    folder: Path, earlier: dict[Path, dict[str, str]], abouts: Sequence[dict[str, str]], overwrite: bool
) -> None:
    """Raise UserError where `earlier` samples are of another draw than the new ones, which `abouts` describe.

    The same command again, after more training too, replaces its own samples.
    """
    for earlier_about, about in zip(earlier.values(), abouts, strict=False):
        compared = (about.keys() | {"truncation"}) - CHANGES_WITH_TRAINING
        same = all(earlier_about.get(key) == about.get(key) for key in compared)
        if not same and not overwrite:
            command = earlier_about.get("command") or f"run {earlier_about['run']}"
            raise UserError(
                f"--out {folder} holds {len(earlier)} samples of another draw ({printable(command)}): "
                "name another folder, or replace them with --overwrite"
            )
