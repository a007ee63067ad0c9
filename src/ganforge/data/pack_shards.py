"""`pack --shards`: a data set as tar shards in WebDataset's form, with an index, for data beyond one disk."""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack import CHUNK, check_free, refuse_points, to_png
from ganforge.data.sources.shard_index import INDEX, IndexBuilder, Shard, read_shard
from ganforge.data.sources.shards import CLASSES
from ganforge.data.split import Split, in_threads
from ganforge.errors import UserError, printable
from ganforge.files.atomic import building, write_synced

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_bytes(text: str) -> int:
    """The number of bytes that `text` says, such as 256MB; raises UserError where it says none."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})(KB|MB|GB)", text.strip().upper())
    if match is None:
        raise UserError(f"--shards {printable(text)}: expected a size such as 256MB")
    return int(match[1]) * _UNITS[match[2]]


def pack_shards(options: DataOptions, out: Path, shard_bytes: int) -> tuple[int, int]:
    """Write the data that `options` describe as tars of about `shard_bytes` bytes into the new folder `out`.

    Images of a split come in a random order, the same each time; a shard has images of one split. Files of an
    image are KEY.png, KEY.cls with the number of its class in `classes.json`, and KEY.txt with a caption in
    each line. Returns the numbers of images and of shards. The folder appears complete or not at all. Raises
    `UserError` if `out` exists already, its folder does not, or the data are points or pairs.
    """
    shown = check_free(out)
    dataset = open_dataset(options)
    refuse_points(dataset)
    if dataset.spec.source_shape is not None:
        raise UserError("shards hold no pairs: add --pairs none, or pack them into a .zip")
    try:
        with building(out) as folder:
            builder = IndexBuilder()
            for split, images in dataset.splits.items():
                _write_split(dataset, split, images, folder, shard_bytes, builder)
            write_synced(folder / CLASSES, json.dumps(dataset.spec.class_names).encode())
            write_synced(folder / INDEX, builder.build(dataset.spec.class_names).to_bytes())
    except OSError as error:
        raise UserError(
            f"{shown} could not be written ({error.strerror}): check the disk, then type it again"
        ) from error
    return sum(len(images) for images in dataset.splits.values()), len(builder.shards)


def _write_split(
    dataset: Dataset, split: str, images: Split, folder: Path, shard_bytes: int, builder: IndexBuilder
) -> None:
    files = _files(dataset, images)
    image = next(files, None)
    number = 0
    while image is not None:
        path = folder / f"{split}-{number:06d}.tar"
        with open(path, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                while image is not None and (not archive.offset or archive.offset < shard_bytes):
                    for name, content in image:
                        member = tarfile.TarInfo(name)  # without a date: the same images give the same bytes
                        member.size = len(content)
                        archive.addfile(member, io.BytesIO(content))
                    image = next(files, None)
            file.flush()
            os.fsync(file.fileno())
        with open(path, "rb") as written:
            shard = Shard(path.name, split, path.stat().st_size)
            builder.add(shard, read_shard(written, seekable=True))
        number += 1


def _files(dataset: Dataset, images: Split) -> Iterator[list[tuple[str, bytes]]]:
    """Names and contents of the files of each image."""
    order = torch.arange(len(images))
    if images.block_starts is None:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    key = 0
    for rows in order.split(CHUNK):
        for row, png in zip(rows.tolist(), in_threads(to_png, list(images.read(rows))), strict=True):
            name = f"{key:09d}"
            files = [(f"{name}.png", png)]
            if images.labels is not None:
                files.append((f"{name}.cls", str(int(images.labels[row])).encode()))
            if images.captions is not None and images.captions[row]:
                lines = [" ".join(text.split()) for text in images.captions[row]]
                files.append((f"{name}.txt", "\n".join(lines).encode("utf-8", "replace")))
            yield files
            key += 1
