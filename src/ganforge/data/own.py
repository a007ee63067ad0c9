"""Data of a Python program: a `torch.utils.data.Dataset`, an array, a tensor or a list of PIL images.

Every item is read once, under random numbers that follow from its index alone, and kept in memory where all
fit. A second reading of some items says whether they are the same whenever they are read, whether they follow
from the random numbers (random transforms, which are then drawn by the run's seed and position), or neither.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from ganforge.data.decode import flatten
from ganforge.data.derived_pairs import is_derived
from ganforge.data.image_files import IN_MEMORY_BYTES
from ganforge.data.options import DataOptions
from ganforge.data.sources.catalogue import PYTHON
from ganforge.data.split import Split, in_memory
from ganforge.errors import UserError, printable

OwnData = TorchDataset[Any] | NDArray[Any] | Tensor | Sequence[Any] | Mapping[str, Any]
SPLITS = ("train", "validation", "test")
NUM_REREAD = 16
Words = Sequence[int]
Fit = Callable[[NDArray[np.uint8], DataOptions], Tensor]


@dataclass(frozen=True)
class OwnSplits:
    """The splits of a program's data, their classes, fingerprint, and lines about what is to be known."""

    splits: dict[str, Split]
    class_names: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...]


def name_of(values: OwnData) -> str:
    """What a run records as the name of such data."""
    if isinstance(values, Mapping):
        values = next(iter(values.values()), values)
    kind = type(values).__name__
    return PYTHON + {"ndarray": "array", "Tensor": "tensor", "list": "images", "tuple": "images"}.get(
        kind, kind
    )


def read_own(values: OwnData, options: DataOptions, fit: Fit) -> OwnSplits:
    """Read all items of `values`, or of a mapping with the splits train, validation and test.

    `fit` brings images uint8 `[count, height, width, channels]` into the shape of `options`. Raises UserError
    where an item cannot be read, has another shape than the first, or the length changes meanwhile.
    """
    parts = dict(values) if isinstance(values, Mapping) else {"train": values}
    if unknown := [name for name in parts if name not in SPLITS]:
        raise UserError(f"data has the split {printable(str(unknown[0]))!r}: expected {', '.join(SPLITS)}")
    readers = {name: _Reader(part, name, options, fit) for name, part in parts.items()}
    splits, digest, notes = {}, hashlib.sha256(), list[str]()
    for name in (split for split in SPLITS if split in readers):
        split, own, note = readers[name].split()
        splits[name] = split
        digest.update(f"{name} {own}".encode())
        notes += note
    shapes = {split.shape for split in splits.values()}
    if len(shapes) > 1:
        raise UserError(f"splits of the shapes {' and '.join(map(_words, shapes))}: expected one, or size=N")
    if len({split.labels is None for split in splits.values()}) > 1:
        raise UserError("some splits have labels and some have none: expected labels in all or in none")
    names = _class_names(parts["train"], splits) if "train" in splits else ()
    digest.update(repr(names).encode("utf-8", "backslashreplace"))
    return OwnSplits(splits, names, digest.hexdigest(), tuple(dict.fromkeys(notes)))


