"""The data sets by name or path: built-in sets, paths, hub sets and downloads, in that order."""

import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganforge.data.options import DataOptions
from ganforge.data.sources import scenes, stacked_mnist, toys
from ganforge.data.sources.arrays import Arrays, idx_images_name, read_cifar10, read_idx_set
from ganforge.data.sources.entry import Entry
from ganforge.data.sources.image_folder import Listing, list_images
from ganforge.data.sources.points import read_points
from ganforge.data.sources.scenes import Scenes, make_scenes
from ganforge.data.sources.shards import PREFIX as SHARDS
from ganforge.data.sources.shards import Shards, find_shards
from ganforge.data.sources.stacked_mnist import Stacked, stack_digits
from ganforge.data.sources.storage import Archive, Folder, Storage
from ganforge.errors import UserError, printable, unknown_name
from ganforge.files import download
from ganforge.files.code import import_allowed

CELEBA_CROP = 108  # the face without most of the background; DCGAN's crop
CELEBA_SIZE = 64
CELEBA_SPLITS = {"0": "train", "1": "validation", "2": "test"}

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

PYTHON = "python:"
"""What the name of a program's data begins with: then its class, or `package.module:member`."""
PREFIXES = ("hf:", "celeba:", SHARDS, PYTHON)
"""What data that are neither a name nor a path begin with."""


@dataclass(frozen=True)
class ImageFiles:
    """Encoded images, listed but not decoded."""

    storage: Storage
    listing: Listing
    centre_crop: int | None = None
    default_size: int | None = None


@dataclass(frozen=True)
class Points:
    """A two-dimensional set by name."""

    name: str


@dataclass(frozen=True)
class Own:
    """Data of a Python program: what `ganforge.data.own` reads."""

    values: Any


@dataclass(frozen=True)
class PointsFile:
    """Points of somebody's own: float32 `[count, 2]`, at least 2."""

    points: NDArray[np.float32]


Origin = ImageFiles | Arrays | Points | PointsFile | Scenes | Shards | Stacked | Own


def available() -> dict[str, str]:
    """Every name that `--data` knows, with one line of description."""
    return {
        "mnist": "built in: 70,000 handwritten digits, grey 28x28, 10 classes",
        "emoji": "built in: 3,786 emoji, color 64x64, captions, 10 classes",
        scenes.NAME: f"built in: {scenes.LINE}",
        stacked_mnist.NAME: f"built in: {stacked_mnist.LINE}",
        **{name: f"built in: {line}" for name, line in toys.TOYS.items()},
        "fashion-mnist": "download, 30 MB: 70,000 clothes, grey 28x28, 10 classes",
        "cifar10": "download, 170 MB: 60,000 photos, color 32x32, 10 classes",
        "celeba:FOLDER": "your copy of CelebA: 202,599 faces, 64x64",
        "wds:FOLDER or URL": "tar shards of images, read as a stream",
        "hf:OWNER/NAME": "images on the Hugging Face hub (needs the extra hub-data)",
        "python:MODULE:NAME": "a Dataset, array or list of images in your code",
        "FILE.csv": "your own 2-D points: two numbers in each row",
        "FOLDER or FILE.zip": "your own images: classes by sub-folder or metadata.jsonl",
    }


def is_built_in(data: str) -> bool:
    """Whether `data` names a built-in set, which no path of that name hides."""
    return data in toys.TOYS or data in ("mnist", "emoji", scenes.NAME, stacked_mnist.NAME)


def locate(options: DataOptions) -> Origin:
    """The origin of the data `options.data`.

    Raises UserError if it is unknown, cannot be downloaded or holds no images.
    """
    data = options.data
    if data in toys.TOYS:
        return Points(data)
    by_name: dict[str, Callable[[], Origin]] = {
        "mnist": _mnist,
        "emoji": lambda: _emoji(options),
        scenes.NAME: lambda: make_scenes(_mnist()),
        stacked_mnist.NAME: lambda: stack_digits(_mnist()),
    }
    downloads: dict[str, Callable[[], Origin]] = {
        "fashion-mnist": lambda: _idx_folder(download.fashion_mnist(), FASHION_CLASSES),
        "cifar10": lambda: read_cifar10(download.cifar10()),
    }
    if data in by_name:
        return by_name[data]()
    if data.startswith(PYTHON):
        return _own(data)
    if data.startswith(SHARDS):
        return find_shards(options)
    path = Path(data).expanduser()
    if data and _exists(path):  # an empty path would mean the current folder
        return _from_path(path, options)
    if data.startswith("hf:"):
        from ganforge.data.sources.hub import list_hub_set

        return ImageFiles(*list_hub_set(data.removeprefix("hf:"), options.label_column))
    if data.startswith("celeba:"):
        return _celeba(Path(data.removeprefix("celeba:")).expanduser(), options)
    if data in downloads:
        return downloads[data]()
    if (
        not data
        or any(mark in data for mark in "/\\~")
        or data.startswith(".")
        or data.endswith((".zip", ".gz", ".csv"))
    ):
        raise UserError(
            f"the path {printable(data)!r} does not exist (looked in {printable(str(Path.cwd()))}): "
            "expected a folder or "
            "a .zip of images; see `ganforge list data` for names"
        )
    names = [name for name in available() if not any(mark in name for mark in ": ")]
    raise unknown_name(
        "data set", data, names, "(or give the path of a folder or a .zip; see `ganforge list data`)"
    )


