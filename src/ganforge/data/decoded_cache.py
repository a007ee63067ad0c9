"""Decoded images kept on disk: a large folder is decoded once, and opened in a moment after that."""

import hashlib
import json
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ganforge.data.fingerprint import hash_arrays
from ganforge.data.image_files import Decoded, open_encoded
from ganforge.data.options import DataOptions
from ganforge.data.sources.catalogue import ImageFiles
from ganforge.data.split import in_memory
from ganforge.files.atomic import TEMPORARY, make_folder
from ganforge.files.download import cache_folder
from ganforge.version import __version__

SLOW_SECONDS = 5.0
"""What decodes faster is not kept."""
MOST_BYTES = 8 * 2**30
"""Of all data that are kept; those that were not used for the longest time go first."""
_ABOUT = "about"


def open_encoded_once(origin: ImageFiles, options: DataOptions) -> Decoded:
    """As `open_encoded`; images that took long to decode and fit into memory are read from the cache folder.

    They are those of the same files: names, sizes and times of the last change are compared, and options.
    """
    key = _key(origin, options)
    if key is None:
        return open_encoded(origin, options)
    file = cache_folder() / "decoded" / f"{key}.safetensors"
    found = _read(file, options.data)
    if found is not None:
        return found
    begun = time.monotonic()
    files = open_encoded(origin, options)
    if files.fingerprint is None and time.monotonic() - begun >= SLOW_SECONDS:
        files = replace(files, fingerprint=hash_arrays(files.splits, files.class_names))
        try:
            _write(file, files)
        except OSError as error:
            logging.getLogger(__name__).info("decoded images are not kept: %s", error)
    return files


def _key(origin: ImageFiles, options: DataOptions) -> str | None:
    """What the decoded images depend on, as a hash; None where a file does not tell when it has changed."""
    if options.sources is not None:
        return None
    listing = origin.listing
    how = options.model_dump_json(exclude={"data"})
    state: list[object] = [__version__, PIL.__version__, how, origin.centre_crop, origin.default_size]
    state += [listing.class_order, listing.label_column, listing.notes]
    digest = hashlib.sha256(repr(state).encode("utf-8", "backslashreplace"))
    for entry in listing.entries:
        stamps = [origin.storage.stamp(name) for name in (entry.name, *entry.partners)]
        if None in stamps:
            return None
        about = (entry.name, entry.split, entry.label, entry.captions, entry.partners, stamps)
        digest.update(repr(about).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _write(file: Path, files: Decoded) -> None:
    tensors: dict[str, Tensor] = {}
    splits: dict[str, Any] = {}
    for name, images in files.splits.items():
        assert images.pixels is not None
        parts = {"pixels": images.pixels, "labels": images.labels, "sources": images.sources}
        tensors |= {f"{name}/{part}": value for part, value in parts.items() if value is not None}
        names = [images.name(row) for row in range(len(images))]
        splits[name] = {"names": names, "captions": images.captions}
    about = {
        name: getattr(files, name) for name in ("class_names", "skipped", "fingerprint", "bits", "notes")
    }
    about |= {"options": files.options.model_dump(mode="json"), "splits": splits}
    content = json.dumps(about).encode()
    tensors[_ABOUT] = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
    make_folder(file.parent)
    temporary = file.with_name(f"{file.name}{TEMPORARY}{os.getpid()}")
    try:
        safetensors.torch.save_file(tensors, temporary)  # `save` would copy all of it in memory
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _remove_oldest(file.parent)


def _read(file: Path, data: str) -> Decoded | None:
    """The images in `file`, called `data` now, which stay on disk until they are used; None without any."""
    try:
        tensors = safetensors.torch.load_file(file)
        about = json.loads(tensors[_ABOUT].numpy().tobytes())
        splits = {
            name: in_memory(
                tensors[f"{name}/pixels"],
                tensors.get(f"{name}/labels"),
                each["captions"],
                each["names"],
                tensors.get(f"{name}/sources"),
            )
            for name, each in about["splits"].items()
        }
        os.utime(file)
        return Decoded(
            DataOptions.model_validate(about["options"] | {"data": data}),
            splits,
            tuple(about["class_names"]),
            about["skipped"],
            about["fingerprint"],
            about["bits"],
            tuple(about["notes"]),
        )
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
        return None


def _remove_oldest(folder: Path) -> None:
    kept = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in kept:
        total += path.stat().st_size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)
