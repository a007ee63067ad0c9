"""`open_dataset`: from a name or path to a `Dataset`, whose splits give pictures of one shape."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganforge.data import toys
from ganforge.data.arrays import Arrays
from ganforge.data.batch import DataSpec
from ganforge.data.binarise import binarised_once
from ganforge.data.catalogue import Pictures, Points, available, locate
from ganforge.data.decode import (
    Header,
    Target,
    Unreadable,
    decode,
    fit,
    flatten,
    printable,
    read_header,
    to_array,
)
from ganforge.data.folder import Entry
from ganforge.data.images import MAX_UNREADABLE, Images, in_memory, in_threads, lazy
from ganforge.data.options import DataOptions
from ganforge.data.stacked import Stacked, stacks
from ganforge.data.storage import Storage
from ganforge.data.toys import Mixture
from ganforge.errors import UserError

__all__ = ["Dataset", "available", "open_dataset"]

IN_MEMORY_BYTES = 2 * 2**30
LARGEST_DEFAULT_SIZE = 64


@dataclass(frozen=True)
class Dataset:
    """Opened data: `splits` always has "train", and may have "validation" and "test".

    `fingerprint` is the SHA-256, in hex, of the decoded arrays and labels; of sets too large for the memory,
    that of file names and sizes. `skipped` names the pictures that could not be read, with the reason.
    `mixture` is the known distribution of the sets ring and grid.
    """

    options: DataOptions
    spec: DataSpec
    splits: Mapping[str, Images]
    fingerprint: str
    skipped: tuple[tuple[str, str], ...] = ()
    mixture: Mixture | None = None


def open_dataset(options: DataOptions) -> Dataset:
    """The data that `options` describe.

    Raises `UserError` if there are none, more than 5 % of the pictures cannot be read, or options contradict
    the data.
    """
    origin = locate(options)
    if isinstance(origin, Points):
        return _open_points(origin, options)
    if isinstance(origin, Arrays):
        return _open_arrays(origin, options)
    if isinstance(origin, Stacked):
        return _open_stacked(origin, options)
    return _open_pictures(origin, options)


def source_fingerprint(options: DataOptions) -> str:
    """SHA-256, in hex, of the data as they are stored: the same whatever size or channels are asked for.

    Of arrays, all bytes and label numbers; of pictures in files, their names, lengths, splits and labels.
    """
    origin = locate(options)
    if isinstance(origin, Pictures):
        return _hash_names(list(origin.listing.entries), origin.storage, (0, 0, 0), ())
    if isinstance(origin, Points | Stacked):
        return open_dataset(options).fingerprint
    digest = hashlib.sha256()
    for split, pixels in sorted(origin.pixels.items()):
        for part in (pixels, origin.labels.get(split)):
            if part is not None:
                digest.update(f"{split} {part.dtype} {part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data.cast("B"))
    return digest.hexdigest()


def _open_points(origin: Points, options: DataOptions) -> Dataset:
    for name in ("size", "flip", "dequantise", "binarise"):
        if getattr(options, name) not in (None, False, "none"):
            raise UserError(f"--{name} is for pictures, but {origin.name} holds 2-D points: leave it out")
    splits = {split: in_memory(*toys.draw(origin.name, split)) for split in ("train", "test")}
    labels = splits["train"].labels
    class_names = () if labels is None else tuple(str(number) for number in range(int(labels.max()) + 1))
    mixture = toys.mixture_of(origin.name)
    return _finish(options, splits, class_names, "points", _hash_arrays(splits, class_names), mixture=mixture)


def _open_arrays(origin: Arrays, options: DataOptions) -> Dataset:
    splits = {
        split: in_memory(
            fit_arrays(pixels, options),
            torch.from_numpy(origin.labels[split]) if origin.class_names else None,
        )
        for split, pixels in origin.pixels.items()
    }
    return _finish(options, splits, origin.class_names, "pixels", _hash_arrays(splits, origin.class_names))


def _open_stacked(origin: Stacked, options: DataOptions) -> Dataset:
    if options.channels == "grey":
        raise UserError(
            f"--channels grey would mix the digits of {options.data}: leave it out, or take --data mnist"
        )
    splits, digest = {}, hashlib.sha256()
    # Resized before they are stacked: each colour is a picture of its own.
    each = options.model_copy(update={"channels": "grey"})
    for split, triples in origin.triples.items():
        digits = fit_arrays(origin.digits[split], each)
        splits[split] = stacks(digits, triples)
        for part in (digits, triples):
            digest.update(f"{split} {part.dtype} {tuple(part.shape)}".encode())
            digest.update(part.numpy().data.cast("B"))
    return _finish(options, splits, (), "pixels", digest.hexdigest())


def fit_arrays(pixels: NDArray[np.uint8], options: DataOptions) -> Tensor:
    """`pixels` uint8 `[count, height, width, channels]` in the shape that `options` ask for.

    Returns uint8 `[count, channels, height, width]`.
    """
    count, height, width, depth = pixels.shape
    channels = {"auto": depth, "grey": 1, "color": 3}[options.channels]
    if options.size is not None:
        height, width = options.size, options.size
    if (count, height, width, channels) == pixels.shape:
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    if channels >= depth and width * pixels.shape[1] == height * pixels.shape[2]:
        blocks = range(0, count, 4096)
        parts = [_resize_together(pixels[start : start + 4096], width, height) for start in blocks]
        fitted = np.concatenate(parts).transpose(0, 3, 1, 2)
        return torch.from_numpy(
            np.ascontiguousarray(np.broadcast_to(fitted, (count, channels, height, width)))
        )
    fitted = np.empty((count, channels, height, width), dtype=np.uint8)
    for row, array in enumerate(pixels):
        picture = Image.fromarray(array[..., 0] if depth == 1 else array)
        plain = flatten(picture, channels, options.background)
        fitted[row] = to_array(fit(plain, width, height, options))
    return torch.from_numpy(fitted)


def _resize_together(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """`pixels` `[count, own height, own width, channels]` as `fit` would resize each, in two calls.

    Pillow resamples all rows, then all columns. So one tall picture of everybody's rows can take the first
    pass, and one of everybody's columns the second.
    """
    scale = width / pixels.shape[2]
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC

    def across(rows: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
        count, height, width, depth = rows.shape
        tall = np.ascontiguousarray(rows).reshape((count * height, width, depth)[: 2 if depth == 1 else 3])
        resized = np.asarray(Image.fromarray(tall).resize((length, count * height), resample))
        return resized.reshape(count, height, length, depth)

    return across(across(pixels, width).transpose(0, 2, 1, 3), height).transpose(0, 2, 1, 3)


def _open_pictures(origin: Pictures, options: DataOptions) -> Dataset:
    entries = origin.listing.entries
    headers = list(in_threads(partial(_header_of, origin.storage), entries))
    skipped = {
        entry.name: head for entry, head in zip(entries, headers, strict=True) if isinstance(head, str)
    }
    refuse_unreadable(skipped, len(entries), options)
    readable = [entry for entry in entries if entry.name not in skipped]
    shape = choose_shape([head for head in headers if isinstance(head, Header)], options, origin.default_size)
    decode_name = partial(_decode_name, origin.storage, Target(shape, origin.centre_crop), options)
    class_names = origin.listing.class_names
    number = {name: index for index, name in enumerate(class_names)}
    by_split = {
        split: [entry for entry in readable if entry.split == split] for split in _ordered_splits(entries)
    }
    fits = len(readable) * shape[0] * shape[1] * shape[2] <= IN_MEMORY_BYTES
    splits = {}
    for split, members in by_split.items():
        pixels = None
        if fits:
            pixels, members = _decode_all(members, shape, decode_name, skipped)
        names = [entry.name for entry in members]
        labels = torch.tensor([number[entry.label or ""] for entry in members]) if class_names else None
        captions = [list(entry.captions) for entry in members]
        texts = captions if any(captions) else None
        if not members:
            continue
        if pixels is not None:
            splits[split] = in_memory(pixels, labels, texts, names)
        else:
            splits[split] = lazy(shape, decode_name, names, options.unreadable == "stop", labels, texts)
    refuse_unreadable(skipped, len(entries), options)
    fingerprint = (
        _hash_arrays(splits, class_names)
        if fits
        else _hash_names(readable, origin.storage, shape, class_names)
    )
    return _finish(options, splits, class_names, "pixels", fingerprint, skipped)


def _header_of(storage: Storage, entry: Entry) -> Header | str:
    try:
        return read_header(storage.read(entry.name))
    except Unreadable as error:
        return str(error)


def _decode_name(storage: Storage, target: Target, options: DataOptions, name: str) -> NDArray[np.uint8]:
    return decode(storage.read(name), target, options)


def _decode_all(
    entries: list[Entry],
    shape: tuple[int, int, int],
    decode_name: partial[NDArray[np.uint8]],
    skipped: dict[str, str],
) -> tuple[Tensor, list[Entry]]:
    """The pictures that can be decoded, as one tensor, with their entries; the others go to `skipped`."""

    def attempt(entry: Entry) -> NDArray[np.uint8] | str:
        try:
            return decode_name(entry.name)
        except Unreadable as error:
            return str(error)

    pixels = torch.empty((len(entries), *shape), dtype=torch.uint8)
    kept: list[Entry] = []
    for entry, picture in zip(entries, in_threads(attempt, entries), strict=True):
        if isinstance(picture, str):
            skipped[entry.name] = picture
        else:
            pixels[len(kept)] = torch.from_numpy(np.array(picture))
            kept.append(entry)
    return pixels[: len(kept)], kept


def _ordered_splits(entries: tuple[Entry, ...]) -> list[str]:
    found = {entry.split for entry in entries}
    usual = ("train", "validation", "test")
    return [split for split in usual if split in found] + sorted(found.difference(usual))


def choose_shape(
    headers: list[Header], options: DataOptions, default_size: int | None
) -> tuple[int, int, int]:
    """Channels, height and width for pictures with these `headers`, by the rules in `DataOptions`."""
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


def refuse_unreadable(skipped: Mapping[str, str], total: int, options: DataOptions) -> None:
    """Raise `UserError` if more pictures are unreadable than `options` allow."""
    allowed = MAX_UNREADABLE * total if options.unreadable == "skip" else 0
    if len(skipped) <= allowed:
        return
    first = "; ".join(f"{printable(name)} ({reason})" for name, reason in list(skipped.items())[:3])
    raise UserError(
        f"{len(skipped)} of {total} pictures cannot be read: {first}; expected at most {int(allowed)}; type "
        f"`ganforge data check {printable(options.data)}` for the whole list, then mend or remove them"
    )


def _finish(
    options: DataOptions,
    splits: Mapping[str, Images],
    class_names: tuple[str, ...],
    values: str,
    fingerprint: str,
    skipped: Mapping[str, str] | None = None,
    mixture: Mixture | None = None,
) -> Dataset:
    if "train" not in splits:
        raise UserError(
            f"{printable(options.data)} has no training pictures, only "
            f"{', '.join(splits) or 'unreadable ones'}: "
            "expected a split called train"
        )
    if options.binarise != "none":
        splits = _binarise(splits, options)
    channels, height, width = splits["train"].shape
    spec = DataSpec.model_validate(
        {
            "channels": channels,
            "height": height,
            "width": width,
            "num_images": len(splits["train"]),
            "values": values,
            "binary": options.binarise != "none",
            "class_names": class_names,
        }
    )
    return Dataset(options, spec, splits, fingerprint, tuple((skipped or {}).items()), mixture)


def _binarise(splits: Mapping[str, Images], options: DataOptions) -> Mapping[str, Images]:
    """Held-out splits are drawn once whatever is asked for, so that a score is one of fixed pictures."""
    if options.dequantise:
        raise UserError("--dequantise would blur what --binarise makes black or white: leave one of them out")
    kept = {"train"} if options.binarise == "dynamic" else set()
    once = {split: binarised_once(images, options.data) for split, images in splits.items()}
    return {split: splits[split] if split in kept else images for split, images in once.items()}


def _hash_arrays(splits: Mapping[str, Images], class_names: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr(class_names).encode("utf-8", "backslashreplace"))
    for split, images in sorted(splits.items()):
        assert images.pixels is not None
        for part in (images.pixels, images.labels):
            if part is not None:
                digest.update(f"{split} {part.dtype} {tuple(part.shape)}".encode())
                digest.update(part.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def _hash_names(
    entries: list[Entry], storage: Storage, shape: tuple[int, int, int], class_names: tuple[str, ...]
) -> str:
    digest = hashlib.sha256(repr((shape, class_names)).encode("utf-8", "backslashreplace"))
    for entry in entries:
        line = f"{entry.split} {entry.name} {entry.label} {storage.size(entry.name)}\n"
        digest.update(line.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()