def _own(data: str) -> Own:
    """The data that a member of the user's code is, or that it makes when it is called."""
    name = data.removeprefix(PYTHON)
    if ":" not in name:
        raise UserError(
            f"{printable(data)} is data that a Python program passed: pass them again, as in "
            "ganforge.resume(RUN, data=...) or ganforge.evaluate(RUN, data=...)"
        )
    member = import_allowed(name, "data")
    if not isinstance(member, type) and (not callable(member) or hasattr(member, "__getitem__")):
        return Own(member)
    try:
        return Own(member())
    except Exception as error:  # whatever the user's code raises
        first = (str(error).splitlines() or [""])[0][:200]
        raise UserError(f"{printable(data)} fails: {type(error).__name__}: {first}") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long or with a zero byte in it
        return False


def _mnist() -> Arrays:
    folder = importlib.resources.files("ganforge.data.sources") / "builtin" / "mnist"
    names = {item.name for item in folder.iterdir()}
    return read_idx_set(names, lambda name: (folder / name).read_bytes(), "the built-in mnist")


def _emoji(options: DataOptions) -> ImageFiles:
    with importlib.resources.as_file(
        importlib.resources.files("ganforge.data.sources") / "builtin" / "emoji-64.zip"
    ) as path:
        storage = Archive(path)
    return ImageFiles(storage, list_images(storage, "the built-in emoji", options.label_column))


def _from_path(path: Path, options: DataOptions) -> Origin:
    shown = printable(str(path))
    if path.is_dir():
        try:
            names = {item.name for item in path.iterdir()}
        except OSError as error:
            raise UserError(f"{shown} cannot be opened ({error.strerror}): check its permissions") from error
        if idx_images_name("train", names):
            return _idx_folder(path)
        folder = Folder(path)
        return ImageFiles(folder, list_images(folder, shown, options.label_column))
    if not path.is_file():
        raise UserError(
            f"{shown} is neither a folder nor a regular file: expected a folder or a .zip of images"
        )
    if path.name.endswith((".tar.gz", ".tgz")) and "cifar-10" in path.name:
        return read_cifar10(path)
    if "-idx" in path.name or ".idx" in path.name:
        return _idx_folder(path.parent)
    if path.suffix.lower() == ".csv":
        return PointsFile(read_points(path))
    if path.suffix.lower() != ".zip":
        raise UserError(
            f"{shown} is a single file: expected a folder of images, a .zip of images, IDX files or a .csv "
            "of points; "
            f"perhaps `--data {printable(str(path.parent))}`"
        )
    archive = Archive(path)
    return ImageFiles(archive, list_images(archive, shown, options.label_column))


def _idx_folder(path: Path, class_names: tuple[str, ...] = ()) -> Arrays:
    names = {item.name for item in path.iterdir() if item.is_file()}
    return read_idx_set(names, lambda name: (path / name).read_bytes(), printable(str(path)), class_names)


def _celeba(path: Path, options: DataOptions) -> ImageFiles:
    shown = printable(str(path))
    if not (path / "img_align_celeba").is_dir():
        raise UserError(
            f"celeba:{shown} has no folder img_align_celeba: expected {shown}/img_align_celeba/000001.jpg "
            "and so on; "
            "get 'Align&Cropped Images' from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and unpack "
            "it there"
        )
    storage = Folder(path / "img_align_celeba")
    listing = list_images(storage, f"{shown}/img_align_celeba", "none")
    splits = {row[0]: row[1] for row in _table(path / "list_eval_partition.txt") if len(row) == 2}
    attributes = _celeba_attribute(path / "list_attr_celeba.txt", options.label_column)
    entries = tuple(
        Entry(
            name=entry.name,
            split=CELEBA_SPLITS.get(splits.get(entry.name, "0"), "train"),
            label=attributes.get(entry.name),
        )
        for entry in listing.entries
    )
    crop = CELEBA_CROP if options.fit in ("auto", "crop") else None
    column = "label" if options.label_column == "auto" else options.label_column
    return ImageFiles(storage, Listing(entries, ("no", "yes"), label_column=column), crop, CELEBA_SIZE)


def _table(path: Path) -> list[list[str]]:
    if not path.is_file():
        return []
    return [line.split() for line in path.read_text("utf-8", errors="replace").splitlines()]


def _celeba_attribute(path: Path, attribute: str) -> dict[str, str]:
    """File name -> "yes" or "no" for one of the 40 attributes; empty where none is requested."""
    rows = _table(path)  # the number of files, the names of the attributes, then a file and 40 times 1 or -1
    if attribute in ("auto", "label", "none"):
        return {}
    if len(rows) < 2:
        raise UserError(f"--label-column {printable(attribute)}: {printable(str(path))} is missing or empty")
    if attribute not in rows[1]:
        raise UserError(
            f"--label-column {printable(attribute)}: CelebA has no such attribute: expected one of "
            f"{', '.join(map(printable, rows[1][:40]))}"
        )
    column = rows[1].index(attribute) + 1
    return {row[0]: "yes" if row[column] == "1" else "no" for row in rows[2:] if len(row) > column}
