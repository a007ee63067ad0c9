"""Opening a data set by name or path."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganforge.data.batch import DataSpec
from ganforge.data.binarise import binarised_once
from ganforge.data.captions import spec_of_captions
from ganforge.data.dataset import Dataset, Stack
from ganforge.data.decode import fit, flatten, to_array
from ganforge.data.decoded_cache import open_encoded_once
from ganforge.data.derived_pairs import derivation, derived_shape, is_derived
from ganforge.data.fingerprint import hash_arrays, hash_names
from ganforge.data.options import DataOptions
from ganforge.data.own import OwnData, read_own
from ganforge.data.pairs import refuse_files_of_pairs
from ganforge.data.shards import open_shards
from ganforge.data.sources import toys
from ganforge.data.sources.arrays import Arrays, resize_together
from ganforge.data.sources.catalogue import ImageFiles, Own, Points, PointsFile, locate
from ganforge.data.sources.scene_attributes import KINDS
from ganforge.data.sources.scenes import DEFAULT_SIDE, Scenes
from ganforge.data.sources.shards import Shards
from ganforge.data.sources.stacked_mnist import Stacked, stacks
from ganforge.data.split import Split, in_memory
from ganforge.errors import UserError, printable


def open_dataset(options: DataOptions, own: OwnData | None = None) -> Dataset:
    """Open the data that `options` describe; those of a Python program are `own`.

    Raises `UserError` if there are none, more than 5 % of the images cannot be read, or options contradict
    the data.
    """
    origin = locate(options) if own is None else Own(own)
    if options.alpha == "keep" and not isinstance(origin, ImageFiles | Shards):
        raise UserError(
            f"--alpha keep is for image files, which {printable(options.data)} is not: leave it out"
        )
    if isinstance(origin, ImageFiles | Shards):
        return _open_images(origin, options)
    options = settle_without_files(options)
    if isinstance(origin, Points):
        return _open_points(origin, options)
    if isinstance(origin, PointsFile):
        return points_dataset(torch.from_numpy(origin.points), options)
    refuse_files_of_pairs(options)
    if isinstance(origin, Own):
        return _open_own(origin, options)
    if isinstance(origin, Arrays):
        return _open_arrays(origin, options)
    if isinstance(origin, Scenes):
        return _open_scenes(origin, options)
    return _open_stacked(origin, options)


def settle_without_files(options: DataOptions) -> DataOptions:
    """`options` of arrays and points, which have no metadata and fill their range; raises UserError."""
    if options.range != "full":
        raise UserError(
            f"--range {options.range} is for image files, but {printable(options.data)} has none: "
            "leave it out"
        )
    if options.label_column not in ("auto", "label"):
        raise UserError(
            f"--label-column {printable(options.label_column)} is for image files with metadata, and "
            f"{printable(options.data)} has none: leave it out"
        )
    fit = "crop" if options.fit == "auto" else options.fit
    return options.model_copy(update={"fit": fit, "label_column": "label"})


def source_fingerprint(options: DataOptions) -> str:
    """SHA-256, in hex, of the data as they are stored: the same for any size, channels and label column.

    Of arrays, all bytes and label numbers; of images in files, their names, lengths, splits and labels.
    """
    origin = locate(
        options.model_copy(update={"label_column": DataOptions.model_fields["label_column"].default})
    )
    if isinstance(origin, ImageFiles):
        return hash_names(list(origin.listing.entries), origin.storage, (0, 0, 0), ())
    if isinstance(origin, Points | PointsFile | Scenes | Shards | Stacked | Own):
        return open_dataset(options).fingerprint
    digest = hashlib.sha256()
    for split, pixels in sorted(origin.pixels.items()):
        for part in (pixels, origin.labels.get(split)):
            if part is not None:
                digest.update(f"{split} {part.dtype} {part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data.cast("B"))
    return digest.hexdigest()


def points_dataset(points: Tensor, options: DataOptions) -> Dataset:
    """The data set of `points` float32 `[count, 2]`, all of them for training; `options.data` names it."""
    _refuse_image_options(options)
    splits = {"train": in_memory(points.reshape(-1, 2, 1, 1), None)}
    return _finish(options, splits, (), "points", hash_arrays(splits, ()))


def _refuse_image_options(options: DataOptions) -> None:
    for name in ("size", "flip", "dequantise", "binarise", "pairs", "sources", "jitter"):
        if getattr(options, name) not in (None, False, 0, "none", "auto"):
            raise UserError(
                f"--{name} is for images, but {printable(options.data)} holds 2-D points: leave it out"
            )


def _open_points(origin: Points, options: DataOptions) -> Dataset:
    _refuse_image_options(options)
    splits = {split: in_memory(*toys.draw(origin.name, split)) for split in ("train", "test")}
    labels = splits["train"].labels
    class_names = () if labels is None else tuple(str(number) for number in range(int(labels.max()) + 1))
    fingerprint = hash_arrays(splits, class_names)
    dataset = _finish(options, splits, class_names, "points", fingerprint)
    exact = origin.name == "gaussian"
    return replace(
        dataset,
        mixture=toys.mixture_of(origin.name),
        moments=(toys.GAUSSIAN_MEAN, toys.GAUSSIAN_COVARIANCE) if exact else None,
    )


def _open_arrays(origin: Arrays, options: DataOptions) -> Dataset:
    splits = {
        split: in_memory(
            fit_arrays(pixels, options),
            torch.from_numpy(origin.labels[split]) if origin.class_names else None,
        )
        for split, pixels in origin.pixels.items()
    }
    return _finish(options, splits, origin.class_names, "pixels", hash_arrays(splits, origin.class_names))


def _open_own(origin: Own, options: DataOptions) -> Dataset:
    found = read_own(origin.values, options, fit_arrays)
    dataset = _finish(options, found.splits, found.class_names, "pixels", found.fingerprint)
    return replace(dataset, notes=found.notes)


def _open_stacked(origin: Stacked, options: DataOptions) -> Dataset:
    if options.channels == "grey":
        raise UserError(
            f"--channels grey would mix the digits of {options.data}: leave it out, or take --data mnist"
        )
    splits, digest = {}, hashlib.sha256()
    # Resized before they are stacked: each colour is an image of its own.
    each = options.model_copy(update={"channels": "grey"})
    for split, triples in origin.triples.items():
        digits = fit_arrays(origin.digits[split], each)
        splits[split] = stacks(digits, triples)
        for part in (digits, triples):
            digest.update(f"{split} {part.dtype} {tuple(part.shape)}".encode())
            digest.update(part.numpy().data.cast("B"))
    dataset = _finish(options, splits, (), "pixels", digest.hexdigest())
    return replace(dataset, stack=Stack("mnist", num_samples=26_000))  # as VEEGAN and PacGAN count


def _open_scenes(origin: Scenes, options: DataOptions) -> Dataset:
    """Drawn at the requested size; where that is no square, at its longer side, and fitted like images."""
    side = max(options.sides or (DEFAULT_SIDE,))
    splits, digest = {}, hashlib.sha256(repr((KINDS, options.sides, options.channels, options.fit)).encode())
    for split, attributes in origin.attributes.items():
        pixels = fit_arrays(origin.images(split, side).transpose(0, 2, 3, 1), options)
        labels = torch.from_numpy(origin.labels(split))
        splits[split] = in_memory(pixels, labels, origin.captions[split])
        # Not of the pixels: edges of shapes may differ by a grey level from machine to machine.
        for part in (attributes, *origin.digits[split]):
            digest.update(f"{split} {part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data.cast("B"))
    dataset = _finish(options, splits, KINDS, "pixels", digest.hexdigest())
    attributes_of = {split: torch.from_numpy(part) for split, part in origin.attributes.items()}
    return replace(dataset, scenes=attributes_of)


def fit_arrays(pixels: NDArray[np.uint8], options: DataOptions) -> Tensor:
    """`pixels` uint8 `[count, height, width, channels]` in the shape of `options`.

    Returns uint8 `[count, channels, height, width]`.
    """
    count, height, width, depth = pixels.shape
    channels = {"auto": depth, "grey": 1, "color": 3}[options.channels]
    height, width = options.sides or (height, width)
    if (count, height, width, channels) == pixels.shape:
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    if channels >= depth and width * pixels.shape[1] == height * pixels.shape[2]:
        blocks = range(0, count, 4096)
        parts = [resize_together(pixels[start : start + 4096], width, height) for start in blocks]
        fitted = np.concatenate(parts).transpose(0, 3, 1, 2)
        return torch.from_numpy(
            np.ascontiguousarray(np.broadcast_to(fitted, (count, channels, height, width)))
        )
    fitted = np.empty((count, channels, height, width), dtype=np.uint8)
    for row, array in enumerate(pixels):
        image = Image.fromarray(array[..., 0] if depth == 1 else array)
        plain = flatten(image, channels, options.background)
        fitted[row] = to_array(fit(plain, width, height, options))
    return torch.from_numpy(fitted)


def _open_images(origin: ImageFiles | Shards, options: DataOptions) -> Dataset:
    if isinstance(origin, ImageFiles):
        files = open_encoded_once(origin, options)
    else:
        files = open_shards(origin, options)
    fingerprint = files.fingerprint or hash_arrays(files.splits, files.class_names)
    dataset = _finish(
        files.options, files.splits, files.class_names, "pixels", fingerprint, files.skipped, files.bits
    )
    dataset = replace(dataset, notes=files.notes)
    return replace(dataset, finer_label_column="subcategory" if options.data == "emoji" else None)


def _finish(
    options: DataOptions,
    splits: Mapping[str, Split],
    class_names: tuple[str, ...],
    values: str,
    fingerprint: str,
    skipped: Mapping[str, str] | None = None,
    bits: int = 8,
) -> Dataset:
    if "train" not in splits:
        raise UserError(
            f"{printable(options.data)} has no training images, only "
            f"{', '.join(splits) or 'unreadable ones'}: "
            "expected a split called train"
        )
    channels, height, width = splits["train"].shape
    if is_derived(options.pairs):
        derive = derivation(options.pairs, height, width, options.jitter)
        made = derived_shape(options.pairs, (channels, height, width))
        splits = {split: images.with_derived(derive, made) for split, images in splits.items()}
        fingerprint = hashlib.sha256(f"{fingerprint} {options.pairs}".encode()).hexdigest()
    undrawn = splits["train"] if options.binarise == "dynamic" else None
    if options.binarise != "none":
        splits = _binarise(splits, options)
    alphabet, caption_length = spec_of_captions(splits["train"].captions)
    if options.balance_classes and splits["train"].labels is None:
        raise UserError(
            f"--balance-classes needs classes, and {printable(options.data)} has none: leave it out"
        )
    spec = DataSpec.model_validate(
        {
            "channels": channels,
            "height": height,
            "width": width,
            "num_images": len(splits["train"]),
            "values": values,
            "binary": options.binarise != "none",
            "class_names": class_names,
            "caption_alphabet": alphabet,
            "caption_length": caption_length,
            "source_shape": splits["train"].source_shape,
            "bits": bits,
        }
    )
    return Dataset(options, spec, splits, fingerprint, tuple((skipped or {}).items()), undrawn=undrawn)


def _binarise(splits: Mapping[str, Split], options: DataOptions) -> Mapping[str, Split]:
    """Each image is drawn once, also for "dynamic", so that a score is one of fixed images."""
    if options.dequantise:
        raise UserError("--dequantise would blur what --binarise makes black or white: leave one of them out")
    return {split: binarised_once(images, options.data) for split, images in splits.items()}
