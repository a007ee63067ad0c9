"""Features of real images in the cache: the same numbers, made once, and never a damaged one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganforge.data.batch import DataSpec
from ganforge.data.dataset import Dataset
from ganforge.data.options import DataOptions
from ganforge.data.split import in_memory
from ganforge.evaluation.features.cache import FeatureExtractor, real_features
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.files.download import cache_folder


class Sums:
    """A network that counts how many images it has seen."""

    description, identity, feature_size = "sums", "sums 1", 2

    def __init__(self, identity: str = "sums 1") -> None:
        self.identity = identity
        self.seen = 0

    def features(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return torch.stack([images.flatten(1).sum(1), images.flatten(1).amax(1)], 1)


@pytest.fixture
def data() -> Dataset:
    pixels = torch.randint(0, 256, (1_203, 1, 4, 4), dtype=torch.uint8)
    splits = {"train": in_memory(pixels), "test": in_memory(pixels[:7].flip(0))}
    spec = DataSpec(channels=1, height=4, width=4, num_images=1_203)
    return Dataset(DataOptions(data="somewhere"), spec, splits, "a" * 64)


def kept() -> list[Path]:
    return sorted((cache_folder() / "features").glob("*"))


def test_are_made_once_and_equal_the_networks_own(data: Dataset) -> None:
    network: FeatureExtractor = Sums()
    first = real_features(network, data, "train")
    again = real_features(network, data, "train")
    assert network.seen == 1_203  # type: ignore[attr-defined]  # counted by this test's network
    assert torch.equal(first, again)
    pixels = data.splits["train"].pixels
    assert pixels is not None
    assert torch.equal(first, Sums().features(pixels.float().div(127.5).sub(1)))
    assert len(kept()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "b" * 64},
        {"options": DataOptions(data="somewhere", binarise="static")},
        {"options": DataOptions(data="somewhere", size=4)},
    ],
    ids=["data", "binarise", "size"],
)
def test_other_data_and_options_are_other_features(data: Dataset, change: dict[str, object]) -> None:
    network = Sums()
    real_features(network, data, "test")
    real_features(network, replace(data, **change), "test")
    assert network.seen == 14


def test_splits_counts_and_networks_are_told_apart_but_not_places(data: Dataset) -> None:
    network, other = Sums(), Sums("sums 2")
    assert len(real_features(network, data, "train", 7)) == 7
    assert len(real_features(network, data, "test", 9)) == 7
    assert len(real_features(network, data, "train", 6)) == 6
    real_features(other, data, "train", 7)
    assert (network.seen, other.seen) == (20, 7)
    real_features(network, replace(data, options=DataOptions(data="elsewhere")), "train", 7)
    assert network.seen == 20


def test_without_an_identity_nothing_is_kept(data: Dataset) -> None:
    network = Sums("")
    for _ in range(2):
        real_features(network, data, "test")
    assert network.seen == 14
    assert kept() == []


@pytest.mark.parametrize("place", [0, 30, 150, -1], ids=["length", "header", "digest", "number"])
def test_a_flipped_bit_or_a_torn_file_is_made_again(data: Dataset, place: int) -> None:
    network = Sums()
    first = real_features(network, data, "test")
    (path,) = kept()
    whole = path.read_bytes()
    for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place:][1:], b""):
        path.write_bytes(damaged)
        assert torch.equal(real_features(network, data, "test"), first)
        assert path.read_bytes() == whole
    assert network.seen == 28


def test_a_cache_that_cannot_be_written_is_done_without(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "file"))
    assert len(real_features(Sums(), data, "test")) == 7


def test_classifiers_are_distinguished() -> None:
    assert len({load_classifier(name).identity for name in ("mnist", "fashion-mnist", "emoji")}) == 3
