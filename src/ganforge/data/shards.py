"""The splits of a set of tar shards: images read by their place in a shard, a block at a time from a URL."""

import hashlib
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final, overload

import numpy as np
import torch
from numpy.typing import NDArray

from ganforge.data.decode import Target, Unreadable, decode
from ganforge.data.derived_pairs import is_derived
from ganforge.data.image_files import Decoded, choose_shape, refuse_alpha
from ganforge.data.options import DataOptions
from ganforge.data.pairs import PairHeader, read_pair_header
from ganforge.data.settle import settle
from ganforge.data.sources.catalogue import ImageFiles
from ganforge.data.sources.entry import Entry
from ganforge.data.sources.image_folder import Listing
from ganforge.data.sources.shards import Shards
from ganforge.data.sources.storage import Storage
from ganforge.data.split import lazy
from ganforge.errors import UserError, printable
from ganforge.files.remote import is_remote

BLOCK_BYTES = 2**19
"""Images that begin in the same half MiB of a shard are a block: they are fetched at once, and stay close."""
CACHE_BYTES = 512 * 2**20
NUM_FETCHES = 16
NUM_LOOKED_AT = 256


def open_shards(origin: Shards, options: DataOptions) -> Decoded:
    """The splits of `origin`, none of them in memory; raises UserError where `options` do not go with shards.

    What options leave to the images, such as size and fit, is decided by some of them: the first of blocks
    that are evenly spaced.
    """
    _refuse(options)
    index = origin.index
    blocks = block_starts(origin)
    reader = _Reader(origin, blocks)
    sample = _Sample(reader, blocks, len(index.offsets), options)
    shape = choose_shape([head.image for _, head in sample.good], options, None)
    refuse_alpha([head.image for _, head in sample.good], False, options)
    files = ImageFiles(sample, Listing(tuple(entry for entry, _ in sample.good)))
    settled = settle(files, None, sample.good, shape, options)
    target = Target(shape)
    splits = {}
    shard_of = index.shard_of
    for split in sorted({shard.split for shard in index.shards}, key=lambda name: (name != "train", name)):
        own = [number for number, shard in enumerate(index.shards) if shard.split == split]
        members = np.flatnonzero(np.isin(shard_of, own))

        def decode_image(row: int, members: NDArray[np.int64] = members) -> NDArray[np.uint8]:
            return decode(reader.read(int(members[row])), target, settled.options)

        def prepare(rows: list[int], members: NDArray[np.int64] = members) -> None:
            reader.fetch(members[rows])

        labels = None if index.labels is None else torch.from_numpy(index.labels[members])
        captions = [] if index.captions is None else index.captions_of(members.tolist())
        splits[split] = lazy(
            shape,
            decode_image,
            _Names(origin, members),
            options.unreadable == "stop",
            labels,
            captions if any(captions) else None,
            prepare=prepare if is_remote(origin.root) else None,
        )
        splits[split].block_starts = np.unique(np.searchsorted(members, blocks))
    notes = [*settled.notes]
    if options.fit == "auto" and settled.fit_reason:
        notes.insert(0, f"--fit {settled.options.fit} is chosen, since {settled.fit_reason}")
    fingerprint = _fingerprint(origin, shape)
    return Decoded(
        settled.options, splits, index.class_names, origin.skipped, fingerprint, settled.bits, tuple(notes)
    )


def _refuse(options: DataOptions) -> None:
    shown = printable(options.data)
    for option, given in {
        "--range data": options.range == "data",
        "--sources": options.sources is not None,
        f"--pairs {options.pairs}": options.pairs not in ("auto", "none") and not is_derived(options.pairs),
        "--balance-classes": options.balance_classes,
        f"--label-column {options.label_column}": options.label_column not in ("auto", "label"),
    }.items():
        if given:
            raise UserError(
                f"{option} does not go with {shown}, which is read as a stream: leave it out, or pack the "
                "images into a .zip"
            )


