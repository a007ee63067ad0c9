"""Stacked MNIST: three random digits as the colours of one image, hence 1,000 modes that can be counted."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.data.sources.arrays import Arrays
from ganforge.data.split import Split

NAME = "stacked-mnist"
LINE = "128,000 stacks of three digits, 1,000 modes"
TRAIN_STACKS = 128_000
TEST_STACKS = 10_000
DIGITS_IN_STACK = 3
_SEED = 2017  # fixed, so that the name always means the same stacks


@dataclass(frozen=True)
class Stacked:
    """The digits of each split, uint8 `[digits, height, width, 1]`, and which three make each stack.

    `triples` int64 `[stacks, 3]`. Images are stacked when read: 128,000 of them would take 300 MB.
    """

    digits: dict[str, NDArray[np.uint8]]
    triples: dict[str, Tensor]


def stack_digits(mnist: Arrays) -> Stacked:
    """Training stacks of MNIST's training and validation digits, and test stacks of its test digits.

    Every digit of a stack is drawn on its own, with replacement. PacGAN (Lin et al. 2017, arXiv 1712.04086)
    draws its 128,000 stacks from all 70,000 digits; here the 10,000 test digits are held out.
    """
    digits = {
        "train": np.concatenate([mnist.pixels["train"], mnist.pixels["validation"]]),
        "test": mnist.pixels["test"],
    }
    counts = {"train": TRAIN_STACKS, "test": TEST_STACKS}
    triples = {}
    for key, (split, pixels) in enumerate(digits.items()):
        random = np.random.Generator(np.random.Philox(key=[_SEED, key]))
        drawn = random.integers(len(pixels), size=(counts[split], DIGITS_IN_STACK))
        triples[split] = torch.from_numpy(drawn)
    return Stacked(digits, triples)


def stacks(digits: Tensor, triples: Tensor) -> Split:
    """The split of stacks `triples` int64 `[stacks, 3]` of `digits` uint8 `[digits, 1, height, width]`."""
    height, width = digits.shape[2:]

    def read(indices: Tensor) -> Tensor:
        rows = triples.index_select(0, indices).flatten()
        return digits.index_select(0, rows).reshape(-1, DIGITS_IN_STACK, height, width)

    return Split((DIGITS_IN_STACK, height, width), read, len(triples))
