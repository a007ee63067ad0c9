"""`pack`: a data set as one indexed zip of lossless images, quick to open and easy to copy."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ganforge.data.alpha import CHANNELS, straight
from ganforge.data.batch import to_float, to_uint8
from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.split import Split, in_threads
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replacing

CHUNK = 256


def pack(options: DataOptions, out: Path, size: int | None = None) -> int:
    """Write the data that `options` describe to the zip `out`, resized to `size`; returns their number.

    The zip holds PNG files, `metadata.jsonl` (file_name, split, label, texts, source, source_file_name) and
    `classes.json`; opening it gives the same pixels, labels and sources. It appears complete or not at all.
    Raises `UserError` if `out` exists already, its folder does not, or the data are points.
    """
    shown = check_free(out)
    if out.suffix.lower() != ".zip":
        raise UserError(f"{shown} is not an archive's name: expected a name ending in .zip")
    dataset = open_dataset(options if size is None else options.model_copy(update={"size": size}))
    if options.pairs.startswith("downscale"):
        raise UserError(f"--pairs {options.pairs} is derived whenever data are opened: leave it out")
    refuse_points(dataset)
    try:
        with replacing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _write(dataset, archive)
    except OSError as error:
        raise UserError(
            f"{shown} could not be written ({error.strerror}): check the disk, then type it again"
        ) from error
    return sum(len(images) for images in dataset.splits.values())


def check_free(out: Path) -> str:
    """How messages show `out`; raises UserError where it exists, or cannot be made."""
    shown = printable(str(out))
    if os.path.lexists(out):
        raise UserError(f"{shown} exists already: choose another name or remove it")
    if not out.parent.is_dir():
        raise UserError(
            f"the folder of {shown} does not exist: type `mkdir -p {printable(str(out.parent))}` first"
        )
    return shown


def refuse_points(dataset: Dataset) -> None:
    """Raise UserError where `dataset` has no images to pack."""
    if dataset.spec.values != "pixels":
        data = printable(dataset.options.data)
        raise UserError(f"{data} holds 2-D points, and pack writes images: use --data with its name")


def _write(dataset: Dataset, archive: zipfile.ZipFile) -> None:
    rows = []
    for split, images in dataset.splits.items():
        for index, (data, source) in enumerate(_encoded(images)):
            name = f"{split}/{index:07d}.png"
            row = _row(dataset, split, index, name)
            # Without a date, so that the same images give the same bytes.
            archive.writestr(zipfile.ZipInfo(name), data)
            if source is not None:
                row["source_file_name"] = f"sources/{name}"
                archive.writestr(zipfile.ZipInfo(f"sources/{name}"), source)
            rows.append(json.dumps(row))
    archive.writestr(zipfile.ZipInfo("classes.json"), json.dumps(dataset.spec.class_names))
    archive.writestr(zipfile.ZipInfo("metadata.jsonl"), "\n".join(rows) + "\n")


def _row(dataset: Dataset, split: str, index: int, name: str) -> dict[str, object]:
    images = dataset.splits[split]
    row: dict[str, object] = {"file_name": name, "split": split, "source": printable(images.name(index))}
    if images.labels is not None:
        row["label"] = dataset.spec.class_names[int(images.labels[index])]
    if images.captions is not None and images.captions[index]:
        row["texts"] = images.captions[index]
    return row


def _encoded(images: Split) -> Iterator[tuple[bytes, bytes | None]]:
    """PNG of every image, and of its source if it has one."""
    for rows in torch.arange(len(images)).split(CHUNK):
        pixels, sources = images.read_pairs(rows)
        encoded = in_threads(to_png, list(pixels))
        if sources is None:
            yield from ((data, None) for data in encoded)
        else:
            yield from zip(encoded, in_threads(to_png, list(sources)), strict=True)


def to_png(image: Tensor) -> bytes:
    """The image uint8 `[channels, height, width]`, as a PNG file."""
    if len(image) == CHANNELS:
        image = to_uint8(straight(to_float(image[None])))[0]
    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(buffer, "PNG")
    return buffer.getvalue()