def _words(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _class_names(values: Any, splits: Mapping[str, Split]) -> tuple[str, ...]:
    """The `classes` of a Dataset, as torchvision's have them, where they are enough; else numbers."""
    labels = [split.labels for split in splits.values() if split.labels is not None]
    if not labels:
        return ()
    most = max(int(part.max()) for part in labels)
    classes = getattr(values, "classes", ())
    if isinstance(classes, list | tuple) and len(classes) > most:
        return tuple(map(str, classes))
    return tuple(str(number) for number in range(most + 1))


class _Reader:
    """Reads the items of one split by their index: an image, or an image and its class number."""

    def __init__(self, values: Any, split: str, options: DataOptions, fit: Fit) -> None:
        self._values, self._options, self._fit = values, options, fit
        self._what = f"the {split} data ({type(values).__name__})"
        if isinstance(values, IterableDataset):
            raise UserError(
                f"{self._what} is an IterableDataset, whose order no run can resume: expected a Dataset with "
                "len() and items by index"
            )
        if not (hasattr(values, "__getitem__") and hasattr(values, "__len__")):
            raise UserError(
                f"{self._what}: expected a torch Dataset with len(), an array, a tensor or a list of PIL "
                "images, or a dict of them by split"
            )
        self._count = self._length()
        if not self._count:
            raise UserError(f"{self._what} is empty: expected images")
        self._plain = isinstance(values, Tensor | np.ndarray | list | tuple)
        self._signed = False
        self._shape: tuple[int, ...] | None = None

    def _length(self) -> int:
        try:
            return len(self._values)
        except (TypeError, NotImplementedError) as error:
            raise UserError(f"{self._what} has no length: expected a Dataset with len()") from error

    def split(self) -> tuple[Split, str, list[str]]:
        """The split, its fingerprint and notes."""
        self._signed = self._has_negatives()
        digest, kept, labels = hashlib.sha256(), list[NDArray[np.uint8]](), list[int | None]()
        rows = sorted({index * self._count // NUM_REREAD for index in range(NUM_REREAD)})
        some = dict[int, bytes]()
        fits = True
        for index in range(self._count):
            image, label = self._read(index, (0, index))
            if index == 0:
                fits = self._count * image.nbytes <= IN_MEMORY_BYTES
            labels.append(label)
            digest.update(image.data)
            if fits:
                kept.append(image)
            if index in rows:
                some[index] = image.tobytes()
        if self._length() != self._count:
            raise UserError(
                f"{self._what} had {self._count} items and has {self._length()} after it was read: expected "
                "a length that does not change"
            )
        numbers = self._as_labels(labels)
        fixed = self._plain or self._same(some, 0)
        moved = not self._plain and not self._same(some, 1)
        height, width, channels = cast(tuple[int, int, int], self._shape)
        digest.update(f"{(channels, height, width)} {labels}".encode())
        if fixed and not moved and fits:
            pixels = torch.from_numpy(np.stack(kept).transpose(0, 3, 1, 2)).contiguous()
            return in_memory(pixels, numbers), digest.hexdigest(), []
        split = self._live((channels, height, width), numbers, drawn=moved)
        if fixed:
            return split, digest.hexdigest(), []
        own = f"{type(self._values).__name__} {self._count} {(channels, height, width)} {labels}"
        note = (
            f"items of {self._what} differ whenever they are read, and not by the random numbers of torch, "
            "numpy or Python: a resumed run does not continue exactly"
        )
        return split, hashlib.sha256(own.encode()).hexdigest(), [note]

    def _same(self, read: Mapping[int, bytes], word: int) -> bool:
        """Whether items that were `read` are the same under the random numbers of `word`."""
        return all(self._read(row, (word, row))[0].tobytes() == image for row, image in read.items())

    def _item(self, index: int, words: Words) -> Any:
        with nullcontext() if self._plain else seeded(words):
            return self._values[index]

    def _live(self, shape: tuple[int, int, int], labels: Tensor | None, drawn: bool) -> Split:
        """The split whose items are read when they are used; `drawn`: they depend on random numbers."""

        def read_drawn(indices: Tensor, words: Sequence[Words]) -> Tensor:
            pairs = zip(indices.tolist(), words, strict=True)
            images = [self._read(index, seeds)[0] for index, seeds in pairs]
            return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).contiguous()

        def read(indices: Tensor) -> Tensor:
            return read_drawn(indices, [(0, index) for index in indices.tolist()])

        if drawn and is_derived(self._options.pairs):
            raise UserError(
                f"--pairs {self._options.pairs}: {self._what} changes from reading to reading, and sources "
                "are derived from fixed images: leave its random transforms out"
            )
        return Split(shape, read, self._count, labels=labels, read_drawn=read_drawn if drawn else None)

    def _as_labels(self, labels: Sequence[int | None]) -> Tensor | None:
        numbers = [label for label in labels if label is not None]
        if not numbers:
            return None
        if len(numbers) < len(labels):
            raise UserError(f"{self._what}: {len(numbers)} of {len(labels)} items have a label: expected all")
        if min(numbers) < 0:
            raise UserError(f"{self._what} has the label {min(numbers)}: expected class numbers from 0")
        return torch.tensor(numbers)

    def _read(self, index: int, words: Words) -> tuple[NDArray[np.uint8], int | None]:
        """Item `index` as uint8 `[height, width, channels]` and its label, by random numbers of `words`."""
        try:
            item = self._item(index, words)
        except Exception as error:  # whatever the user's code raises
            if isinstance(error, IndexError) and index < self._count:
                raise UserError(
                    f"{self._what} has no item {index} (IndexError), though its length was {self._count}: "
                    "expected a length that does not change"
                ) from error
            first = (str(error).splitlines() or [""])[0][:200]
            raise UserError(f"{self._what}: item {index} fails: {type(error).__name__}: {first}") from error
        image, label = (
            (item[0], item[1]) if isinstance(item, tuple | list) and len(item) >= 2 else (item, None)
        )
        if isinstance(item, tuple | list) and len(item) == 1:
            image = item[0]
        what = f"{self._what}: item {index}"
        pixels = self._pixels(image, what)
        if self._options.sides is not None or self._options.channels != "auto":
            fitted = self._fit(pixels[None], self._options)[0]
            pixels = np.ascontiguousarray(fitted.numpy().transpose(1, 2, 0))
        if self._shape is None:
            self._shape = pixels.shape
        if pixels.shape != self._shape:
            shapes = [
                f"{shape[1]}x{shape[0]} with {shape[2]} channels" for shape in (pixels.shape, self._shape)
            ]
            raise UserError(f"{what} is {shapes[0]}, others are {shapes[1]}: expected one shape, or size=N")
        return pixels, _label(label, what)

    def _pixels(self, image: Any, what: str) -> NDArray[np.uint8]:
        """An image as uint8 `[height, width, channels]`; floats are rounded to 8 bit."""
        if isinstance(image, Image.Image):
            grey = image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16")
            plain = flatten(image, 1 if grey else 3, self._options.background)
            array = np.asarray(plain)
            return np.ascontiguousarray(array[..., None] if grey else array)
        if not isinstance(image, Tensor | np.ndarray):
            raise UserError(f"{what} is {type(image).__name__}: expected an image, array or tensor")
        array = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
        array = _channels_last(array, what, isinstance(image, Tensor))
        if array.dtype == np.uint8:
            return np.ascontiguousarray(array)
        if not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{what} has {array.dtype}: expected uint8, or floats in [0, 1] or [-1, 1]")
        return self._rounded(array.astype(np.float32), what)

    def _rounded(self, array: NDArray[np.float32], what: str) -> NDArray[np.uint8]:
        low = -1.0 if self._signed else 0.0
        if not np.isfinite(array).all():
            raise UserError(f"{what} has NaN or infinity: expected floats in [0, 1] or [-1, 1]")
        if array.min() < low - 1e-4 or array.max() > 1 + 1e-4:
            raise UserError(
                f"{what} has values from {array.min():.3g} to {array.max():.3g}: expected floats in [0, 1], "
                "or in [-1, 1] throughout"
            )
        unit = (array + 1) / 2 if self._signed else array
        return np.ascontiguousarray((unit.clip(0, 1) * 255).round().astype(np.uint8))

    def _has_negatives(self) -> bool:
        """Whether some float among the items that are read twice is below 0: then all are in [-1, 1]."""
        for row in sorted({index * self._count // NUM_REREAD for index in range(NUM_REREAD)}):
            try:
                item = self._item(row, (0, row))
            except Exception:  # the reading in order says it
                return False
            image = item[0] if isinstance(item, tuple | list) and item else item
            if not isinstance(image, Tensor | np.ndarray):
                continue
            if image.min() < 0:
                return True
        return False


def _channels_last(array: NDArray[Any], what: str, first: bool) -> NDArray[Any]:
    """`array` as `[height, width, channels]`; where both ends could be those, tensors have them `first`."""
    if array.ndim == 2:
        return array[..., None]
    at_first, at_last = (array.ndim == 3 and array.shape[axis] in (1, 3) for axis in (0, -1))
    if at_first and (first or not at_last):
        return array.transpose(1, 2, 0)
    if at_last:
        return array
    raise UserError(
        f"{what} has the shape {list(array.shape)}: expected [height, width], with 1 or 3 channels in front "
        "or behind"
    )


def _label(label: Any, what: str) -> int | None:
    if label is None:
        return None
    if isinstance(label, Tensor | np.ndarray | np.generic) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int):
        raise UserError(f"{what} has a label that is {type(label).__name__}: expected a class number")
    return label


@contextmanager
def seeded(words: Words) -> Iterator[None]:
    """Within this context the random numbers of torch, numpy and Python follow from `words`."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    drawn = np.random.SeedSequence([int(word) for word in words]).generate_state(3, np.uint32).tolist()
    torch.default_generator.manual_seed(drawn[0])
    np.random.seed(drawn[1])  # what transforms draw from
    random.seed(drawn[2])
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
