"""`check`: inspect a data set, and find its faults before training."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ganforge.data.decode import Header, Unreadable, decode_measured, decode_whole
from ganforge.data.derived_pairs import check_derivation, derived_shape, is_derived
from ganforge.data.image_files import (
    SHOWN_UNREADABLE,
    choose_shape,
    choose_source_channels,
    too_many_unreadable,
)
from ganforge.data.levels import Levels, parse_levels, show_level
from ganforge.data.open import open_dataset, settle_without_files
from ganforge.data.options import DataOptions
from ganforge.data.pairs import PairHeader, Partners, find_partners, of_source, read_pair_header, read_partner
from ganforge.data.report import Report, shorten
from ganforge.data.settle import Settled, range_lines, settle, widest
from ganforge.data.sources import toys
from ganforge.data.sources.arrays import Arrays
from ganforge.data.sources.catalogue import ImageFiles, Origin, Own, Points, PointsFile, locate
from ganforge.data.sources.entry import Entry, counted, of
from ganforge.data.sources.scenes import Scenes
from ganforge.data.sources.shards import PREFIX as SHARDS
from ganforge.data.sources.shards import Shards
from ganforge.data.sources.stacked_mnist import Stacked
from ganforge.data.sources.storage import Storage
from ganforge.data.split import in_threads
from ganforge.errors import UserError, printable
from ganforge.nn.stages import nearest_rectangle, rectangle_stages, size_option

FEW_IMAGES = 1000
STRONG_IMBALANCE = 10.0
ASPECT_TOLERANCE = 0.25  # relative difference to the usual aspect ratio


@dataclass(frozen=True, slots=True)
class _Finding:
    """One image, examined; `colorless` if it is stored in colour but every pixel is grey."""

    header: Header
    source: Header | None
    digest: bytes
    colorless: bool
    levels: Levels | None


def check(options: DataOptions) -> Report:
    """Inspect every image of the data that `options` describe.

    Raises `UserError` only if there are no such data; all faults inside them are in the report.
    """
    shown = printable(options.data)
    try:
        origin: Origin = locate(options)
    except UserError as error:
        if not _is_there(options):
            raise
        return Report(data=shown, problems=[str(error)])
    if isinstance(origin, Shards):
        return _check_opened(shown, options)
    if not isinstance(origin, ImageFiles):
        options = settle_without_files(options)
    if isinstance(origin, Points):
        counts = {split: len(toys.draw(origin.name, split)[0]) for split in ("train", "test")}
        return Report(data=shown, shape=(2, 1, 1), counts=counts)
    if isinstance(origin, PointsFile):
        return Report(data=shown, shape=(2, 1, 1), counts={"train": len(origin.points)})
    if isinstance(origin, Scenes | Own):
        return _check_opened(shown, options)
    if isinstance(origin, Stacked):
        return _check_stacked(shown, origin, options)
    if isinstance(origin, Arrays):
        return _check_arrays(shown, origin, options)
    return _check_images(shown, origin, options)


def _is_there(options: DataOptions) -> bool:
    try:
        path = options.data.removeprefix("celeba:").removeprefix(SHARDS)
        return Path(path).expanduser().exists()
    except (OSError, ValueError):
        return False


def _check_stacked(shown: str, origin: Stacked, options: DataOptions) -> Report:
    """Counts and sizes; equal random stacks are not a fault."""
    counts = {split: len(triples) for split, triples in origin.triples.items()}
    height, width = origin.digits["train"].shape[1:3]
    total = sum(counts.values())
    try:
        shape = open_dataset(options).spec.shape
    except UserError as error:
        return Report(data=shown, counts=counts, problems=[str(error)])
    sizes = {f"{width}x{height}": total}
    return Report(data=shown, shape=shape, counts=counts, sizes=sizes, modes={"RGB": total})


def _check_opened(shown: str, options: DataOptions) -> Report:
    """Counts, captions and classes of data as they are opened."""
    try:
        dataset = open_dataset(options)
    except UserError as error:
        return Report(data=shown, problems=[str(error)])
    counts = {split: len(images) for split, images in dataset.splits.items()}
    labels, names = dataset.splits["train"].labels, dataset.spec.class_names
    numbers = [] if labels is None else labels.bincount(minlength=len(names)).tolist()
    classes = dict(zip(names, numbers, strict=True))
    height, width = dataset.spec.height, dataset.spec.width
    total = sum(counts.values())
    return Report(
        data=shown,
        shape=dataset.spec.shape,
        source_shape=dataset.spec.source_shape,
        counts=counts,
        sizes={f"{width}x{height}": total},
        modes={"L" if dataset.spec.channels == 1 else "RGB": total},
        classes=classes,
        imbalance=_imbalance(classes),
        with_captions=0 if dataset.splits["train"].captions is None else total,
    )


def _check_arrays(shown: str, origin: Arrays, options: DataOptions) -> Report:
    counts = {split: len(pixels) for split, pixels in origin.pixels.items()}
    height, width, depth = origin.pixels["train"].shape[1:]
    channels = {"auto": depth, "grey": 1, "color": 3}[options.channels]
    shape = (channels, *(options.sides or (height, width)))
    digests = [
        (f"{split}/{row}", split, hashlib.sha256(image.data).digest())
        for split, pixels in origin.pixels.items()
        for row, image in enumerate(pixels)
    ]
    classes: dict[str, int] = {}
    if origin.class_names:
        numbers = np.bincount(origin.labels["train"], minlength=len(origin.class_names))
        classes = {name: int(count) for name, count in zip(origin.class_names, numbers, strict=True)}
    duplicates, across = _group_duplicates(digests)
    return Report(
        data=shown,
        shape=shape,
        source_shape=_source_shape(shape, [], options),
        counts=counts,
        sizes={f"{width}x{height}": sum(counts.values())},
        modes={"L" if depth == 1 else "RGB": sum(counts.values())},
        classes=classes,
        imbalance=_imbalance(classes),
        duplicates=duplicates,
        duplicates_across_splits=across,
        warnings=_general_warnings(counts, classes, duplicates, across),
    )


def _check_images(shown: str, origin: ImageFiles, options: DataOptions) -> Report:
    entries, present = origin.listing.entries, set(origin.storage.names)
    try:
        partners = find_partners(entries, origin.storage, options)
    except UserError as error:
        return Report(data=shown, problems=[str(error)])
    findings = list(
        zip(entries, in_threads(partial(_examine, origin.storage, partners), entries), strict=True)
    )
    unreadable = {printable(entry.name): reason for entry, reason in findings if isinstance(reason, str)}
    good = [(entry, finding) for entry, finding in findings if isinstance(finding, _Finding)]
    headers = [finding.header for _, finding in good]
    counts = dict(Counter(entry.split for entry, _ in good))
    classes = _class_counts(origin, [entry for entry, _ in good])
    duplicates, across = _group_duplicates(
        (printable(entry.name), entry.split, finding.digest) for entry, finding in good
    )
    shape = choose_shape(headers, options, origin.default_size) if headers else None
    settled, unsettled = _settle(origin, partners, good, shape, options)
    fit = options.fit if settled is None else settled.options.fit
    missing = _missing_partners(entries, present, partners, options)
    return Report(
        data=shown,
        shape=shape,
        source_shape=_source_shape(shape, [PairHeader(f.header, f.source) for _, f in good], options),
        counts=counts,
        sizes=dict(Counter(f"{head.width}x{head.height}" for head in headers).most_common()),
        modes=dict(Counter(head.mode for head in headers).most_common()),
        with_alpha=sum(head.alpha for head in headers),
        animated=sum(head.animated for head in headers),
        paged=sum(head.paged for head in headers),
        used_range=widest(finding.levels for _, finding in good),
        fit=fit,
        fit_reason="" if settled is None else settled.fit_reason,
        classes=classes,
        imbalance=_imbalance(classes),
        unlabelled=sum(entry.label is None for entry in entries),
        with_captions=sum(bool(entry.captions) for entry, _ in good),
        partners_missing=missing,
        duplicates=duplicates,
        duplicates_across_splits=across,
        unreadable=unreadable,
        unlisted=origin.listing.unlisted,
        notes=list(origin.listing.notes),
        problems=_problems(unreadable, len(entries), counts, options) + _unfit(shape, options) + unsettled,
        warnings=_general_warnings(counts, classes, duplicates, across)
        + _lone_files(partners, good, options)
        + _range_warnings(good, options if settled is None else settled.options)
        + _image_warnings(origin, good, shape, fit, options, len(missing)),
    )


def _settle(
    origin: ImageFiles,
    partners: Partners | None,
    good: list[tuple[Entry, _Finding]],
    shape: tuple[int, int, int] | None,
    options: DataOptions,
) -> tuple[Settled | None, list[str]]:
    """What the options come to, and why training would reject them."""
    if shape is None:
        return None, []
    pairs = [(entry, PairHeader(finding.header, finding.source)) for entry, finding in good]
    try:
        return settle(origin, partners, pairs, shape, options), []
    except UserError as error:
        return None, [str(error)]


def _missing_partners(
    entries: Iterable[Entry], present: set[str], partners: Partners | None, options: DataOptions
) -> list[str]:
    missing = [
        f"{printable(entry.name)} -> {printable(partner)}"
        for entry in entries
        for partner in entry.partners
        if partner not in present
    ]
    if options.sources is not None and partners is not None:
        missing += [printable(entry.name) for entry in entries if entry.name not in partners.names]
    return missing


def _examine(storage: Storage, partners: Partners | None, entry: Entry) -> _Finding | str:
    try:
        data = storage.read(entry.name)
        headers = read_pair_header(data, partners, entry)
        pixels, levels = decode_measured(data)
        if partners is not None and partners.half is None:
            source = read_partner(partners, entry.name)
            try:
                decode_whole(source)
            except Unreadable as error:
                raise of_source(partners, entry.name, error) from error
    except Unreadable as error:
        return str(error)
    header = headers.image
    colorless = not header.grey and bool((pixels == pixels[:1]).all())
    return _Finding(header, headers.source, _digest(pixels), colorless, levels)


def _source_shape(
    shape: tuple[int, int, int] | None, headers: list[PairHeader], options: DataOptions
) -> tuple[int, int, int] | None:
    if shape is None:
        return None
    channels = choose_source_channels(headers)
    if is_derived(options.pairs):
        return derived_shape(options.pairs, shape)
    return (channels, *shape[1:]) if channels else None


def _unfit(shape: tuple[int, int, int] | None, options: DataOptions) -> list[str]:
    """Why training would reject sources derived from images of `shape`."""
    if shape is None or not is_derived(options.pairs):
        return []
    try:
        check_derivation(options.pairs, options.jitter, *shape[1:])
    except UserError as error:
        return [str(error)]
    return []


def _lone_files(
    partners: Partners | None, good: list[tuple[Entry, _Finding]], options: DataOptions
) -> list[str]:
    """Sources without an image, and files that are not two images side by side."""
    if partners is None or (options.sources is None and partners.half is None):
        return []
    if options.sources is not None:
        used = set(partners.names.values())
        lone = [name for name in partners.storage.image_names if name not in used]
        what = "sources have no image"
    else:
        aspects = {entry.name: finding.header.width / finding.header.height for entry, finding in good}
        usual = median(aspects.values()) if aspects else 1.0
        lone = [name for name, aspect in aspects.items() if abs(aspect / usual - 1) > ASPECT_TOLERANCE]
        what = "files have an unusual aspect ratio: are they two images side by side?"
    return [f"{len(lone)} {what}: {shorten(map(printable, lone))}"] if lone else []


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def _class_counts(origin: ImageFiles, entries: list[Entry]) -> dict[str, int]:
    if not origin.listing.class_names:
        return {}
    counted = Counter(entry.label for entry in entries if entry.split == "train")
    return {printable(name): counted[name] for name in origin.listing.class_names}


def _imbalance(classes: dict[str, int]) -> float | None:
    present = [count for count in classes.values() if count]
    return max(present) / min(present) if present else None


def _group_duplicates(digests: Iterable[tuple[str, str, bytes]]) -> tuple[list[list[str]], int]:
    """Groups of names with the same digest, and how many of the groups lie in more than one split."""
    groups: dict[bytes, list[tuple[str, str]]] = {}
    for name, split, digest in digests:
        groups.setdefault(digest, []).append((name, split))
    several = [group for group in groups.values() if len(group) > 1]
    across = sum(len({split for _, split in group}) > 1 for group in several)
    return [[name for name, _ in group] for group in several], across


def _problems(
    unreadable: dict[str, str], total: int, counts: dict[str, int], options: DataOptions
) -> list[str]:
    line = too_many_unreadable(unreadable, total, options)
    more = "; --json names all" if len(unreadable) > SHOWN_UNREADABLE else ""
    problems = [] if line is None else [f"{line}: repair or remove them{more}"]
    if not counts:
        problems.append("no image can be read: there is nothing to train on")
    elif not counts.get("train"):
        problems.append(
            f"there are no training images, only {', '.join(counts)}: expected a split called train"
        )
    return problems


def _general_warnings(
    counts: dict[str, int], classes: dict[str, int], duplicates: list[list[str]], across: int
) -> list[str]:
    warnings = []
    train = counts.get("train", 0)
    if 0 < train < FEW_IMAGES:
        warnings.append(
            f"{of(train, 'training image')}: a GAN memorises so few; expected {FEW_IMAGES:,} or more"
        )
    imbalance = _imbalance(classes)
    if imbalance is not None and imbalance > STRONG_IMBALANCE:
        warnings.append(f"the largest class has {imbalance:.0f} times as many images as the smallest")
    empty = [name for name, count in classes.items() if not count]
    if empty:
        warnings.append(f"classes without a training image: {shorten(empty)}")
    if duplicates:
        copies = sum(len(group) - 1 for group in duplicates)
        what = "an exact copy" if copies == 1 else "exact copies"
        warnings.append(f"{counted(copies, 'image')} {what} of another")
    if across:
        warnings.append(
            f"{counted(across, 'image')} in more than one split: scores on held-out images will be too good"
        )
    return warnings


def _range_warnings(good: list[tuple[Entry, _Finding]], options: DataOptions) -> list[str]:
    """Images that use little of their range, or more than the one that was chosen."""
    warnings = []
    for bits in sorted({finding.header.bits for _, finding in good}):
        levels = widest(finding.levels for _, finding in good if finding.header.bits == bits)
        chosen = parse_levels(options.range)
        if levels is None:
            continue
        if chosen is None and options.range == "full":
            warnings += range_lines(levels, bits)
        elif chosen is not None and (levels[0] < chosen[0] or levels[1] > chosen[1]):
            warnings.append(
                f"the pixels use {show_level(levels[0])} to {show_level(levels[1])}, more than --range "
                f"{options.range}, which clips them"
            )
    return warnings


def _image_warnings(
    origin: ImageFiles,
    good: list[tuple[Entry, _Finding]],
    shape: tuple[int, int, int] | None,
    fit: str,
    options: DataOptions,
    partners_missing: int,
) -> list[str]:
    listing, warnings = origin.listing, list[str]()
    unpaired = sum(not entry.partners for entry in listing.entries)
    if options.pairs == "auto" and options.sources is None and 0 < unpaired < len(listing.entries):
        warnings.append(
            f"{unpaired} of {of(len(listing.entries), 'image')} name no source: no source is used"
        )
    if partners_missing:
        warnings.append(f"{of(partners_missing, 'partner image')} cannot be found")
    if shape is None:
        return warnings
    headers = [finding.header for _, finding in good]
    wide = all(header.width == 2 * header.height for header in headers)
    if wide and options.pairs == "auto" and options.sources is None and unpaired == len(listing.entries):
        warnings.append(
            "every image is twice as wide as high: if each file is two images, type --pairs side-by-side"
        )
    in_color = options.channels == "auto" and shape[0] == 3
    if in_color and all(finding.colorless or finding.header.grey for _, finding in good):
        warnings.append("every image is grey though stored in color: `--channels grey` is faster")
    if rectangle_stages(*shape[1:]) is None:
        nearest = size_option(*nearest_rectangle(*shape[1:]))
        warnings.append(
            f"{shape[1]}x{shape[2]} (height x width) does not fit convolutional GANs: --size {nearest} does"
        )
    num_sizes = len({(header.width, header.height) for header in headers})
    if options.size is None and num_sizes > 1:
        warnings.append(
            f"{num_sizes:,} different sizes: all become {shape[2]}x{shape[1]}, by --fit {fit}; "
            "--size N chooses another"
        )
    small = sum(_is_enlarged(header, shape, fit, origin.centre_crop) for header in headers)
    if small:
        warnings.append(f"{counted(small, 'image')} smaller than {shape[2]}x{shape[1]} and will be enlarged")
    return warnings


def _is_enlarged(header: Header, shape: tuple[int, int, int], fit: str, centre_crop: int | None) -> bool:
    width, height = header.width, header.height
    if centre_crop is not None:
        width, height = min(width, centre_crop), min(height, centre_crop)
    across, down = shape[2] / width, shape[1] / height
    return (min(across, down) if fit == "pad" else max(across, down)) > 1