def block_starts(origin: Shards) -> NDArray[np.int64]:
    """The first image of each block, int64, and the number of all images at the end."""
    shard_of, offsets = origin.index.shard_of, origin.index.offsets
    new = (np.diff(shard_of, prepend=-1) != 0) | (np.diff(offsets // BLOCK_BYTES, prepend=-1) != 0)
    return np.append(np.flatnonzero(new), len(offsets))


def _fingerprint(origin: Shards, shape: tuple[int, int, int]) -> str:
    """Of where each image lies, its size, label and captions, and of the shape that it becomes."""
    index = origin.index
    digest = hashlib.sha256(repr((shape, index.class_names)).encode("utf-8", "backslashreplace"))
    for shard in index.shards:
        digest.update(f"{shard.name} {shard.split} {shard.num_bytes}\n".encode("utf-8", "backslashreplace"))
    for part in (index.counts, index.offsets, index.sizes, index.labels, index.caption_ends, index.captions):
        digest.update(b"-" if part is None else np.ascontiguousarray(part).data.cast("B"))
    return digest.hexdigest()


@final
class _Names(Sequence[str]):
    """The names of some images, made when they are needed."""

    def __init__(self, origin: Shards, members: NDArray[np.int64]):
        self._origin = origin
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self._origin.name(int(image)) for image in self._members[row]]
        return self._origin.name(int(self._members[row]))

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))


@final
class _Reader:
    """Encoded images by number; those at a URL by blocks, of which the last that were used stay in memory."""

    def __init__(self, origin: Shards, blocks: NDArray[np.int64]):
        self._origin = origin
        self._blocks = blocks
        self._shard_ends = np.cumsum(origin.index.counts).tolist()
        self._cached: OrderedDict[int, tuple[int, bytes]] = OrderedDict()  # where it begins, and its bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._remote = is_remote(origin.root)

    def read(self, image: int) -> bytes:
        """The encoded image; raises `Unreadable`."""
        index = self._origin.index
        start, size = int(index.offsets[image]), int(index.sizes[image])
        if not self._remote:
            return self._origin.read(self._shard(image), start, start + size)
        first, content = self._block(int(np.searchsorted(self._blocks, image, side="right")) - 1)
        return content[start - first : start - first + size]

    def fetch(self, images: NDArray[np.int64]) -> None:
        """Have the blocks of these images in memory, all that are missing fetched at the same time."""
        numbers = np.unique(np.searchsorted(self._blocks, images, side="right") - 1).tolist()
        with self._lock:
            missing = [number for number in numbers if number not in self._cached]
        if missing:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(NUM_FETCHES, thread_name_prefix="fetch")
            for _ in self._pool.map(self._try_block, missing):
                pass

    def _try_block(self, number: int) -> None:
        try:
            self._block(number)
        except Unreadable:  # said when an image of it is decoded
            return

    def _shard(self, image: int) -> int:
        return bisect_right(self._shard_ends, image)

    def _block(self, number: int) -> tuple[int, bytes]:
        with self._lock:
            if number in self._cached:
                self._cached.move_to_end(number)
                return self._cached[number]
        index = self._origin.index
        first, last = int(self._blocks[number]), int(self._blocks[number + 1]) - 1
        start, end = int(index.offsets[first]), int(index.offsets[last] + index.sizes[last])
        content = self._origin.read(self._shard(first), start, end)
        with self._lock:
            if number not in self._cached:
                self._cached[number] = (start, content)
                self._bytes += len(content)
            while self._bytes > CACHE_BYTES and len(self._cached) > 1:
                self._bytes -= len(self._cached.popitem(last=False)[1][1])
        return start, content


@final
class _Sample(Storage):
    """Some images of a set, by number: what stands for all of them where options are decided."""

    def __init__(self, reader: _Reader, blocks: NDArray[np.int64], count: int, options: DataOptions):
        chosen = blocks[np.unique(np.linspace(0, len(blocks) - 2, 8).astype(int))] if count else []
        images = [int(first) + step for first in chosen for step in range(NUM_LOOKED_AT // 8)]
        self._content: dict[str, bytes] = {}
        self.good: list[tuple[Entry, PairHeader]] = []
        last = ""
        for image in sorted({min(image, count - 1) for image in images}):
            entry = Entry(str(image))
            try:
                data = reader.read(image)
                self.good.append((entry, read_pair_header(data, None, entry)))
                self._content[entry.name] = data
            except Unreadable as error:
                last = str(error)
        self.names = list(self._content)
        if not self.good:
            raise UserError(
                f"{printable(options.data)} holds no image that can be read"
                + (f" ({last})" if last else ": expected files such as 000000.png in its shards")
            )

    def read(self, name: str) -> bytes:
        """The encoded image."""
        return self._content[name]

    def size(self, name: str) -> int:
        """Its size in bytes."""
        return len(self._content[name])
