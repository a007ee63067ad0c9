"""Image files brought to one shape: decoded at once where they fit into memory, else when read."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from ganforge.data.sources.catalogue import ImageFiles
from ganforge.data.sources.image_folder import Entry
from ganforge.data.sources.storage import Storage
from ganforge.data.split import MAX_UNREADABLE, Split, in_memory, in_threads, lazy
from ganforge.errors import UserError, printable

IN_MEMORY_BYTES = 2 * 2**30
LARGEST_DEFAULT_SIZE = 64

Shape = tuple[int, int, int]
Decode = Callable[[str], NDArray[np.uint8]]


@dataclass(frozen=True)
class Decoded:
    """The splits of image files, and the skipped files; no `fingerprint` where all are in memory."""

    splits: Mapping[str, Split]
    class_names: tuple[str, ...]
    skipped: Mapping[str, str]
    fingerprint: str | None


def open_encoded(origin: ImageFiles, options: DataOptions) -> Decoded:
    """The splits of `origin`, with their sources where these are files.

    Raises UserError where more than 5 % cannot be read.
    """
    entries, storage = origin.listing.entries, origin.storage
    partners = find_partners(entries, storage, options)
    headers = list(in_threads(partial(_header_of, storage, partners), entries))
    skipped = {e.name: head for e, head in zip(entries, headers, strict=True) if isinstance(head, str)}
    refuse_unreadable(skipped, len(entries), options)
    readable = [entry for entry in entries if entry.name not in skipped]
    good = [head for head in headers if isinstance(head, PairHeader)]
    shape = choose_shape([head.image for head in good], options, origin.default_size)
    source_channels = choose_source_channels(good)
    target = Target(shape, origin.centre_crop)
    decode_name = partial(decode_pair, storage, partners, target, source_channels, options)

    source_shape = (source_channels, *shape[1:])
    if is_derived(options.pairs):
        source_shape = derived_shape(options.pairs, shape)
    fits = len(readable) * (math.prod(shape) + math.prod(source_shape)) <= IN_MEMORY_BYTES
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
            splits[split] = lazy(shape, decode_name, names, stop, labels, texts, source_channels)
    refuse_unreadable(skipped, len(entries), options)
    fingerprint = None if fits else _fingerprint_of_files(readable, origin, partners, shape)
    return Decoded(splits, class_names, skipped, fingerprint)


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
        return read_pair_header(storage, partners, entry)
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
    channels = 1 if grey else 3
    size = options.size or default_size
    if size is None:
        sizes = Counter((header.height, header.width) for header in headers)
        if len(sizes) == 1:
            return (channels, *next(iter(sizes)))
        sides = sorted(min(header.height, header.width) for header in headers)
        median = sides[(len(sides) - 1) // 2]
        size = min(LARGEST_DEFAULT_SIZE, 1 << (median.bit_length() - 1))
    return (channels, size, size)


def choose_source_channels(headers: list[PairHeader]) -> int:
    """1 where all sources are stored as grey, else 3; 0 without sources. --channels is for the images."""
    sources = [head.source for head in headers if head.source is not None]
    if not sources:
        return 0
    return 1 if all(source.grey for source in sources) else 3


def refuse_unreadable(skipped: Mapping[str, str], total: int, options: DataOptions) -> None:
    """Raise UserError if more images are unreadable than `options` allow."""
    allowed = MAX_UNREADABLE * total if options.unreadable == "skip" else 0
    if len(skipped) <= allowed:
        return
    first = "; ".join(f"{printable(name)} ({reason})" for name, reason in list(skipped.items())[:3])
    raise UserError(
        f"{len(skipped)} of {total} images cannot be read: {first}; expected at most {int(allowed)}; type "
        f"`ganforge data check {printable(options.data)}` for the whole list, then repair or remove them"
    )
