"""Stacked MNIST: every colour a digit, held-out digits held out, and nothing composed before it is read."""

import numpy as np
import pytest
import torch

from ganforge.data.check import check
from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset, source_fingerprint
from ganforge.data.options import DataOptions
from ganforge.data.sources.catalogue import available, locate
from ganforge.data.sources.stacked_mnist import Stacked, stack_digits
from ganforge.errors import UserError


@pytest.fixture(scope="module")
def stacked() -> Dataset:
    return open_dataset(DataOptions(data="stacked-mnist"))


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return open_dataset(DataOptions(data="mnist"))


@pytest.fixture(scope="module")
def origin() -> Stacked:
    found = locate(DataOptions(data="stacked-mnist"))
    assert isinstance(found, Stacked)
    return found


def test_the_stacks_are_those_of_the_papers(stacked: Dataset) -> None:
    assert stacked.spec.shape == (3, 28, 28)
    assert {split: len(images) for split, images in stacked.splits.items()} == {
        "train": 128_000,
        "test": 10_000,
    }
    assert stacked.spec.class_names == ()
    assert stacked.splits["train"].labels is None
    assert "stacked-mnist" in available()


def test_every_colour_is_a_digit_of_its_split(stacked: Dataset, mnist: Dataset, origin: Stacked) -> None:
    parts = [mnist.splits[name] for name in ("train", "validation")]
    train = torch.cat([part.read(torch.arange(len(part))) for part in parts])
    test = mnist.splits["test"].read(torch.arange(10_000))
    rows = torch.tensor([0, 77, 9_999, 5, 77])
    for split, digits in (("train", train), ("test", test)):
        images = stacked.splits[split].read(rows)
        assert images.shape == (5, 3, 28, 28)
        assert images.dtype == torch.uint8
        triples = origin.triples[split]
        assert int(triples.max()) < len(digits)
        for image, triple in zip(images, triples[rows], strict=True):
            assert torch.equal(image, digits[triple][:, 0])


def test_colours_are_independent_and_all_digits_are_used(mnist: Dataset, origin: Stacked) -> None:
    parts = [mnist.splits[name].labels for name in ("train", "validation")]
    labels = torch.cat([part for part in parts if part is not None])
    triples = origin.triples["train"]
    counts = (labels[triples] * torch.tensor([100, 10, 1])).sum(1).bincount(minlength=1_000).double()
    shares = labels.bincount().double() / len(labels)
    expected = 128_000 * torch.einsum("i,j,k->ijk", shares, shares, shares).flatten()
    # Pearson's statistic of 1,000 cells: mean 999, standard deviation 45.
    assert abs(float(((counts - expected).square() / expected).sum()) - 999) < 5 * 45
    # A digit is left out of 384,000 draws from 60,000 with probability exp(-6.4).
    unused = int((triples.flatten().bincount(minlength=60_000) == 0).sum())
    assert abs(unused - 60_000 * np.exp(-6.4)) < 5 * 10
    assert len(triples.unique(dim=0)) == 128_000


def test_the_stacks_are_the_same_each_time(stacked: Dataset, origin: Stacked) -> None:
    again = open_dataset(DataOptions(data="stacked-mnist"))
    assert again.fingerprint == stacked.fingerprint == source_fingerprint(DataOptions(data="stacked-mnist"))
    mnist = locate(DataOptions(data="mnist"))
    triples = stack_digits(mnist).triples  # type: ignore[arg-type]
    assert all(torch.equal(triples[split], origin.triples[split]) for split in ("train", "test"))
    assert not torch.equal(triples["train"][:10_000], triples["test"])
    # The published meaning of the name: a change of these breaks every comparison.
    assert triples["train"][0].tolist() == [49586, 14033, 25435]


def test_stacks_take_little_memory(stacked: Dataset) -> None:
    """128,000 images of 2,352 bytes would be 300 MB."""
    assert stacked.splits["train"].pixels is None
    stored = sum(triples.nbytes for triples in locate_triples())
    assert stored < 4_000_000


def locate_triples() -> list[torch.Tensor]:
    found = locate(DataOptions(data="stacked-mnist"))
    assert isinstance(found, Stacked)
    return list(found.triples.values())


def test_size_resizes_each_digit(stacked: Dataset, origin: Stacked) -> None:
    small = open_dataset(DataOptions(data="stacked-mnist", size=16))
    digits = open_dataset(DataOptions(data="mnist", size=16)).splits["test"]
    assert small.spec.shape == (3, 16, 16)
    assert small.fingerprint != stacked.fingerprint
    rows = torch.arange(20)
    expected = torch.stack([digits.read(triple)[:, 0] for triple in origin.triples["test"][rows]])
    assert torch.equal(small.splits["test"].read(rows), expected)


def test_channels(stacked: Dataset) -> None:
    assert (
        open_dataset(DataOptions(data="stacked-mnist", channels="color")).fingerprint == stacked.fingerprint
    )
    with pytest.raises(UserError, match="--data mnist"):
        open_dataset(DataOptions(data="stacked-mnist", channels="grey"))


def test_check() -> None:
    report = check(DataOptions(data="stacked-mnist", size=32))
    assert report.shape == (3, 32, 32)
    assert report.counts == {"train": 128_000, "test": 10_000}
    assert report.sizes == {"28x28": 138_000}
    assert not report.problems
    assert not report.warnings
    assert check(DataOptions(data="stacked-mnist", channels="grey")).problems
