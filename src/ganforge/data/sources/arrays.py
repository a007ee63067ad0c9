"""Sets that come as plain arrays of bytes: MNIST's IDX files and CIFAR-10's binary files."""

import math
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganforge.data.decode import explain
from ganforge.errors import UserError, printable

MAX_BYTES = 8 * 2**30
IDX_PARTS = {"train": "train", "test": "t10k"}
CIFAR_SIDE = 32


@dataclass(frozen=True)
class Arrays:
    """Decoded images by split.

    `pixels` uint8 `[count, height, width, channels]`, `labels` int64 `[count]`.
    """

    pixels: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]
    class_names: tuple[str, ...]


def idx_images_name(part: str, names: set[str]) -> str | None:
    """The one of `names` that holds the images of `part`, "train" or "t10k", in any of four spellings."""
    spellings = (f"{part}-images{mark}idx3-ubyte{end}" for mark in "-." for end in (".gz", ""))
    return next((name for name in spellings if name in names), None)


def read_idx_set(
    names: set[str], read: Callable[[str], bytes], place: str, class_names: tuple[str, ...] = ()
) -> Arrays:
    """The MNIST-like set in the files `names`, whose stored bytes `read` gives.

    Of 60,000 training images the last 10,000 are the validation split, as in the GAN paper. Raises
    UserError if a file is not of the format that its name says.
    """
    pixels: dict[str, NDArray[np.uint8]] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    for split, part in IDX_PARTS.items():
        images_name = idx_images_name(part, names)
        if images_name is None:
            continue
        pixels[split] = parse_idx(read(images_name), 3, f"{place}: {images_name}")[..., None]
        labels_name = images_name.replace("images", "labels").replace("idx3", "idx1")
        if labels_name in names:
            labels[split] = parse_idx(read(labels_name), 1, f"{place}: {labels_name}").astype(np.int64)
            if len(labels[split]) != len(pixels[split]):
                raise UserError(
                    f"{place}: {labels_name} has {len(labels[split])} labels, but {images_name} has "
                    f"{len(pixels[split])} images: expected as many; download both again"
                )
    for split, images in pixels.items():
        if 0 in images.shape[1:]:
            raise UserError(
                f"{place} has {split} images of {images.shape[2]}x{images.shape[1]} pixels: expected 1x1 "
                "or more; download it again"
            )
    if len(pixels.get("train", ())) == 0:
        raise UserError(f"{place} has no training images: expected a file like train-images-idx3-ubyte.gz")
    if len(pixels["train"]) == 60_000:
        pixels["train"], pixels["validation"] = pixels["train"][:50_000], pixels["train"][50_000:]
        if "train" in labels:
            labels["train"], labels["validation"] = labels["train"][:50_000], labels["train"][50_000:]
    pixels = {split: pixels[split] for split in ("train", "validation", "test") if split in pixels}
    if not set(pixels) <= set(labels):  # labels for some splits only are of no use
        return Arrays(pixels, {}, ())
    most = max(int(part_of.max(initial=0)) for part_of in labels.values())
    return Arrays(pixels, labels, class_names or tuple(str(number) for number in range(most + 1)))


def parse_idx(stored: bytes, dimensions: int, place: str) -> NDArray[np.uint8]:
    """The array in an IDX file, gzipped or not: magic `00 00 08 dimensions`, big-endian sizes, then bytes."""
    try:
        head = _unzipped(stored, 4 + 4 * dimensions)
        shape = [int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4)]
        count = math.prod(shape)
        if head[:4] != bytes([0, 0, 8, dimensions]) or len(shape) != dimensions or count > MAX_BYTES:
            raise ValueError(f"it starts with {head[:4].hex(' ') or 'nothing'}")
        content = _unzipped(stored, len(head) + count + 1)
        if len(content) != len(head) + count:
            raise ValueError(f"its header promises {count} values, it holds {len(content) - len(head)}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(
            f"{place} is not an IDX file ({explain(error)}): expected unsigned bytes in {dimensions} "
            "dimension(s); download it again"
        ) from error
    # A copy, because torch needs writable memory.
    return np.frombuffer(content, dtype=np.uint8, offset=len(head)).reshape(shape).copy()


def _unzipped(stored: bytes, count: int) -> bytes:
    """The first `count` bytes; bounded, because a small gzip file can claim terabytes."""
    if not stored.startswith(b"\x1f\x8b"):
        return stored[:count]
    unpacker = zlib.decompressobj(wbits=31)
    content = unpacker.decompress(stored, count)
    if len(content) < count and not unpacker.eof:
        raise EOFError("the file ends too early")
    return content


def read_cifar10(path: Path) -> Arrays:
    """CIFAR-10 from `cifar-10-binary.tar.gz`: records of one label byte and 3x32x32 pixels; 50,000 + 10,000.

    Nothing is extracted to disk. Raises `UserError` if the archive is not that file.
    """
    record = 1 + 3 * CIFAR_SIDE * CIFAR_SIDE
    files = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
    pixels, labels = {}, {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for split, names in files.items():
                rows = np.concatenate([_cifar_rows(archive, name, record) for name in names])
                labels[split] = rows[:, 0].astype(np.int64)
                planes = rows[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
                pixels[split] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
            class_names = _member(archive, "batches.meta.txt", 10_000).decode("ascii").split()
        if max(int(part.max()) for part in labels.values()) >= len(class_names):
            raise ValueError("a label has no class name")
    except (OSError, EOFError, KeyError, ValueError, zlib.error, tarfile.TarError) as error:
        raise UserError(
            f"{printable(str(path))} is not CIFAR-10's binary version ({explain(error)}): expected "
            "cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html; download it again"
        ) from error
    return Arrays(pixels, labels, tuple(class_names))


def _cifar_rows(archive: tarfile.TarFile, name: str, record: int) -> NDArray[np.uint8]:
    content = _member(archive, name, 10_000 * record)
    if not content or len(content) % record:
        raise ValueError(f"{name} has {len(content)} bytes, not a multiple of {record}")
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, record)


def _member(archive: tarfile.TarFile, name: str, limit: int) -> bytes:
    file: Any = archive.extractfile(f"cifar-10-batches-bin/{name}")
    if file is None:
        raise ValueError(f"{name} is not a file")
    content: bytes = file.read(limit)
    return content


def resize_together(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """`pixels` uint8 `[count, own height, own width, channels]` as `fit` would resize each, in two calls.

    Pillow resamples all rows, then all columns. So one tall image of everybody's rows can take the first
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
