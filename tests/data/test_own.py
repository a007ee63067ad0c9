"""Data of a program: Datasets, arrays, tensors and lists of images become splits, or are one line."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import ganforge
from ganforge.data.image_files import IN_MEMORY_BYTES
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError

IMAGES = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
OPTIONS = DataOptions(data="python:test")


class Items(Dataset):
    """Items by a function of their index."""

    classes = ["even", "odd"]

    def __init__(self, item, count: int = 40) -> None:
        self.item, self.count = item, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        return self.item(index)


def pixels_of(values, **options) -> Tensor:
    dataset = open_dataset(OPTIONS.model_copy(update=options), values)
    return dataset.splits["train"].read(torch.arange(len(dataset.splits["train"])))


@pytest.mark.parametrize(
    "values",
    [
        IMAGES,
        IMAGES.numpy(),
        IMAGES.permute(0, 2, 3, 1).numpy(),
        IMAGES / 255,
        IMAGES.double() / 127.5 - 1,
        [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in IMAGES],
        TensorDataset(IMAGES),
        TensorDataset(IMAGES / 127.5 - 1, torch.arange(40) % 2),
        Items(lambda index: Image.fromarray(IMAGES[index].permute(1, 2, 0).numpy())),
    ],
    ids=["tensor", "array", "last", "unit", "signed", "pil", "dataset", "labelled", "items"],
)
def test_every_kind_gives_the_same_pixels(values) -> None:
    dataset = open_dataset(OPTIONS, values)
    assert torch.equal(dataset.splits["train"].read(torch.arange(40)), IMAGES)
    assert dataset.splits["train"].pixels is not None
    assert dataset.notes == ()


def test_labels_and_classes() -> None:
    dataset = open_dataset(OPTIONS, Items(lambda index: (IMAGES[index], index % 2)))
    assert dataset.spec.class_names == ("even", "odd")
    assert dataset.splits["train"].labels.tolist() == [0, 1] * 20
    numbers = open_dataset(OPTIONS, TensorDataset(IMAGES, torch.arange(40) % 3))
    assert numbers.spec.class_names == ("0", "1", "2")


def test_splits_sizes_and_grey() -> None:
    dataset = open_dataset(OPTIONS, {"train": IMAGES, "test": IMAGES[:7]})
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 40, "test": 7}
    sizes = [Image.new("RGB", (8 + index, 12)) for index in range(5)]
    assert pixels_of(sizes, size=8).shape == (5, 3, 8, 8)
    assert pixels_of(IMAGES, channels="grey").shape == (40, 1, 8, 8)
    assert pixels_of([Image.new("L", (6, 4), 9)] * 3).shape == (3, 1, 4, 6)


def test_the_fingerprint_is_of_what_is_read() -> None:
    same = [
        open_dataset(OPTIONS, values).fingerprint
        for values in (IMAGES, IMAGES.numpy(), TensorDataset(IMAGES))
    ]
    assert len(set(same)) == 1
    changed = IMAGES.clone()
    changed[39, 2, 7, 7] ^= 1
    others = [
        changed,
        IMAGES[:39],
        TensorDataset(IMAGES, torch.arange(40)),
        {"train": IMAGES, "test": IMAGES},
    ]
    assert len({*same, *(open_dataset(OPTIONS, values).fingerprint for values in others)}) == 5


def noisy(index: int) -> Tensor:
    """An item with the random numbers of three libraries in it."""
    image = IMAGES[index] / 255
    image[0, 0, 0] = torch.rand(())
    image[0, 0, 1] = float(np.random.rand())
    image[0, 0, 2] = random.random()
    return image


def test_random_transforms_follow_from_seed_and_position() -> None:
    first = open_dataset(OPTIONS, Items(noisy))
    assert first.notes == ()
    assert open_dataset(OPTIONS, Items(noisy)).fingerprint == first.fingerprint
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    batches = [Loader(first.splits["train"], 16, seed).batch_at(80).images for seed in (0, 0, 1)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    again = Loader(first.splits["train"], 40, 0)
    epochs = [again.batch_at(position) for position in (0, 40)]
    order = [again.indices_at(position).argsort() for position in (0, 40)]
    both = [batch.images[rows] for batch, rows in zip(epochs, order, strict=True)]
    assert torch.equal(both[0][:, 1:], both[1][:, 1:])
    assert not torch.equal(both[0][:, 0, 0, :3], both[1][:, 0, 0, :3])  # another draw in every epoch
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]


def test_what_cannot_be_resumed_is_said() -> None:
    generator = np.random.default_rng()  # of its own: no seed of ours reaches it
    values = Items(lambda index: IMAGES[index] / 255 * generator.random())
    (note,) = open_dataset(OPTIONS, values).notes
    assert "a resumed run does not continue exactly" in note
    assert open_dataset(OPTIONS, values).fingerprint == open_dataset(OPTIONS, values).fingerprint


def test_more_than_the_memory_is_read_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_dataset(OPTIONS, IMAGES)
    monkeypatch.setattr("ganforge.data.own.IN_MEMORY_BYTES", 1000)
    assert IN_MEMORY_BYTES > 1000
    parts = open_dataset(OPTIONS, IMAGES)
    assert parts.splits["train"].pixels is None
    assert parts.fingerprint == whole.fingerprint
    assert torch.equal(parts.splits["train"].read(torch.tensor([7, 3])), IMAGES[[7, 3]])


class Shrinking(Items):
    """A Dataset whose length falls while it is read."""

    def __getitem__(self, index: int):
        self.count = 30 if index == 20 else self.count
        return super().__getitem__(index)


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[Tensor]:
        yield IMAGES[0]


class Short(Items):
    """A Dataset that says more than it has."""

    def __len__(self) -> int:
        return 41


class NoLength(Dataset):
    def __getitem__(self, index: int) -> Tensor:
        return IMAGES[index]


def strange(index: int, value: object) -> object:
    return value if index == 3 else IMAGES[index]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (Shrinking(lambda index: IMAGES[index]), "had 40 items and has 30 after it was read"),
        (Short(lambda index: IMAGES[index]), "has no item 40"),
        (Endless(), "IterableDataset"),
        (NoLength(), "expected a torch Dataset with len()"),
        ([], "is empty"),
        (7, "expected a torch Dataset with len()"),
        ({"train": IMAGES, "dev": IMAGES}, "has the split 'dev': expected train, validation, test"),
        ({"test": IMAGES}, "no training images"),
        ({"train": IMAGES, "test": IMAGES[..., :4]}, "expected one"),
        (Items(lambda index: strange(index, IMAGES[0, :, :4])), "item 3 is 8x4 with 3 channels"),
        (Items(lambda index: strange(index, "text")), "item 3 is str"),
        (Items(lambda index: strange(index, IMAGES[index].long())), "item 3 has int64"),
        (Items(lambda index: strange(index, IMAGES[index].float())), "item 3 has values from"),
        (Items(lambda index: strange(index, IMAGES[index] / 0)), "item 3 has NaN or infinity"),
        (Items(lambda index: (IMAGES[index], "cat" if index == 3 else 0)), "a label that is str"),
        (Items(lambda index: (IMAGES[index], index - 1)), "the label -1"),
        (Items(lambda index: IMAGES[index + 0 // (index - 3)]), "item 3 fails: ZeroDivisionError"),
        (torch.rand(10, 2), "has the shape [2]"),
    ],
)  # fmt: skip
def test_bad_data_are_one_line(values, line: str) -> None:
    with pytest.raises(UserError) as caught:
        open_dataset(OPTIONS, values)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


TINY = {"steps": 4, "batch": 8, "width": 4, "checkpoint_every": 2, "device": "cpu", "quiet": True}


@pytest.mark.parametrize("item", [lambda index: (IMAGES[index], index % 2), noisy], ids=["fixed", "random"])
def test_own_data_train_resume_exactly_and_are_evaluated(tmp_path: Path, item) -> None:
    values = {"train": Items(item), "test": IMAGES[:20] if item is noisy else Items(item, 20)}
    whole = ganforge.train("dcgan", values, run=tmp_path / "whole", **TINY)
    ganforge.train("dcgan", values, run=tmp_path / "parts", **TINY | {"steps": 2})
    with pytest.raises(UserError, match="pass them again"):
        ganforge.resume(tmp_path / "parts", steps=4, quiet=True)
    with pytest.raises(UserError, match="40 training images then, 39 now"):
        ganforge.resume(tmp_path / "parts", data={**values, "train": Items(item, 39)}, steps=4, quiet=True)
    parts = ganforge.resume(tmp_path / "parts", data=values, steps=4, quiet=True)
    assert parts.hash_weights("raw") == whole.hash_weights("raw")
    assert parts.hash_weights() == whole.hash_weights()
    names = {score.name for score in ganforge.evaluate(tmp_path / "whole", data=values, num_samples=20)}
    assert "kid" in names
    assert ganforge.load(tmp_path / "whole").run.config.data.data == "python:Items"
