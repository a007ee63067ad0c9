"""`Stream`: the endless order in which training sees a split, as a pure function of seed and position."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from ganforge.data.batch import Batch, to_float
from ganforge.data.binarise import binarise
from ganforge.data.images import Images
from ganforge.errors import UserError

# Which random numbers a generator is for; in the highest word of Philox's counter, so that they never
# overlap.
_ORDER, _FLIPS, _NOISE, _BINARY = range(4)


def _random(seed: int, number: int, purpose: int) -> np.random.Generator:
    # Arrays, because numpy turns a list with a number above 2**63 into floats, and those into 0.
    key = np.array([seed, number], dtype=np.uint64)
    counter = np.array([0, 0, 0, purpose], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@final
class Stream:
    """Batches of `batch_size` without end: permutation after permutation of the split, one for each epoch.

    Every batch is a function of `seed` and its position alone, so a run resumes exactly, whatever was read
    before and however many threads decode. Batches run across the ends of epochs. `flip` mirrors each picture
    with probability 1/2; `dequantise` spreads each grey level over its bin (WGAN-GP): 2 (byte + U(0, 1)) /
    256 - 1; `binarise` makes each pixel black or white, white with the probability of its brightness.

    Raises `ValueError` for a batch size or seed below their range, `UserError` for pixel options with points.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        flip: bool = False,
        dequantise: bool = False,
        binarise: bool = False,
        values: Literal["pixels", "points"] = "pixels",
    ):
        if batch_size < 1 or len(images) < 1:
            raise ValueError(
                f"got batch size {batch_size} and {len(images)} images: expected at least 1 of each"
            )
        if not 0 <= seed < 2**64:
            raise ValueError(f"got seed {seed}: expected 0 to 2**64 - 1")
        if values == "points" and (flip or dequantise):
            raise UserError(
                "flip and dequantise are for pictures, but the data are 2-D points: leave them out"
            )
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.dequantise = dequantise
        self.binarise = binarise
        self.values = values
        # Two, because a batch at the end of an epoch needs that one and the next.
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def _draw_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """The epoch's order, int64, and which of its positions are flipped, bool; both `[count]`."""
        count = len(self.images)
        order = torch.from_numpy(_random(self.seed, epoch, _ORDER).permutation(count))
        flips = torch.from_numpy(_random(self.seed, epoch, _FLIPS).random(count, dtype=np.float32) < 0.5)
        return order, flips

    def _draw(self, position: int) -> tuple[Tensor, Tensor]:
        """The indices of the batch at `position`, and which of its pictures are flipped; both `[batch]`."""
        count, missing = len(self.images), self.batch_size
        orders, flips = [], []
        while missing:
            epoch, start = divmod(position, count)
            taken = min(missing, count - start)
            order, flipped = self._epoch(epoch)
            orders.append(order[start : start + taken])
            flips.append(flipped[start : start + taken])
            position, missing = position + taken, missing - taken
        return torch.cat(orders), torch.cat(flips)

    def indices_at(self, position: int) -> Tensor:
        """Which pictures the batch at `position` holds, int64 `[batch]`."""
        return self._draw(position)[0]

    def batch_at(self, position: int) -> Batch:
        """The batch that comes after `position` images have been consumed."""
        indices, flips = self._draw(position)
        pictures = self.images.read(indices)
        if self.flip:
            rows = flips.numpy()
            array = (
                pictures.numpy()
            )  # the same memory; numpy mirrors bytes about three times as fast as torch
            array[rows] = array[rows, :, :, ::-1]
        labels = self.images.labels
        return Batch(
            images=pictures if self.values == "points" else self._to_values(pictures, position),
            labels=None if labels is None else labels.index_select(0, indices),
        )

    def _to_values(self, pictures: Tensor, position: int) -> Tensor:
        if self.binarise:
            return to_float(binarise(pictures, _random(self.seed, position, _BINARY)))
        if not self.dequantise:
            return to_float(pictures)
        random = _random(self.seed, position, _NOISE).random(tuple(pictures.shape), dtype=np.float32)
        return torch.from_numpy(random).add_(pictures).mul_(2 / 256).sub_(1)

    def iterate(self, position: int) -> Iterator[Batch]:
        """The batches from `position` on; of a set on disk, one is decoded ahead in the background."""
        if self.images.pixels is not None:
            while True:
                yield self.batch_at(position)
                position += self.batch_size
        with ThreadPoolExecutor(1, thread_name_prefix="stream") as ahead:
            upcoming = ahead.submit(self.batch_at, position)
            while True:
                batch = upcoming.result()
                position += self.batch_size
                upcoming = ahead.submit(self.batch_at, position)
                yield batch
