"""`Split`: one split of a data set, in memory or decoded as it is read."""

import copy
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.data.captions import Texts
from ganforge.data.decode import Unreadable
from ganforge.errors import UserError, printable

MAX_UNREADABLE = 0.05
Item = TypeVar("Item")
Result = TypeVar("Result")


def num_threads() -> int:
    """The number of decoding threads: Pillow releases the GIL, and more than eight help little."""
    return min(8, os.cpu_count() or 1)


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`work` of each item, in order; a thousand at a time, so that the queue stays short."""
    with ThreadPoolExecutor(num_threads()) as pool:
        for start in range(0, len(items), 1024):
            yield from pool.map(work, items[start : start + 1024])


@final
class Split:
    """One split: uint8 images of one `shape` (channels, height, width), or float32 points of shape 2x1x1.

    `labels` int64 `[count]`; `captions`, for each image the texts that describe it, raw. `pixels` is the
    whole split as one tensor if it lives in memory, else None. `source_shape` is that of the input image
    that each image has, if any; all of them are `sources`, uint8, where they live in memory. `texts` are
    the captions as codes or embeddings, for a system that uses them. `read_drawn` reads images by random
    numbers, whose seeds it is given for each; `read` then has fixed ones. `block_starts` int64, where images
    are better read block by block: the first of each block, and the number of all at the end.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        read: Callable[[Tensor], Tensor],
        count: int,
        *,
        labels: Tensor | None = None,
        captions: list[list[str]] | None = None,
        names: Sequence[str] | None = None,
        pixels: Tensor | None = None,
        sources: Tensor | None = None,
        source_shape: tuple[int, int, int] | None = None,
        read_pairs: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
        read_drawn: Callable[[Tensor, Sequence[Sequence[int]]], Tensor] | None = None,
    ):
        self.shape = shape
        self.labels = labels
        self.captions = captions
        self.pixels = pixels
        self.sources = sources
        self.source_shape = source_shape
        self._read = read
        self._read_pairs = read_pairs
        self._read_drawn = read_drawn
        self._count = count
        self._names = names
        self.texts: Texts | None = None
        self.block_starts: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        """The file name of image `index`, or its number where there are no files."""
        return self._names[index] if self._names is not None else f"#{index}"

    def read(self, indices: Tensor) -> Tensor:
        """The images at `indices` int64 `[n]`: uint8 `[n, channels, height, width]`, float32 for points.

        Raises `UserError` if too many files have become unreadable since the set was opened.
        """
        return self._read(indices)

    def read_pairs(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """The images at `indices` int64 `[n]`, and the source of each, uint8 `[n, *source_shape]`, or None.

        Raises as `read`.
        """
        return (self.read(indices), None) if self._read_pairs is None else self._read_pairs(indices)

    @property
    def is_drawn(self) -> bool:
        """Whether images depend on random numbers too, such as the random transforms of a Dataset."""
        return self._read_drawn is not None

    def draw_pairs(self, indices: Tensor, words: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
        """As `read_pairs`; where images are drawn, each by the seeds in its `words`."""
        if self._read_drawn is None:
            return self.read_pairs(indices)
        return self._read_drawn(indices, words), None

    @property
    def caption_lists(self) -> list[list[str]]:
        """For each image its captions, raw; empty lists where the split has none."""
        return self.captions or [[]] * len(self)

    def with_texts(self, texts: Texts) -> "Split":
        """The same split with its captions as codes or embeddings."""
        other = copy.copy(self)
        other.texts = texts
        return other

    def with_derived(self, derive: Callable[[Tensor], Tensor], source_shape: tuple[int, int, int]) -> "Split":
        """The same split with sources of `source_shape` that `derive` computes from the images."""
        names = self._names
        if self.pixels is not None:
            return in_memory(self.pixels, self.labels, self.captions, names, derive(self.pixels))

        def read_pairs(indices: Tensor) -> tuple[Tensor, Tensor]:
            images = self.read(indices)
            return images, derive(images)

        derived = Split(
            self.shape,
            self.read,
            len(self),
            labels=self.labels,
            captions=self.captions,
            names=names,
            source_shape=source_shape,
            read_pairs=read_pairs,
        )
        derived.block_starts = self.block_starts
        return derived


def in_memory(
    pixels: Tensor,
    labels: Tensor | None = None,
    captions: list[list[str]] | None = None,
    names: Sequence[str] | None = None,
    sources: Tensor | None = None,
) -> Split:
    """The split that holds `pixels` `[count, channels, height, width]`, and the `sources` of as many."""
    shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])

    def read(indices: Tensor) -> Tensor:
        return pixels.index_select(0, indices)

    every: dict[str, Any] = {"labels": labels, "captions": captions, "names": names, "pixels": pixels}
    if sources is None:
        return Split(shape, read, len(pixels), **every)
    kept = sources

    def read_pairs(indices: Tensor) -> tuple[Tensor, Tensor]:
        return read(indices), kept.index_select(0, indices)

    source_shape = (kept.shape[1], kept.shape[2], kept.shape[3])
    pairs: dict[str, Any] = {"sources": kept, "source_shape": source_shape, "read_pairs": read_pairs}
    return Split(shape, read, len(pixels), **every, **pairs)


