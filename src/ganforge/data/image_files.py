"""Image files brought to one shape: decoded at once where they fit into memory, else when read."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.data.decode import Header, Target, Unreadable
from ganforge.data.derived_pairs import derived_shape, is_derived
from ganforge.data.fingerprint import hash_names
from ganforge.data.options import DataOptions
from ganforge.data.pairs import PairHeader, Partners, decode_pair, find_partners, read_pair_header
from ganforge.data.settle import little_range_of, settle
from ganforge.data.sources.catalogue import ImageFiles
from ganforge.data.sources.entry import Entry, of
from ganforge.data.sources.storage import ReadOnce, Storage
from ganforge.data.spec import LONGEST_SIDE, MOST_PIXELS
from ganforge.data.split import MAX_UNREADABLE, Split, in_memory, in_threads, lazy
from ganforge.errors import UserError, printable

IN_MEMORY_BYTES = 2 * 2**30
LARGEST_DEFAULT_SIZE = 64
SHOWN_UNREADABLE = 3

Shape = tuple[int, int, int]
Decode = Callable[[str], NDArray[np.uint8]]


@dataclass(frozen=True)
class Decoded:
    """The splits of image files, and the skipped files; no `fingerprint` where all are in memory.

    `options` are those requested with "auto" and "data" replaced by what they came to; `notes` say why.
    """

    options: DataOptions
    splits: Mapping[str, Split]
    class_names: tuple[str, ...]
    skipped: Mapping[str, str]
    fingerprint: str | None
    bits: int
    notes: tuple[str, ...]


def open_encoded(origin: ImageFiles, options: DataOptions) -> Decoded:
    """The splits of `origin`, with their sources where these are files.

    Raises UserError where more than 5 % cannot be read.
    """
    entries, storage = origin.listing.entries, origin.storage
    partners = find_partners(entries, storage, options)
    once = ReadOnce(storage)
    partners_once = None if partners is None else replace(partners, storage=ReadOnce(partners.storage))
    headers = list(in_threads(partial(_header_of, once, partners_once), entries))
    skipped = {e.name: head for e, head in zip(entries, headers, strict=True) if isinstance(head, str)}
    refuse_unreadable(skipped, len(entries), options)
    readable = [entry for entry in entries if entry.name not in skipped]
    good = [head for head in headers if isinstance(head, PairHeader)]
    refuse_alpha([head.image for head in good], partners is not None, options)
    shape = choose_shape([head.image for head in good], options, origin.default_size)
    settled = settle(origin, partners, list(zip(readable, good, strict=True)), shape, options)
    options = settled.options
    source_channels = choose_source_channels(good)
    target = Target(shape, origin.centre_crop)
    source_shape = (source_channels, *shape[1:])
    if is_derived(options.pairs):
        source_shape = derived_shape(options.pairs, shape)
    fits = len(readable) * (math.prod(shape) + math.prod(source_shape)) <= IN_MEMORY_BYTES
    place = (once, partners_once) if fits else (storage, partners)
    decode_name = partial(decode_pair, *place, target, source_channels, options)
    class_names = origin.listing.class_names
    number = {name: index for index, name in enumerate(class_names)}
    splits = {}
    for split in _ordered_splits(entries):
        members = [entry for entry in readable if entry.split == split]
        pixels = None
        if fits:
            pixels, members = _decode_all(members, shape, source_channels, decode_name, skipped)
        if not members:
            continue
        names = [entry.name for entry in members]
        labels = torch.tensor([number[entry.label or ""] for entry in members]) if class_names else None
        captions = [list(entry.captions) for entry in members]
        texts = captions if any(captions) else None
        if pixels is not None:
            splits[split] = in_memory(pixels[0], labels, texts, names, pixels[1])
        else:
            stop = options.unreadable == "stop"
            decode_row = partial(_decode_row, decode_name, names)
            splits[split] = lazy(shape, decode_row, names, stop, labels, texts, source_channels)
    refuse_unreadable(skipped, len(entries), options)
    fingerprint = None if fits else _fingerprint_of_files(readable, origin, partners, shape)
    notes = [*settled.notes, *origin.listing.notes]
    if options.fit == "pad" and settled.fit_reason:
        notes.insert(0, f"--fit pad is chosen, since {settled.fit_reason}")
    if "train" in splits and options.range == "full" and all(head.image.bits == 8 for head in good):
        notes += little_range_of(splits["train"])
    for attribute, what in (("animated", "frame"), ("paged", "page")):
        if count := sum(getattr(head.image, attribute) for head in good):
            notes.append(f"{of(count, 'image')} with more than one {what}: the first {what} is used")
    return Decoded(options, splits, class_names, skipped, fingerprint, settled.bits, tuple(notes))


def _decode_row(decode: Decode, names: list[str], row: int) -> NDArray[np.uint8]:
    return decode(names[row])


def _fingerprint_of_files(
    entries: list[Entry], origin: ImageFiles, partners: Partners | None, shape: Shape
) -> str:
    """The hash of the files of images, and of the files of their sources."""
    class_names = origin.listing.class_names
    own = hash_names(entries, origin.storage, shape, class_names)
    if partners is None:
        return own
    sources = [Entry(partners.names[entry.name], split=own) for entry in entries]
    return hash_names(sources, partners.storage, shape, (partners.half or "",))


def _header_of(storage: Storage, partners: Partners | None, entry: Entry) -> PairHeader | str:
    try:
        return read_pair_header(storage.read(entry.name), partners, entry)
    except Unreadable as error:
        return str(error)


def _decode_all(
    entries: list[Entry],
    shape: Shape,
    source_channels: int,
    decode_name: Decode,
    skipped: dict[str, str],
) -> tuple[tuple[Tensor, Tensor | None], list[Entry]]:
    """The images that can be decoded and their sources, with their entries; the others go to `skipped`."""

    def attempt(entry: Entry) -> NDArray[np.uint8] | str:
        try:
            return decode_name(entry.name)
        except Unreadable as error:
            return str(error)

    channels, height, width = shape
    pixels = torch.empty((len(entries), *shape), dtype=torch.uint8)
    sources = torch.empty((len(entries), source_channels, height, width), dtype=torch.uint8)
    kept: list[Entry] = []
    for entry, image in zip(entries, in_threads(attempt, entries), strict=True):
        if isinstance(image, str):
            skipped[entry.name] = image
        else:
            whole = torch.from_numpy(np.array(image))
            pixels[len(kept)], sources[len(kept)] = whole[:channels], whole[channels:]
            kept.append(entry)
    return (pixels[: len(kept)], sources[: len(kept)] if source_channels else None), kept


def _ordered_splits(entries: tuple[Entry, ...]) -> list[str]:
    splits = {entry.split for entry in entries}
    usual = ("train", "validation", "test")
    return [split for split in usual if split in splits] + sorted(splits.difference(usual))


def choose_shape(headers: list[Header], options: DataOptions, default_size: int | None) -> Shape:
    """Channels, height and width for images with these `headers`, by the rules in `DataOptions`."""
    grey = options.channels == "grey" or (
        options.channels == "auto" and all(header.grey for header in headers)
    )
    channels = 4 if options.alpha == "keep" else 1 if grey else 3
    if options.sides is not None:
        return (channels, *options.sides)
    size = default_size
    if size is None:
        sizes = Counter((header.height, header.width) for header in headers)
        if len(sizes) == 1:
            height, width = next(iter(sizes))
            if height * width > MOST_PIXELS or max(height, width) > LONGEST_SIDE:
                raise UserError(f"images of {width}x{height} are too large to train on: give a --size")
            return (channels, height, width)
        sides = sorted(min(header.height, header.width) for header in headers)
        median = sides[(len(sides) - 1) // 2]
        size = min(LARGEST_DEFAULT_SIZE, 1 << (median.bit_length() - 1))
    return (channels, size, size)


def refuse_alpha(headers: list[Header], paired: bool, options: DataOptions) -> None:
    """Raise UserError where `--alpha keep` keeps nothing, or contradicts other options."""
    if options.alpha != "keep":
        return
    others = {
        "--channels grey": options.channels == "grey",
        f"--binarise {options.binarise}": options.binarise != "none",
        f"--range {options.range}": options.range != "full",
        "--sources": options.sources is not None,
        "pairs": paired or is_derived(options.pairs),
    }
    for option, there in others.items():
        if there:
            raise UserError(f"--alpha keep does not go with {option}: leave one of them out")
    if not any(header.alpha for header in headers):
        raise UserError(f"--alpha keep: no image of {printable(options.data)} is transparent: leave it out")


def choose_source_channels(headers: list[PairHeader]) -> int:
    """1 where all sources are stored as grey, else 3; 0 without sources. --channels is for the images."""
    sources = [head.source for head in headers if head.source is not None]
    if not sources:
        return 0
    return 1 if all(source.grey for source in sources) else 3


def refuse_unreadable(skipped: Mapping[str, str], total: int, options: DataOptions) -> None:
    """Raise UserError if more images are unreadable than `options` allow."""
    line = too_many_unreadable(skipped, total, options)
    if line is not None:
        raise UserError(
            f"{line}; type `ganforge data check {printable(options.data)} --json` for the whole list, then "
            "repair or remove them"
        )


def too_many_unreadable(skipped: Mapping[str, str], total: int, options: DataOptions) -> str | None:
    """A line where more images are unreadable than `options` allow."""
    allowed = MAX_UNREADABLE * total if options.unreadable == "skip" else 0
    if len(skipped) <= allowed:
        return None
    first = "; ".join(
        f"{printable(name)} ({reason})" for name, reason in list(skipped.items())[:SHOWN_UNREADABLE]
    )
    more = "; ..." if len(skipped) > SHOWN_UNREADABLE else ""
    return f"{len(skipped)} of {total} images cannot be read: {first}{more}; expected at most {int(allowed)}"
