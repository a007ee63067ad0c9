"""Translate or enlarge image files of any size, keeping their bit depth and transparency."""

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganforge.data.bicubic import resize
from ganforge.data.decode import Header, Unreadable, Whole, decode_exactly, read_header
from ganforge.data.derived_pairs import LUMA
from ganforge.data.formats import READABLE
from ganforge.data.levels import Levels, from_full, parse_levels, show_levels
from ganforge.data.pairs import open_storage, takes_levels
from ganforge.data.sources.storage import is_image_file, is_unsafe, read_regular
from ganforge.errors import UserError, printable
from ganforge.files.images import FORMATS, save_image
from ganforge.files.png import write_png
from ganforge.files.provenance import check_replaceable
from ganforge.generation.output import IMAGES, ending_of, listed, provenance
from ganforge.generation.sources import Lines, Size, Source, prepare
from ganforge.generation.tiles import Translate, bands
from ganforge.runs.trained import Trained, Weights, Which, load
from ganforge.system import Tiling, Translates

DEFAULT_TILE = 160


@dataclass(frozen=True)
class Applied:
    """The files written, the images skipped (name -> reason), and how many files were replaced.

    `notes` is a line for each thing that was done to images.
    """

    written: tuple[Path, ...]
    skipped: dict[str, str]
    replaced: int = 0
    notes: tuple[str, ...] = ()


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
    size: Size = "training",
    lines: Lines = "thin",
    checkpoint: Which = "newest",
    command: str = "",
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Applied:
    """Translate or enlarge `images`, an image, a folder or a .zip, with a run of pix2pix, srresnet or srgan.

    `out` ends in .png, .jpg, .webp or .gif for one image; else it is a folder, whose files have the names of
    the images with the ending .png. A result is upright and, as a PNG, has the bit depth and alpha of its
    image. pix2pix translates images within the `size` of training, or at their own; for runs on derived
    edges, the `lines` of drawings are thinned as in training ("edges": the edges of any image are found;
    "keep": nothing is done). Images larger than `tile` pixels a side are processed in tiles; those that
    cannot be read are skipped. Earlier results are replaced atomically; other files only with `overwrite`.
    Raises UserError where these are in the way, and where nothing could be read.
    """
    trained = run if isinstance(run, Trained) else load(run, checkpoint=checkpoint)
    tiling = tiling_of(trained)
    jobs = _jobs(str(images), Path(out))
    _refuse_own_place(Path(images).expanduser(), jobs)
    replaced = {job.out for job in jobs if check_replaceable(job.out, overwrite)}
    about = provenance(trained, weights, command, seed)
    about.pop("range", None)  # of the images of its depth alone, which are not all
    background = trained.run.config.data.background
    written, skipped, notes = list[Path](), dict[str, str](), dict[str, list[str]]()
    for job in jobs:
        say(printable(job.name))
        try:
            image, levels = _read(trained, job, say)
            source = prepare(image, trained, size, lines)
            translate = translator(trained, len(source.image.colours), seed, weights)
            own = about if levels is None else about | {"range": show_levels(levels)}
            _write(source, translate, tiling, job, tile, background, own, levels)
            written.append(job.out)
            for note in source.notes:
                notes.setdefault(note, []).append(job.name)
        except Unreadable as error:
            skipped[job.name] = str(error)
        except OSError as error:
            raise UserError(f"--out {printable(str(job.out))}: {error.strerror or error}") from error
    if not written:
        first = "".join(f": {printable(name)} ({why})" for name, why in list(skipped.items())[:1])
        raise UserError(f"{printable(str(images))} holds no image that this run can take{first}")
    return Applied(tuple(written), skipped, len(replaced.intersection(written)), _in_words(notes))


def _in_words(notes: dict[str, list[str]]) -> tuple[str, ...]:
    """Each note with the name of its image, or with their number."""
    return tuple(
        f"{printable(names[0]) if len(names) == 1 else f'{len(names)} images'}: {note}"
        for note, names in notes.items()
    )


def _read(trained: Trained, job: _Job, say: Callable[[str], None]) -> tuple[Whole, Levels | None]:
    """The image at its own depth, and the range of the run where it counts in that depth."""
    data = job.read()
    header = read_header(data)
    if header.paged:
        say(f"{printable(job.name)}: the first of its pages")
    levels = _levels_of(trained, header)
    return decode_exactly(data, levels if takes_levels(trained.run.config.data) else None), levels


def _levels_of(trained: Trained, header: Header) -> Levels | None:
    """The range of the run, for images of the depth that it counts in; others have their full range."""
    bits = trained.run.config.spec.bits
    return parse_levels(trained.run.config.data.range) if header.bits == bits else None


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


