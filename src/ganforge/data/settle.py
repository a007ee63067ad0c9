"""What the options of a data set leave to the data: `--fit auto`, `--range data`, `--label-column auto`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ganforge.data.dataset import some_rows
from ganforge.data.decode import Header, Unreadable, Whole, decode_exactly, measure_levels
from ganforge.data.fitting import NUM_MEASURED, Fit, choose_fit
from ganforge.data.levels import Levels, full_levels, show_level, show_levels, to_bytes
from ganforge.data.options import DataOptions
from ganforge.data.pairs import PairHeader, Partners, half_of
from ganforge.data.sources.catalogue import ImageFiles
from ganforge.data.sources.entry import Entry
from ganforge.data.sources.storage import Storage
from ganforge.data.split import Split, in_threads
from ganforge.errors import UserError, printable

LITTLE_RANGE = 0.5  # of black to white: images that use less of it are probably stored in other units


@dataclass(frozen=True)
class Settled:
    """`options` whose fit, range and label column are decided, and the images' `bits` where a range counts.

    `fit_reason` says why, where the fit was left to the images; `notes` what else is to be known.
    """

    options: DataOptions
    bits: int
    fit_reason: str
    notes: tuple[str, ...]


def settle(
    origin: ImageFiles,
    partners: Partners | None,
    good: list[tuple[Entry, PairHeader]],
    shape: tuple[int, int, int],
    options: DataOptions,
) -> Settled:
    """Decide what `options` leave to the images `good`, which become images of `shape`.

    Raises UserError where a range is requested of images of several depths, or floats lie outside of 0 to 1.
    """
    changes, notes = dict[str, object](), list[str]()
    if options.label_column == "auto":
        changes["label_column"] = origin.listing.label_column
    fit = Fit("crop", "")
    if options.fit == "auto":
        if good and origin.centre_crop is None:
            headers = [(entry, head.image) for entry, head in good]
            fit = choose_fit(headers, shape[2] / shape[1], partial(_decode, origin.storage, partners))
        changes["fit"] = fit.fit
    bits = _bits_of_range([head.image for _, head in good], options)
    if options.range == "data":
        levels = _extremes(origin.storage, [entry for entry, _ in good if entry.split == "train"])
        if levels is None or levels[0] == levels[1]:
            raise UserError(
                f"--range data: {printable(options.data)} has one value in every pixel: expected several"
            )
        changes["range"] = show_levels(levels)
        notes.append(f"--range {show_levels(levels)} is what the training images use")
    elif options.range == "full":
        notes += _check_full(origin.storage, good, options)
    return Settled(options.model_copy(update=changes), bits, fit.why, tuple(notes))


def _decode(storage: Storage, partners: Partners | None, entry: Entry) -> Whole:
    whole = decode_exactly(storage.read(entry.name))
    return whole if partners is None or partners.half is None else half_of(whole, partners.half)


def _check_full(storage: Storage, good: list[tuple[Entry, PairHeader]], options: DataOptions) -> list[str]:
    """Lines where images of more than 8 bits use little of their range; raises UserError for odd floats."""
    lines = []
    for bits in (16, 32):
        deep = [entry for entry, head in good if head.image.bits == bits]
        levels = _extremes(storage, deep[:: max(1, -(-len(deep) // NUM_MEASURED))]) if deep else None
        if levels is None:
            continue
        if bits == 32 and (levels[0] < 0 or levels[1] > 1):
            raise UserError(
                f"{printable(options.data)} has {len(deep)} images of floats from {show_level(levels[0])} to "
                f"{show_level(levels[1])}: expected 0 to 1; type --range data, or --range LOW..HIGH for the "
                "values that are black and white"
            )
        lines += range_lines(levels, bits)
    return lines


def _bits_of_range(headers: list[Header], options: DataOptions) -> int:
    """The depth of the images that --range is for; 8 where there is none."""
    if options.range == "full":
        return 8
    counts = Counter(header.bits for header in headers)
    if len(counts) > 1:
        listed = " and ".join(f"{counts[bits]} of {bits} bits" for bits in sorted(counts))
        raise UserError(
            f"--range {options.range}: {printable(options.data)} has images of different depths, {listed}: "
            "expected one depth, since a range is of stored values; keep them apart, or leave --range out"
        )
    return next(iter(counts), 8)


def _extremes(storage: Storage, entries: Sequence[Entry]) -> Levels | None:
    """The lowest and the highest value of the visible pixels of images."""

    def measure(entry: Entry) -> Levels | None:
        try:
            return measure_levels(storage.read(entry.name))
        except Unreadable:
            return None

    return widest(in_threads(measure, entries))


def widest(measured: Iterable[Levels | None]) -> Levels | None:
    """The lowest and the highest of several levels."""
    present = [levels for levels in measured if levels is not None]
    return (min(low for low, _ in present), max(high for _, high in present)) if present else None


def range_lines(levels: Levels, bits: int) -> list[str]:
    """A warning where values between `levels` use less than half of the range of their depth, or more."""
    if levels[0] == levels[1]:
        return [f"every pixel of every image has the value {show_level(levels[0])}"]
    low, high = full_levels(bits)
    inside = low <= levels[0] and levels[1] <= high
    if inside and levels[1] - levels[0] >= LITTLE_RANGE * (high - low):
        return []
    seen = to_bytes(np.array(levels), (low, high), 255)
    deep = "" if bits == 8 else f", so that training sees {seen[0]} to {seen[1]} of 0 to 255"
    line = (
        f"the pixels use {show_level(levels[0])} to {show_level(levels[1])} of {show_level(low)} to "
        f"{show_level(high)}{deep}: type --range data, which makes the lowest black and the highest white"
    )
    return [line]


def little_range_of(images: Split) -> list[str]:
    """The warning for decoded images, all of a split in memory or a thousand, where they use little."""
    some = images.pixels if images.pixels is not None else images.read(some_rows(images, 1000))
    levels = (float(some.min()), float(some.max()))
    return range_lines(levels, 8)
