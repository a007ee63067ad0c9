"""Sets of tar shards in WebDataset's form, in a folder or at a URL: found, indexed and checked."""

import fnmatch
import hashlib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ganforge.data.decode import Unreadable
from ganforge.data.options import DataOptions
from ganforge.data.sources.folder_names import split_named
from ganforge.data.sources.shard_index import (
    INDEX,
    IndexBuilder,
    Shard,
    ShardIndex,
    parse_index,
    read_shard,
)
from ganforge.errors import UserError, printable
from ganforge.files import remote
from ganforge.files.atomic import make_folder, replace_file
from ganforge.files.download import cache_folder
from ganforge.files.reading import parse_json

PREFIX = "wds:"
CLASSES = "classes.json"
MAX_MISSING = 0.05  # of all images, as of images that cannot be read
_RANGE = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")
_MOST_SHARDS = 1_000_000


@dataclass(frozen=True)
class Shards:
    """Shards of the folder or URL `root`; those of `skipped` (name -> reason) are not in `index`."""

    root: str
    index: ShardIndex
    skipped: Mapping[str, str]

    def read(self, shard: int, start: int, end: int) -> bytes:
        """The bytes `start` to `end` of the shard with this number; raises `Unreadable` without them."""
        name = self.index.shards[shard].name
        place = f"{self.root}/{name}"
        try:
            if remote.is_remote(self.root):
                content = remote.read(place, start, end)
            else:
                with open(place, "rb", buffering=0) as file:
                    file.seek(start)
                    content = file.read(end - start)
        except FileNotFoundError as error:
            raise Unreadable(f"the shard {printable(name)} is missing") from error
        except OSError as error:
            raise Unreadable(f"the shard {printable(name)}: {error.strerror or error}") from error
        if len(content) < end - start:
            raise Unreadable(f"the shard {printable(name)} is truncated")
        return content

    def name(self, image: int) -> str:
        """What messages call an image: its shard, and its number in it."""
        ends = np.cumsum(self.index.counts)
        shard = int(np.searchsorted(ends, image, side="right"))
        within = image - int(ends[shard] - self.index.counts[shard])
        return f"{self.index.shards[shard].name}#{within}"


def find_shards(options: DataOptions) -> Shards:
    """The shards that `options.data`, wds: and a folder, a URL or a pattern of names, stands for.

    Their index is that of `data pack`, or is made by reading all of them once and kept in the cache folder.
    Raises UserError where there are none, and where more are missing or truncated than `options.unreadable`
    allows.
    """
    place = options.data.removeprefix(PREFIX)
    if place.startswith("pipe:"):
        raise UserError(
            f"{printable(options.data)} would run a program whenever the run is opened: give a path or URL "
            f"of {', '.join(remote.SCHEMES)}"
        )
    root, pattern = _split_place(place)
    shown = printable(f"{PREFIX}{place}")
    present = _list(root, shown)
    found = None
    if not pattern and INDEX in present:
        found = parse_index(_whole(root, INDEX), printable(f"{root}/{INDEX}"))
    names = _named(pattern, present) if found is None else [shard.name for shard in found.shards]
    if not names:
        raise UserError(
            f"{shown} holds no shards: expected files such as train-000000.tar; `ganforge data pack DATA "
            "FOLDER --shards 256MB` writes some"
        )
    if found is None:
        found = _read_all(root, [name for name in names if name in present], present, shown)
    skipped = {name: "missing" for name in names if name not in present}
    for shard in found.shards:
        if shard.name in present and present[shard.name] != shard.num_bytes:
            skipped[shard.name] = f"{present[shard.name]:,} bytes, expected {shard.num_bytes:,}"
    return Shards(root, _without(found, names, skipped, options, shown), skipped)


def _split_place(place: str) -> tuple[str, str]:
    """Folder or URL, and the pattern of names in it; no pattern stands for all."""
    place = place if remote.is_remote(place) else str(Path(place).expanduser())
    head, _, last = place.rstrip("/").rpartition("/")
    if last.endswith(".tar") or any(mark in last for mark in "*{"):
        return head or ("." if not place.startswith("/") else "/"), last
    return place.rstrip("/") or place, ""