def lazy(
    shape: tuple[int, int, int],
    decode: Callable[[int], NDArray[np.uint8]],
    names: Sequence[str],
    stop_at_unreadable: bool,
    labels: Tensor | None = None,
    captions: list[list[str]] | None = None,
    source_channels: int = 0,
    prepare: Callable[[list[int]], None] | None = None,
) -> Split:
    """The split whose images `decode` gives by index, uint8 of `shape`, or raises `Unreadable`.

    Where images have sources, their `source_channels` follow those of the image. `prepare` is called with all
    indices before they are decoded.
    """
    channels, height, width = shape
    whole = (channels + source_channels, height, width)
    reader = _LazyReader(whole, decode, names, stop_at_unreadable, labels, prepare)

    def read_pairs(indices: Tensor) -> tuple[Tensor, Tensor]:
        images = reader.read(indices)
        return images[:, :channels].contiguous(), images[:, channels:].contiguous()

    def read(indices: Tensor) -> Tensor:
        return read_pairs(indices)[0]

    every: dict[str, Any] = {"labels": labels, "captions": captions, "names": names}
    if not source_channels:
        return Split(shape, reader.read, len(names), **every)
    source_shape = (source_channels, height, width)
    return Split(shape, read, len(names), **every, source_shape=source_shape, read_pairs=read_pairs)


@final
class _LazyReader:
    """Decodes in threads. An unreadable image is replaced by the next one of the same class.

    So the image at an index depends on the files alone, not on what was read before: a resumed run sees the
    same images.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        decode: Callable[[int], NDArray[np.uint8]],
        names: Sequence[str],
        stop_at_unreadable: bool,
        labels: Tensor | None,
        prepare: Callable[[list[int]], None] | None,
    ):
        self.shape = shape
        self.decode = decode
        self.names = names
        self.stop_at_unreadable = stop_at_unreadable
        self.labels = labels
        self.prepare = prepare
        self.unreadable: dict[str, str] = {}
        self._pool: ThreadPoolExecutor | None = None

    def read(self, indices: Tensor) -> Tensor:
        if self._pool is None:  # started on first use: a data set can be opened before a process forks
            self._pool = ThreadPoolExecutor(num_threads(), thread_name_prefix="decode")
        if self.prepare is not None:
            self.prepare(indices.tolist())
        images = np.empty((len(indices), *self.shape), dtype=np.uint8)
        # A part for each thread: handing over one image at a time takes longer than decoding a small one.
        bounds = np.linspace(0, len(indices), num_threads() + 1).astype(int).tolist()
        parts = [(images[start:end], indices[start:end].tolist()) for start, end in pairwise(bounds)]
        for _ in self._pool.map(self._read_part, parts):
            pass
        return torch.from_numpy(images)

    def _read_part(self, part: tuple[NDArray[np.uint8], list[int]]) -> None:
        into, indices = part
        for row, index in enumerate(indices):
            into[row] = self._read_one(index)

    def _read_one(self, index: int) -> NDArray[np.uint8]:
        for step in range(len(self.names)):
            other = (index + step) % len(self.names)
            if self.labels is not None and self.labels[other] != self.labels[index]:
                continue
            try:
                return self.decode(other)
            except Unreadable as error:
                self._note(self.names[other], str(error))
        raise UserError(f"none of the {len(self.names)} images can be read: see `ganforge data check`")

    def _note(self, name: str, reason: str) -> None:
        if name in self.unreadable:
            return
        self.unreadable[name] = reason
        message = f"{printable(name)} cannot be read ({reason})"
        if self.stop_at_unreadable:
            raise UserError(f"{message}: repair or remove it, or use `--unreadable skip`")
        if len(self.unreadable) > max(1, MAX_UNREADABLE * len(self.names)):
            raise UserError(
                f"{len(self.unreadable)} of {len(self.names)} images cannot be read, the last: {message}; "
                "see `ganforge data check`"
            )
        logging.getLogger(__name__).warning("%s: the next image takes its place", message)
