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
from pydantic import BaseModel, ConfigDict

from ganforge.data.decode import Header, Unreadable, decode_whole
from ganforge.data.derived_pairs import check_derivation, derived_shape, is_derived
from ganforge.data.image_files import choose_shape, choose_source_channels, refuse_unreadable
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pairs import PairHeader, Partners, find_partners, of_source, read_pair_header, read_partner
from ganforge.data.sources import toys
from ganforge.data.sources.arrays import Arrays
from ganforge.data.sources.catalogue import ImageFiles, Origin, Points, locate
from ganforge.data.sources.image_folder import Entry
from ganforge.data.sources.stacked_mnist import Stacked
from ganforge.data.sources.storage import Storage, is_image_name
from ganforge.data.split import in_threads
from ganforge.errors import UserError, printable

FEW_IMAGES = 1000
STRONG_IMBALANCE = 10.0
ASPECT_TOLERANCE = 0.25  # relative difference to the usual aspect ratio
SHOWN = 10  # items of a list in `lines`; `to_json` has all


class Report(BaseModel):
    """The result of `check`; `problems` make training fail, `warnings` may spoil its result.

    `counts` is readable images by split; `sizes` ("64x48": width x height) and `modes` (Pillow's names)
    count images, the most common first; `classes` counts the training split, `imbalance` is its largest
    class over its smallest. `duplicates` are groups of files with exactly equal pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    shape: tuple[int, int, int] | None = None
    source_shape: tuple[int, int, int] | None = None
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    modes: dict[str, int] = {}
    with_alpha: int = 0
    classes: dict[str, int] = {}
    imbalance: float | None = None
    unlabelled: int = 0
    with_captions: int = 0
    partners_missing: list[str] = []
    duplicates: list[list[str]] = []
    duplicates_across_splits: int = 0
    unreadable: dict[str, str] = {}
    unlisted: int = 0
    problems: list[str] = []
    warnings: list[str] = []

    def to_json(self) -> str:
        """The whole report as JSON."""
        return self.model_dump_json(indent=2)

    def lines(self) -> list[str]:
        """The report for a terminal; long lists are cut, with their length."""
        lines = [f"data        {self.data}"]
        if self.shape is not None:
            lines.append(f"shape       {'x'.join(map(str, self.shape))} (channels, height, width)")
        if self.source_shape is not None:
            lines.append(f"sources     {'x'.join(map(str, self.source_shape))}, one for each image")
        for title, counts in (
            ("images", self.counts),
            ("sizes", self.sizes),
            ("modes", self.modes),
            ("classes", self.classes),
        ):
            if counts:
                lines.append(f"{title:<12}{_shorten(f'{name}: {count}' for name, count in counts.items())}")
        if self.imbalance is not None:
            lines.append(f"imbalance   {self.imbalance:.1f} (largest class / smallest class)")
        total = sum(self.counts.values())
        for title, count in (("with alpha", self.with_alpha), ("captions", self.with_captions)):
            if count:
                lines.append(f"{title:<12}{count} of {total}")
        if self.duplicates:
            groups = (" = ".join(group[:3]) for group in self.duplicates)
            lines.append(f"duplicates  {_shorten(groups)}")
        if self.partners_missing:
            lines.append(f"no partner  {_shorten(self.partners_missing)}")
        if self.unreadable:
            files = (f"{name} ({reason})" for name, reason in self.unreadable.items())
            lines.append(f"unreadable  {_shorten(files)}")
        lines += [f"problem     {line}" for line in self.problems]
        lines += [f"warning     {line}" for line in self.warnings]
        return lines if self.problems else [*lines, "ready to train"]


@dataclass(frozen=True, slots=True)
class _Finding:
    """One image, examined; `colorless` if it is stored in colour but every pixel is grey."""

    header: Header
    source: Header | None
    digest: bytes
    colorless: bool


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
    if isinstance(origin, Points):
        counts = {split: len(toys.draw(origin.name, split)[0]) for split in ("train", "test")}
        return Report(data=shown, shape=(2, 1, 1), counts=counts)
    if isinstance(origin, Stacked):
        return _check_stacked(shown, origin, options)
    if isinstance(origin, Arrays):
        return _check_arrays(shown, origin, options)
    return _check_images(shown, origin, options)


def _is_there(options: DataOptions) -> bool:
    try:
        return Path(options.data.removeprefix("celeba:")).expanduser().exists()
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


def _check_arrays(shown: str, origin: Arrays, options: DataOptions) -> Report:
    counts = {split: len(pixels) for split, pixels in origin.pixels.items()}
    height, width, depth = origin.pixels["train"].shape[1:]
    channels = {"auto": depth, "grey": 1, "color": 3}[options.channels]
    shape = (channels, options.size or height, options.size or width)
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
    missing = [
        f"{printable(entry.name)} -> {printable(partner)}"
        for entry in entries
        for partner in entry.partners
        if partner not in present
    ]
    if options.sources is not None and partners is not None:
        missing += [printable(entry.name) for entry in entries if entry.name not in partners.names]
    return Report(
        data=shown,
        shape=shape,
        source_shape=_source_shape(shape, [PairHeader(f.header, f.source) for _, f in good], options),
        counts=counts,
        sizes=dict(Counter(f"{head.width}x{head.height}" for head in headers).most_common()),
        modes=dict(Counter(head.mode for head in headers).most_common()),
        with_alpha=sum(head.alpha for head in headers),
        classes=classes,
        imbalance=_imbalance(classes),
        unlabelled=sum(entry.label is None for entry in entries),
        with_captions=sum(bool(entry.captions) for entry, _ in good),
        partners_missing=missing,
        duplicates=duplicates,
        duplicates_across_splits=across,
        unreadable=unreadable,
        unlisted=origin.listing.unlisted,
        problems=_problems(unreadable, len(entries), counts, options) + _unfit(shape, options),
        warnings=_general_warnings(counts, classes, duplicates, across)
        + _lone_files(partners, good, options)
        + _image_warnings(origin, good, shape, options, len(missing)),
    )


def _examine(storage: Storage, partners: Partners | None, entry: Entry) -> _Finding | str:
    try:
        headers = read_pair_header(storage, partners, entry)
        pixels = decode_whole(storage.read(entry.name))
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
    return _Finding(header, headers.source, _digest(pixels), colorless)


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
        lone = [name for name in partners.storage.names if is_image_name(name) and name not in used]
        what = "sources have no image"
    else:
        aspects = {entry.name: finding.header.width / finding.header.height for entry, finding in good}
        usual = median(aspects.values()) if aspects else 1.0
        lone = [name for name, aspect in aspects.items() if abs(aspect / usual - 1) > ASPECT_TOLERANCE]
        what = "files have an unusual aspect ratio: are they two images side by side?"
    return [f"{len(lone)} {what}: {_shorten(map(printable, lone))}"] if lone else []


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
    problems = []
    try:
        refuse_unreadable(unreadable, total, options)
    except UserError as error:
        problems.append(str(error))
    if not counts.get("train"):
        problems.append("there are no readable training images: expected a split called train")
    return problems


def _general_warnings(
    counts: dict[str, int], classes: dict[str, int], duplicates: list[list[str]], across: int
) -> list[str]:
    warnings = []
    if 0 < counts.get("train", 0) < FEW_IMAGES:
        warnings.append(
            f"only {counts['train']} training images: a GAN will memorise them; expected {FEW_IMAGES} or more"
        )
    imbalance = _imbalance(classes)
    if imbalance is not None and imbalance > STRONG_IMBALANCE:
        warnings.append(f"the largest class has {imbalance:.0f} times as many images as the smallest")
    empty = [name for name, count in classes.items() if not count]
    if empty:
        warnings.append(f"classes without a training image: {_shorten(empty)}")
    if duplicates:
        copies = sum(len(group) - 1 for group in duplicates)
        warnings.append(f"{copies} images are exact copies of another")
    if across:
        warnings.append(f"{across} images lie in more than one split: test scores will be too good")
    return warnings


def _image_warnings(
    origin: ImageFiles,
    good: list[tuple[Entry, _Finding]],
    shape: tuple[int, int, int] | None,
    options: DataOptions,
    partners_missing: int,
) -> list[str]:
    listing, warnings = origin.listing, []
    unlabelled = sum(entry.label is None for entry in listing.entries)
    if 0 < unlabelled < len(listing.entries):
        warnings.append(f"{unlabelled} of {len(listing.entries)} images have no label: no label will be used")
    unpaired = sum(not entry.partners for entry in listing.entries)
    if options.pairs == "auto" and options.sources is None and 0 < unpaired < len(listing.entries):
        warnings.append(f"{unpaired} of {len(listing.entries)} images name no source: no source will be used")
    uncaptioned = sum(not entry.captions for entry in listing.entries)
    if 0 < uncaptioned < len(listing.entries):
        warnings.append(f"{uncaptioned} of {len(listing.entries)} images have no caption")
    if listing.unlisted:
        warnings.append(f"{listing.unlisted} images are not in the metadata and will not be used")
    if partners_missing:
        warnings.append(f"{partners_missing} partner images are missing")
    in_color = options.channels == "auto" and shape is not None and shape[0] == 3
    if in_color and all(finding.colorless or finding.header.grey for _, finding in good):
        warnings.append("every image is grey though stored in color: `--channels grey` is faster")
    num_sizes = len({(finding.header.width, finding.header.height) for _, finding in good})
    if shape is not None and options.size is None and num_sizes > 1:
        warnings.append(f"the sizes differ: all become {shape[2]}x{shape[1]}; choose with --size and --fit")
    if shape is not None:
        small = sum(min(finding.header.width, finding.header.height) < shape[1] for _, finding in good)
        if small:
            warnings.append(f"{small} images are smaller than {shape[2]}x{shape[1]} and will be enlarged")
    return warnings


def _shorten(items: Iterable[str]) -> str:
    listed = list(items)
    return ", ".join(listed[:SHOWN]) + (f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