def _list(root: str, shown: str) -> dict[str, int]:
    """Names and sizes of the files in `root`."""
    try:
        if remote.is_remote(root):
            return remote.list_files(root)
        folder = Path(root)
        with os.scandir(folder) as items:
            return {item.name: item.stat().st_size for item in items if item.is_file()}
    except UserError:
        raise
    except (FileNotFoundError, ValueError) as error:  # a zero byte in the name
        raise UserError(f"{shown} does not exist: expected a folder of shards") from error
    except OSError as error:
        raise UserError(f"{shown} cannot be opened ({error.strerror}): check its permissions") from error


def _named(pattern: str, present: Mapping[str, int]) -> list[str]:
    """The names of shards that `pattern` stands for: those of {000..012} whether they exist or not."""
    if not pattern:
        return sorted(name for name in present if name.endswith(".tar"))
    ranged = _RANGE.search(pattern)
    if ranged is None:
        return sorted(fnmatch.filter(present, pattern))
    first, last = ranged[1], ranged[2]
    if not 0 <= int(last) - int(first) < _MOST_SHARDS:
        raise UserError(f"{printable(pattern)}: expected a first number not above the last")
    numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
    return [f"{pattern[: ranged.start()]}{number}{pattern[ranged.end() :]}" for number in numbers]


def _whole(root: str, name: str) -> bytes:
    if remote.is_remote(root):
        return remote.read(f"{root}/{name}")
    return (Path(root) / name).read_bytes()


def _read_all(root: str, names: list[str], present: Mapping[str, int], shown: str) -> ShardIndex:
    """The index of shards that have none: each is read once, whatever command needs it next."""
    classes = _class_names(root) if CLASSES in present else ()
    state = repr((root, classes, [(name, present[name], _changed(root, name)) for name in names]))
    kept = cache_folder() / "shards" / f"{hashlib.sha256(state.encode()).hexdigest()}.safetensors"
    if kept.is_file():
        return parse_index(kept.read_bytes(), printable(str(kept)))
    builder = IndexBuilder()
    size = sum(present[name] for name in names)
    logging.getLogger(__name__).warning(
        "%s has no index: its %d shards, %.3g GB, are read once", shown, len(names), size / 1e9
    )
    for name in names:
        shard = Shard(name, split_named(name.removesuffix(".tar")) or "train", present[name])
        try:
            with _opened(root, name) as file:
                builder.add(shard, read_shard(file, seekable=not remote.is_remote(root)))
        except UserError:
            raise
        except Exception as error:  # like zipfile, tarfile can raise nearly anything on a hostile file
            reason = printable(" ".join(str(error).split()))[:100] or type(error).__name__
            raise UserError(
                f"the shard {printable(name)} of {shown} is damaged or truncated ({reason}): replace it, or "
                "leave it out by a pattern such as shard-{000..099}.tar"
            ) from error
    index = builder.build(classes)
    try:
        make_folder(kept.parent)
        replace_file(kept, index.to_bytes())
    except OSError as error:
        logging.getLogger(__name__).warning("the index of %s is not kept: %s", shown, error)
    return index


def _changed(root: str, name: str) -> int:
    """When a local shard was last written, in nanoseconds."""
    return 0 if remote.is_remote(root) else os.stat(Path(root) / name).st_mtime_ns


def _opened(root: str, name: str) -> BinaryIO:
    if remote.is_remote(root):
        return remote.open_stream(f"{root}/{name}")
    return open(Path(root) / name, "rb")


def _class_names(root: str) -> tuple[str, ...]:
    try:
        names = parse_json(_whole(root, CLASSES))
    except ValueError:
        return ()
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if good else ()


def _without(
    index: ShardIndex, names: list[str], skipped: Mapping[str, str], options: DataOptions, shown: str
) -> ShardIndex:
    """`index` without the shards in `skipped`; raises UserError where these are too many."""
    if not skipped:
        return index
    kept = [number for number, shard in enumerate(index.shards) if shard.name not in skipped]
    left = int(index.counts[kept].sum())
    known = len(index.shards) == len(names)
    lost = 1 - (left / max(1, len(index.offsets)) if known else len(kept) / len(names))
    first = "; ".join(f"{printable(name)} ({reason})" for name, reason in list(skipped.items())[:3])
    if options.unreadable == "stop" or lost > MAX_MISSING or not kept:
        more = "; ..." if len(skipped) > 3 else ""
        allowed = (
            "none, as --unreadable stop says" if options.unreadable == "stop" else "at most 5 % of the images"
        )
        raise UserError(
            f"{len(skipped)} of {len(names)} shards of {shown} cannot be used: {first}{more}; expected "
            f"{allowed}: copy them again"
        )
    return index.of_shards(kept)
