"""`Loader`: the endless order in which training sees a split, as a pure function of seed and position."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.data.batch import Batch, to_float
from ganforge.data.binarise import binarise
from ganforge.data.block_order import draw_blocks
from ganforge.data.jitter import NUM_LOOKED_AT, crop_enlarged, has_few_colours
from ganforge.data.split import Split
from ganforge.errors import UserError

# The purpose of a generator, in the highest word of Philox's counter, so that streams never overlap.
_ORDER, _FLIPS, _NOISE, _BINARY, _CROPS, _TEXTS = range(6)


def _random(seed: int, number: int, purpose: int) -> np.random.Generator:
    # Arrays, because numpy turns a list with a number above 2**63 into floats, and those into 0.
    key = np.array([seed, number], dtype=np.uint64)
    counter = np.array([0, 0, 0, purpose], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@final
class Loader:
    """Batches of `batch_size` without end: permutation after permutation of the split, one for each epoch.

    With `balance_classes` an epoch has as many images as the split and as many of each class as of any other:
    images of rare classes are repeated, those of frequent classes take turns from epoch to epoch. Every batch
    is a function of `seed` and its position alone, so a run resumes exactly, whatever was read before and
    with any number of threads. Batches run across the ends of epochs. `flip` mirrors each image with
    probability 1/2; `jitter` enlarges it by so many pixels and crops it back at random; its source is treated
    the same. `dequantise` spreads each grey level over its bin (WGAN-GP): 2 (byte + U(0, 1)) / 256 - 1;
    `binarise` makes each pixel black or white, white with the probability of its brightness. One of an
    image's captions is drawn. With `rows` int64 only these of every batch are read, the same as without it.

    Images of blocks come in the order of `draw_blocks`.

    Raises `ValueError` for a batch size or seed below their range and for classes to balance where there are
    none, `UserError` for pixel options with points.
    """

    def __init__(
        self,
        images: Split,
        batch_size: int,
        seed: int,
        flip: bool = False,
        dequantise: bool = False,
        binarise: bool = False,
        values: Literal["pixels", "points"] = "pixels",
        jitter: int = 0,
        balance_classes: bool = False,
        rows: Tensor | None = None,
    ):
        if batch_size < 1 or len(images) < 1:
            raise ValueError(
                f"got batch size {batch_size} and {len(images)} images: expected at least 1 of each"
            )
        if not 0 <= seed < 2**64:
            raise ValueError(f"got seed {seed}: expected 0 to 2**64 - 1")
        if values == "points" and (flip or dequantise or jitter):
            raise UserError(
                "flip, jitter and dequantise are for images, but the data are 2-D points: leave them out"
            )
        if balance_classes and images.labels is None:
            raise ValueError("got images without classes: expected some to balance")
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.dequantise = dequantise
        self.binarise = binarise
        self.values = values
        self.jitter = jitter
        self.balance_classes = balance_classes
        self.rows = torch.arange(batch_size) if rows is None else rows
        # Two, because a batch at the end of an epoch needs that one and the next.
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def _draw_epoch(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """The epoch's order, int64 `[count]`; at each position whether to flip, and where to crop `[, 2]`."""
        count = len(self.images)
        order = torch.from_numpy(self._draw_order(_random(self.seed, epoch, _ORDER), epoch))
        flips = torch.from_numpy(_random(self.seed, epoch, _FLIPS).random(count, dtype=np.float32) < 0.5)
        corners = torch.zeros(1, 2, dtype=torch.int64).expand(count, 2)  # takes no memory for each image
        if self.jitter:
            drawn = _random(self.seed, epoch, _CROPS).integers(self.jitter + 1, size=(count, 2))
            corners = torch.from_numpy(drawn)
        return order, flips, corners

    def _draw_order(self, random: np.random.Generator, epoch: int) -> NDArray[np.int64]:
        count, labels = len(self.images), self.images.labels
        if self.images.block_starts is not None:
            return draw_blocks(random, self.images.block_starts, self.batch_size, epoch * count)
        if not self.balance_classes or labels is None:
            return random.permutation(count)
        classes = [np.flatnonzero(labels.numpy() == label) for label in labels.unique().tolist()]
        shares = np.bincount(np.arange(count) % len(classes), minlength=len(classes))
        drawn = [
            np.concatenate([random.permutation(rows) for _ in range(math.ceil(share / len(rows)))])[:share]
            for rows, share in zip(classes, shares.tolist(), strict=True)
        ]
        return random.permutation(np.concatenate(drawn))

    def _draw(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """The draws of `_draw_epoch` for each image of the batch at `position`."""
        count, missing = len(self.images), self.batch_size
        parts = []
        while missing:
            epoch, start = divmod(position, count)
            taken = min(missing, count - start)
            parts.append([drawn[start : start + taken] for drawn in self._epoch(epoch)])
            position, missing = position + taken, missing - taken
        order, flips, corners = (torch.cat(drawn) for drawn in zip(*parts, strict=True))
        return order, flips, corners

    def indices_at(self, position: int) -> Tensor:
        """The indices of the images in the batch at `position`, int64 `[batch]`."""
        return self._draw(position)[0]

    def batch_at(self, position: int) -> Batch:
        """The batch that comes after `position` images have been consumed."""
        indices, flips, corners = (drawn[self.rows] for drawn in self._draw(position))
        words = [(self.seed, position + row) for row in self.rows.tolist()]
        stored, sources = self.images.draw_pairs(indices, words)
        if self.jitter:
            stored = crop_enlarged(stored, corners, self.jitter)
            if sources is not None:
                sources = crop_enlarged(sources, corners, self.jitter, nearest=self._sources_are_drawings)
        if self.flip:
            for pixels in (stored, sources):
                if pixels is not None:
                    _mirror(pixels, flips)
        labels = self.images.labels
        batch = Batch(
            images=stored if self.values == "points" else self._to_values(stored, position),
            labels=None if labels is None else labels.index_select(0, indices),
            sources=None if sources is None else to_float(sources),
        )
        if self.images.texts is None:
            return batch
        draws = torch.from_numpy(_random(self.seed, position, _TEXTS).random(self.batch_size))
        return self.images.texts.put_into(batch, indices, draws[self.rows])

    @cached_property
    def _sources_are_drawings(self) -> bool:
        _, sources = self.images.read_pairs(torch.arange(min(NUM_LOOKED_AT, len(self.images))))
        return sources is not None and has_few_colours(sources)

    def _to_values(self, stored: Tensor, position: int) -> Tensor:
        if not self.binarise and not self.dequantise:
            return to_float(stored)
        random = _random(self.seed, position, _BINARY if self.binarise else _NOISE)
        whole = random.random((self.batch_size, *stored.shape[1:]), dtype=np.float32)
        drawn = torch.from_numpy(whole)
        if len(stored) < self.batch_size:
            drawn = drawn[self.rows]
        if self.binarise:
            return to_float(binarise(stored, drawn))
        return drawn.add_(stored).mul_(2 / 256).sub_(1)

    def iterate(self, position: int) -> Iterator[Batch]:
        """The batches from `position`; on disk, the next one is decoded in the background.

        Images that are drawn are read in this thread: they use the random numbers of the whole process.
        """
        if self.images.pixels is not None or self.images.is_drawn:
            while True:
                yield self.batch_at(position)
                position += self.batch_size
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as ahead:
            upcoming = ahead.submit(self.batch_at, position)
            while True:
                batch = upcoming.result()
                position += self.batch_size
                upcoming = ahead.submit(self.batch_at, position)
                yield batch


def _mirror(pixels: Tensor, rows: Tensor) -> None:
    """Mirror these rows of `pixels` uint8 in place: numpy is about three times as fast as torch here."""
    array, chosen = pixels.numpy(), rows.numpy()
    array[chosen] = array[chosen, :, :, ::-1]