def apply_bytes(
    trained: Trained,
    data: bytes,
    *,
    seed: int = 0,
    weights: Weights = "ema",
    tile: int = DEFAULT_TILE,
    size: Size = "training",
    lines: Lines = "thin",
) -> tuple[Image.Image, tuple[str, ...]]:
    """One encoded image translated or enlarged as by `apply`, with 8 bits, and lines on what was done to it.

    Raises `Unreadable` for what is no image that the run can take, and UserError as `apply`.
    """
    tiling, levels = tiling_of(trained), _levels_of(trained, read_header(data))
    whole = decode_exactly(data, levels if takes_levels(trained.run.config.data) else None)
    source = prepare(whole, trained, size, lines)
    translate = translator(trained, len(source.image.colours), seed, weights)
    pixels = np.concatenate(list(_rows(source, translate, tiling, tile, levels)))
    return _as_image(pixels[source.place or ...]), source.notes


def _rows(
    source: Source, translate: Translate, tiling: Tiling, tile: int, levels: Levels | None
) -> Iterator[NDArray[Any]]:
    """The result from top to bottom, with values between `levels` where these fit its type."""
    colours, alpha, scale = source.image.colours, source.image.alpha, tiling.scale

    def enlarge(parts: Iterator[Tensor]) -> Iterator[Tensor]:
        return (resize(part, part.shape[2] * scale, part.shape[3] * scale) for part in parts)

    translated = bands(translate, tiling, colours, tile)
    planes = [(band.expand(3, -1, -1) for band in translated) if source.grey else translated]
    if alpha is not None:
        planes.append(bands(enlarge, tiling, alpha[None], tile))
    rows: Iterator[NDArray[Any]] = (
        np.concatenate([to_levels(band, colours.dtype) for band in parts], 2)
        for parts in zip(*planes, strict=True)
    )
    if levels is not None and levels[0] >= 0 and 1 < levels[1] <= np.iinfo(colours.dtype).max:
        num_alpha = 0 if alpha is None else 1
        rows = (_unstretched(row, levels, num_alpha) for row in rows)
    return rows


def _as_image(pixels: NDArray[Any]) -> Image.Image:
    if pixels.dtype != np.uint8:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _write(
    source: Source,
    translate: Translate,
    tiling: Tiling,
    job: _Job,
    tile: int,
    background: str,
    about: dict[str, str],
    levels: Levels | None = None,
) -> None:
    """Write the result, as a PNG from top to bottom."""
    rows: Iterable[NDArray[Any]] = _rows(source, translate, tiling, tile, levels)
    about = about | {"source": printable(job.name)}
    height, width = (length * tiling.scale for length in source.image.colours.shape[1:])
    if source.place is not None or job.out.suffix.lower() != ".png":
        whole = np.concatenate(list(rows))[source.place or ...]
        height, width, rows = *whole.shape[:2], [whole]
    if job.out.suffix.lower() == ".png":
        write_png(job.out, width, height, rows, about, source.image.profile)
        return
    (pixels,) = rows
    save_image(_as_image(pixels), job.out, about, background=background, profile=source.image.profile)


def _unstretched(row: NDArray[Any], levels: Levels, num_alpha: int) -> NDArray[Any]:
    """A band of a result with its colours, but not its alpha, between `levels`."""
    num_colours = row.shape[2] - num_alpha
    return np.concatenate([from_full(row[:, :, :num_colours], levels), row[:, :, num_colours:]], 2)


def _jobs(images: str, out: Path) -> list[_Job]:
    path = Path(images).expanduser()
    shown = printable(images)
    if not path.exists():
        raise UserError(f"{shown} does not exist: expected an image, a folder or a .zip of images")
    folder = not ending_of(out) or out.is_dir()
    if not folder and out.suffix.lower() not in FORMATS:
        raise UserError(
            f"--out {printable(str(out))}: expected a name ending in {listed(IMAGES)}, or a folder"
        )
    if path.is_file() and is_image_file(path):
        target = out / f"{path.stem}.png" if folder else out
        return [_Job(path.name, lambda: read_regular(path), target)]
    storage = open_storage(path, shown)
    if not folder:
        raise UserError(f"--out {printable(str(out))} is one image, {shown} may hold many: choose a folder")
    names = [name for name in storage.image_names if not is_unsafe(name)]
    stems = Counter(posixpath.splitext(name)[0] for name in names)
    alone = {name: posixpath.splitext(name)[0] for name in names if stems[posixpath.splitext(name)[0]] == 1}
    if set(alone.values()) & (set(names) - alone.keys()):  # a.jpg and a.png next to a.jpg.png
        alone = {}
    if not names:
        raise UserError(f"{shown} holds no image: expected {READABLE}")

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
