"""`Dataset`: opened data, whose splits give images of one shape."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec, as_images, to_float
from ganforge.data.captions import Texts, encode, kept_captions
from ganforge.data.options import DataOptions
from ganforge.data.sources.toys import Mixture
from ganforge.data.split import Split


@dataclass(frozen=True)
class Stack:
    """Images whose channels are images of the data set `data`: a mode is a combination of its classes.

    `num_samples` is how many samples papers count the modes over.
    """

    data: str
    num_samples: int


@dataclass(frozen=True)
class Dataset:
    """Opened data: `splits` always has "train", and may have "validation" and "test".

    `fingerprint` is the SHA-256, in hex, of the decoded arrays and labels; of sets too large for the memory,
    that of file names and sizes. `skipped` names the images that could not be read, with the reason; `notes`
    say how the data were understood where that is in doubt, one line each.
    `mixture` is the known distribution of the sets ring and grid, `moments` the exact mean `[2]` and
    covariance `[2, 2]` of gaussian, `stack` what stacked-mnist is made of, `scenes` the attributes int64
    `[count, 9]` of each split of scenes; `finer_label_column` is the value of `label_column` that gives finer
    classes. `undrawn` are the grey training images of `--binarise
    dynamic`, whose "train" is one draw of them. `located` are the options that open it where it is
    now, if its files are elsewhere than `options` say.
    """

    options: DataOptions
    spec: DataSpec
    splits: Mapping[str, Split]
    fingerprint: str
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    mixture: Mixture | None = None
    moments: tuple[Tensor, Tensor] | None = None
    stack: Stack | None = None
    scenes: Mapping[str, Tensor] | None = None
    finer_label_column: str | None = None
    undrawn: Split | None = None
    located: DataOptions | None = None

    @property
    def streamed(self) -> Split:
        """The training images as a stream takes them: the undrawn ones, where there are such."""
        return self.splits["train"] if self.undrawn is None else self.undrawn


def held_out(dataset: Dataset) -> tuple[str, Split]:
    """The split that scores compare with, and what to call it."""
    for name in ("test", "validation"):
        if name in dataset.splits:
            return name, dataset.splits[name]
    return "train (this data has no held-out split)", dataset.splits["train"]


def some_rows(images: Split, count: int | None = None) -> Tensor:
    """Indices int64 of `count` elements of a split, or of all, evenly spaced: folders lie class by class."""
    total = len(images)
    count = total if count is None else min(count, total)
    return torch.arange(count) * total // max(1, count)


def repeated_rows(images: Split, count: int) -> Tensor:
    """Exactly `count` indices: of some elements of a split; where it has fewer, they take turns."""
    rows = some_rows(images, count)
    return rows[torch.arange(count) % len(rows)]


def batch_of(images: Split, rows: Tensor) -> Batch:
    """The elements `rows` int64 `[n]` of a split as systems see them: labels, sources, first captions."""
    pixels, sources = images.read_pairs(rows)
    labels = None if images.labels is None else images.labels[rows]
    batch = Batch(as_images(pixels), labels, sources=None if sources is None else to_float(sources))
    return batch if images.texts is None else images.texts.put_into(batch, rows)


def with_codes(dataset: Dataset) -> Dataset:
    """`dataset` with its captions as codes; of data without captions, as it is."""
    spec = dataset.spec
    if not spec.caption_alphabet:
        return dataset
    splits = {}
    for name, images in dataset.splits.items():
        codes = [
            encode(texts, spec.caption_alphabet, spec.caption_length)
            for texts in kept_captions(name, images.caption_lists)
        ]
        splits[name] = images.with_texts(Texts.of(codes))
    return with_splits(dataset, splits)


def with_splits(dataset: Dataset, splits: Mapping[str, Split]) -> Dataset:
    """`dataset` with `splits`, which are its own with texts; other captions give another fingerprint."""
    digest = hashlib.sha256(dataset.fingerprint.encode())
    for name, images in sorted(splits.items()):
        digest.update(json.dumps([name, images.captions]).encode())
    undrawn, texts = dataset.undrawn, splits["train"].texts
    if undrawn is not None and texts is not None:
        undrawn = undrawn.with_texts(texts)
    return replace(dataset, splits=splits, undrawn=undrawn, fingerprint=digest.hexdigest())
