"""The source of each image: a metadata column, a second folder, the other half of its file."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.data.decode import Header, Target, Unreadable, Whole, decode, decode_halves, read_header
from ganforge.data.derived_pairs import is_derived
from ganforge.data.formats import READABLE
from ganforge.data.options import DataOptions
from ganforge.data.sources.entry import Entry
from ganforge.data.sources.storage import Archive, Folder, Storage, is_image_file, read_regular
from ganforge.errors import UserError, printable


@dataclass(frozen=True)
class Partners:
    """The file in `storage` that holds the source of each image, by the name of that image's file.

    `half` is set where it is the same file: then its left or right half is the source, the other the image.
    """

    storage: Storage
    names: Mapping[str, str]
    half: Literal["left", "right"] | None = None


@dataclass(frozen=True, slots=True)
class PairHeader:
    """The headers of an image and of its source; no source where there are no pairs."""

    image: Header
    source: Header | None = None


def find_partners(entries: tuple[Entry, ...], storage: Storage, options: DataOptions) -> Partners | None:
    """The partners that `options` name, or None; derived pairs need none.

    Raises UserError where --sources holds none, or --pairs names another kind of source.
    """
    if options.sources is not None:
        if options.pairs != "auto":
            raise UserError(f"--sources and --pairs {options.pairs} exclude each other: leave one out")
        return _in_folder(entries, options)
    name, _, side = options.pairs.partition(":")
    if name == "side-by-side":
        return Partners(
            storage, {entry.name: entry.name for entry in entries}, "right" if side == "right" else "left"
        )
    named = {entry.name: entry.partners[0] for entry in entries if entry.partners}
    if options.pairs == "none" or is_derived(options.pairs) or len(named) < len(entries):
        return None  # as with labels: all images have one, or the set has none
    return Partners(storage, named)


def refuse_files_of_pairs(options: DataOptions) -> None:
    """Raise UserError where `options` name files of sources, but the data are not image files."""
    option = f"--sources {printable(options.sources)}" if options.sources is not None else ""
    if options.pairs.startswith("side-by-side"):
        option = f"--pairs {options.pairs}"
    if option:
        raise UserError(
            f"{option} is for image files, which {printable(options.data)} is not: use --pairs edges, "
            "grey, blur, mask or downscale:2"
        )


def _in_folder(entries: tuple[Entry, ...], options: DataOptions) -> Partners:
    """Partners in --sources: files of the same relative name, or with another ending."""
    path = Path(options.sources or "").expanduser()
    shown = printable(str(path))
    if not options.sources or not path.exists():
        raise UserError(f"--sources {shown} does not exist: expected a folder or a .zip of images")
    storage = open_storage(path, f"--sources {shown}")
    plain: dict[str, list[str]] = {}
    for name in storage.image_names:
        plain.setdefault(posixpath.splitext(name)[0], []).append(name)
    exact = set(storage.names)
    names = {}
    for entry in entries:
        matches = [entry.name] if entry.name in exact else plain.get(posixpath.splitext(entry.name)[0], [])
        if len(matches) > 1:
            raise UserError(
                f"--sources {shown} has {' and '.join(map(printable, sorted(matches)[:2]))} for "
                f"{printable(entry.name)}: expected one of them"
            )
        if matches:
            names[entry.name] = matches[0]
    if not names:
        raise UserError(
            f"--sources {shown} has no file with a name of {printable(options.data)}, such as "
            f"{printable(entries[0].name)}: expected the same names in both"
        )
    return Partners(storage, names)


def open_storage(path: Path, shown: str) -> Storage:
    """The folder or zip at `path`, called `shown` in errors."""
    if path.is_dir():
        return Folder(path)
    if path.suffix.lower() != ".zip":
        raise UserError(f"{shown} is a single file: expected a folder or a .zip of images")
    return Archive(path)


def read_sources(
    place: str,
    shape: tuple[int, int, int],
    options: DataOptions,
    count: int | None = None,
    takes_grey: bool = False,
    bits: int = 8,
    option: str = "--sources",
) -> tuple[Tensor, list[str], dict[str, str]]:
    """The first `count` images of `place`, or all, as sources of `shape`: uint8 `[n, *shape]`, their names.

    `place` is an image, a folder or a .zip. Those that cannot be read are skipped: name -> reason; so are
    grey ones where the sources have colours, unless `takes_grey`. `bits` is the depth of images that
    `options.range` is for; others have the full range. Raises UserError where none is left.
    """
    path = Path(place).expanduser()
    shown = f"{option} {printable(place)}"
    if not path.exists():
        raise UserError(f"{shown} does not exist: expected an image, a folder or a .zip of images")
    single = path.is_file() and is_image_file(path)
    storage = None if single else open_storage(path, shown)
    names = [path.name] if storage is None else storage.image_names
    pixels, kept, skipped = list[Tensor](), list[str](), dict[str, str]()
    full = options.model_copy(update={"range": "full"})
    for name in names:
        if len(kept) == count:
            break
        try:
            data = read_regular(path) if storage is None else storage.read(name)
            header = read_header(data)
            if shape[0] == 3 and not takes_grey and header.grey:
                raise Unreadable("grey, but this run translates colour images: save it in colour")
            own = source_options(options) if header.bits == bits else full
            pixels.append(torch.from_numpy(np.array(decode(data, Target(shape), own))))
            kept.append(name)
        except Unreadable as error:
            skipped[name] = str(error)
    if not kept:
        first = "".join(f": {printable(name)} ({why})" for name, why in list(skipped.items())[:1])
        raise UserError(f"{shown} holds no image that this run can use{first}: expected {READABLE}")
    return torch.stack(pixels), kept, skipped


def read_pair_header(data: bytes, partners: Partners | None, entry: Entry) -> PairHeader:
    """The headers of the image `data` and its source; raises `Unreadable` where they are not a pair."""
    header = read_header(data)
    if partners is None:
        return PairHeader(header)
    if partners.half is not None:
        if header.width % 2:
            raise Unreadable(f"{header.width} pixels wide: two images side by side must have equal width")
        half = replace(header, width=header.width // 2)
        return PairHeader(half, half)
    file = read_partner(partners, entry.name)
    try:
        source = read_header(file)
    except Unreadable as error:
        raise of_source(partners, entry.name, error) from error
    if (source.width, source.height) != (header.width, header.height):
        raise Unreadable(
            f"{header.width}x{header.height}, but its source {printable(partners.names[entry.name])} is "
            f"{source.width}x{source.height}"
        )
    return PairHeader(header, source)


def decode_pair(
    storage: Storage,
    partners: Partners | None,
    target: Target,
    source_channels: int,
    options: DataOptions,
    name: str,
) -> NDArray[np.uint8]:
    """The image `name` as uint8 `[channels, height, width]`, the channels of its source after its own.

    Raises `Unreadable` where one of the two cannot be read.
    """
    if partners is None:
        return decode(storage.read(name), target, options)
    source_target = replace(target, shape=(source_channels, *target.shape[1:]))
    if partners.half is not None:
        targets = (source_target, target) if partners.half == "left" else (target, source_target)
        left, right = decode_halves(storage.read(name), targets, options)
        return np.concatenate((right, left) if partners.half == "left" else (left, right))
    image, data = decode(storage.read(name), target, options), read_partner(partners, name)
    try:
        source = decode(data, source_target, source_options(options))
    except Unreadable as error:
        raise of_source(partners, name, error) from error
    return np.concatenate((image, source))


def source_options(options: DataOptions) -> DataOptions:
    """The options for sources: those in files of their own have the full range, whatever the images have."""
    return options if takes_levels(options) else options.model_copy(update={"range": "full"})


def takes_levels(options: DataOptions) -> bool:
    """Whether sources have the range of the images, as those derived from them or next to them have."""
    with_images = is_derived(options.pairs) or options.pairs.startswith("side-by-side")
    return options.range == "full" or (with_images and options.sources is None)


def half_of(image: Whole, source: Literal["left", "right"]) -> Whole:
    """The half of a file that is the image, where the `source` half is its source."""
    middle = image.colours.shape[2] // 2
    part = slice(middle, 2 * middle) if source == "left" else slice(middle)
    alpha = None if image.alpha is None else image.alpha[:, part]
    return Whole(image.colours[:, :, part], alpha, image.profile)


def read_partner(partners: Partners, name: str) -> bytes:
    """The file with the source of the image `name`; raises `Unreadable` where there is none."""
    if name not in partners.names:
        raise Unreadable("it has no source")
    try:
        return partners.storage.read(partners.names[name])
    except Unreadable as error:
        raise of_source(partners, name, error) from error


def of_source(partners: Partners, name: str, error: Unreadable) -> Unreadable:
    """The `error` of the source of the image `name`, as one of that image."""
    return Unreadable(f"its source {printable(partners.names[name])}: {error}")
