"""Translate or enlarge image files of any size, keeping their bit depth and transparency."""

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageColor
from torch import Tensor

from ganforge.data.bicubic import resize
from ganforge.data.decode import Unreadable, Whole, decode_exactly
from ganforge.data.derived_pairs import LUMA
from ganforge.data.pairs import open_storage
from ganforge.data.sources.storage import is_image_name, is_unsafe, read_regular
from ganforge.errors import UserError, printable
from ganforge.files.png import read_text, write_png
from ganforge.generation.output import provenance
from ganforge.generation.tiles import Translate, bands
from ganforge.runs.trained import Trained, Weights, load
from ganforge.system import Tiling, Translates

DEFAULT_TILE = 160


@dataclass(frozen=True)
class Applied:
    """The files written, and the images skipped: name -> reason."""

    written: tuple[Path, ...]
    skipped: dict[str, str]


@dataclass(frozen=True)
class _Job:
    """An image, the function that reads it, and the file to write."""

    name: str
    read: Callable[[], bytes]
    out: Path


def apply(
    run: str | Path | Trained,
    images: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    weights: Weights = "ema",
    tile: int = DEFAULT_TILE,
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Applied:
    """Translate or enlarge `images`, an image, a folder or a .zip, with a run of pix2pix, srresnet or srgan.

    `out` ends in .png for one image; else it is a folder, whose files have the names of the images with the
    ending .png. A result is upright and has the bit depth and alpha of its image. Images larger than `tile`
    pixels a side are processed in tiles; those that cannot be read are skipped. Earlier results are replaced
    atomically. Raises UserError where other files are in the way, and where nothing could be read.
    """
    trained = run if isinstance(run, Trained) else load(run)
    tiling = tiling_of(trained)
    jobs = _jobs(str(images), Path(out))
    _refuse_own_place(Path(images).expanduser(), jobs)
    _refuse_foreign(jobs)
    about = provenance(trained, weights, command, seed)
    written, skipped = list[Path](), dict[str, str]()
    for job in jobs:
        say(printable(job.name))
        try:
            image = decode_exactly(job.read())
            translate = translator(trained, len(image.colours), seed, weights)
            _write(image, translate, tiling, job, tile, trained.run.config.data.background, about)
            written.append(job.out)
        except Unreadable as error:
            skipped[job.name] = str(error)
        except OSError as error:
            raise UserError(f"--out {printable(str(job.out))}: {error.strerror or error}") from error
    if not written:
        first = "".join(f": {printable(name)} ({why})" for name, why in list(skipped.items())[:1])
        raise UserError(f"{printable(str(images))} holds no image that this run can take{first}")
    return Applied(tuple(written), skipped)


def tiling_of(trained: Trained) -> Tiling:
    """How the system of a run processes images of any size; raises UserError where it does not."""
    if not isinstance(trained.system, Translates):
        raise UserError(
            f"{trained.run.config.system} translates no images: use a run of pix2pix, srresnet or srgan"
        )
    return trained.system.tiling


def translator(trained: Trained, channels: int, seed: int, weights: Weights) -> Translate:
    """The run's translation of tiles of an image with 1 or 3 `channels`.

    A run that enlarges colour images enlarges a grey one as colour and returns it grey; a colour image
    becomes grey for a run of grey sources. Raises `Unreadable` for a grey image where the run translates
    colour images.
    """
    spec = trained.run.config.spec
    assert spec.source_shape is not None
    expected = spec.source_shape[0]
    if channels < expected and not spec.enlarges:
        raise Unreadable("grey, but this run translates colour images: save it in colour")

    def translate(parts: Iterator[Tensor]) -> Iterator[Tensor]:
        fitting = (_grey(p) if expected == 1 else p.expand(-1, expected, -1, -1) for p in parts)
        for output in trained.call("translate", fitting, seed=seed, weights=weights):
            yield _grey(output) if channels < expected else output

    return translate


def _grey(images: Tensor) -> Tensor:
    """The brightness `[count, 1, ...]`, as `--pairs grey` has it."""
    if images.shape[1] == 1:
        return images
    return (images * torch.tensor(LUMA).reshape(1, 3, 1, 1)).sum(1, keepdim=True)


def to_levels(band: Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`band` `[channels, rows, width]` in [-1, 1] as levels `[rows, width, channels]` of a uint type."""
    largest = float(np.iinfo(dtype).max)
    levels = band.clamp(-1, 1).add_(1).mul_(largest / 2).round_()  # in place: bands can be large
    return levels.permute(1, 2, 0).numpy().astype(dtype)


def _write(
    image: Whole,
    translate: Translate,
    tiling: Tiling,
    job: _Job,
    tile: int,
    background: str,
    about: dict[str, str],
) -> None:
    colours, alpha, scale = image.colours, image.alpha, tiling.scale
    if alpha is not None:  # invisible pixels can have any colour: they get the background, as in training
        paper = ImageColor.getrgb(background)[: len(colours)]
        unit = np.iinfo(colours.dtype).max // 255
        colours = np.where(alpha == 0, np.array(paper, colours.dtype)[:, None, None] * unit, colours)

    def enlarge(parts: Iterator[Tensor]) -> Iterator[Tensor]:
        return (resize(part, part.shape[2] * scale, part.shape[3] * scale) for part in parts)

    planes = [bands(translate, tiling, colours, tile)]
    if alpha is not None:
        planes.append(bands(enlarge, tiling, alpha[None], tile))
    rows = (
        np.concatenate([to_levels(band, colours.dtype) for band in parts], 2)
        for parts in zip(*planes, strict=True)
    )
    height, width = colours.shape[1:]
    write_png(
        job.out, width * scale, height * scale, rows, about | {"source": printable(job.name)}, image.profile
    )


def _jobs(images: str, out: Path) -> list[_Job]:
    path = Path(images).expanduser()
    shown = printable(images)
    if not path.exists():
        raise UserError(f"{shown} does not exist: expected an image, a folder or a .zip of images")
    folder = not out.suffix or out.is_dir()
    if not folder and out.suffix.lower() != ".png":
        raise UserError(f"--out {printable(str(out))}: expected a name ending in .png, or a folder")
    if path.is_file() and is_image_name(path.name):
        target = out / f"{path.stem}.png" if folder else out
        return [_Job(path.name, lambda: read_regular(path), target)]
    storage = open_storage(path, shown)
    if not folder:
        raise UserError(f"--out {printable(str(out))} is one image, {shown} may hold many: choose a folder")
    names = [name for name in storage.names if is_image_name(name) and not is_unsafe(name)]
    stems = Counter(posixpath.splitext(name)[0] for name in names)
    alone = {name: posixpath.splitext(name)[0] for name in names if stems[posixpath.splitext(name)[0]] == 1}
    if set(alone.values()) & (set(names) - alone.keys()):  # a.jpg and a.png next to a.jpg.png
        alone = {}
    if not names:
        raise UserError(f"{shown} holds no image: expected PNG, JPEG, WebP, BMP or GIF")

    def job(name: str) -> _Job:
        return _Job(name, lambda: storage.read(name), out / f"{alone.get(name, name)}.png")

    return [job(name) for name in names]


def _refuse_own_place(images: Path, jobs: list[_Job]) -> None:
    """Raise UserError where results would lie among the images, and be read as images the next time."""
    place = images.resolve()
    for job in jobs:
        target = job.out.resolve()
        if target == place or (images.is_dir() and place in target.parents):
            raise UserError(
                f"--out {printable(str(job.out))} lies where the images are: choose another place"
            )


def _refuse_foreign(jobs: list[_Job]) -> None:
    """Raise UserError where writing would replace a file that is not an earlier result."""
    for job in jobs:
        if not os.path.lexists(job.out):
            continue
        if not read_text(job.out).keys() >= {"run", "source"}:
            raise UserError(
                f"--out: {printable(str(job.out))} is not a result of `ganforge apply`: choose another place"
            )
