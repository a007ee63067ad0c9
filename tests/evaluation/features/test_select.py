"""Which network judges, and the floors: laws of their features, and what is refused."""

import sys
from pathlib import Path

import pytest
import torch

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.features.select import feature_extractor
from ganforge.evaluation.features.unknown import UnknownDataFeatures
from ganforge.evaluation.features.untrained import PixelFeatures, RandomConvolutions
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance


@pytest.fixture(scope="module")
def emoji():
    return open_dataset(DataOptions(data="emoji", size=32))


@pytest.mark.parametrize("kind", [PixelFeatures, RandomConvolutions])
def test_floors_depend_on_the_image_alone(kind) -> None:
    images = torch.randint(0, 256, (7, 3, 20, 28)) / 127.5 - 1
    torch.manual_seed(5)
    network = kind(3, 20, 28)
    found = network.features(images)
    assert found.shape == (7, network.feature_size)
    torch.manual_seed(6)
    torch.testing.assert_close(kind(3, 20, 28).features(images[2:4]), found[2:4], rtol=1e-5, atol=1e-6)
    assert torch.equal(network.features(images + 1e-5), found)  # rounded to 8 bit
    assert len(network.features(images[:0])) == 0
    with pytest.raises(UserError, match="expected"):
        network.features(images[:, :1])


@pytest.mark.parametrize("kind", [PixelFeatures, RandomConvolutions])
def test_floors_see_a_gross_difference(kind, emoji) -> None:
    split = emoji.splits["train"]
    images = split.read(torch.arange(1_200)).float() / 127.5 - 1
    network = kind(*emoji.spec.shape)
    near, far, other = (network.features(part) for part in (images[:600], images[600:], -images[600:]))
    same = frechet_distance(Moments.of(near), Moments.of(far))
    assert frechet_distance(Moments.of(near), Moments.of(other)) > 3 * same


@pytest.mark.parametrize(("channels", "planes"), [(1, 1), (2, 2), (3, 1), (4, 2)])
def test_unknown_data_have_features_whatever_their_channels_and_shape(channels: int, planes: int) -> None:
    images = torch.randint(0, 256, (5, channels, 20, 28)) / 127.5 - 1
    network = UnknownDataFeatures(channels, 20, 28)
    found = network.features(images)
    assert found.shape == (5, 128 * planes) == (5, network.feature_size)
    assert "on unknown data" in network.description
    if planes == 2:  # alpha counts
        images[:, -1] = -images[:, -1]
        assert not torch.equal(network.features(images), found)
        assert torch.equal(network.features(images)[:, :128], found[:, :128])
    with pytest.raises(UserError, match="expected"):
        network.features(images[:, :, :4])


def test_small_images_are_pixels_as_they_are() -> None:
    pixels = torch.randint(0, 256, (3, 1, 5, 9)).float()
    expected = (pixels / 127.5 - 1).flatten(1)
    torch.testing.assert_close(PixelFeatures(1, 5, 9).features(pixels / 127.5 - 1), expected)


def test_names(emoji, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = feature_extractor("auto", emoji)
    assert judge is not None
    assert "emoji classifier" in judge.description
    assert isinstance(feature_extractor("pixels", emoji), PixelFeatures)
    assert isinstance(feature_extractor("random", emoji), RandomConvolutions)
    with pytest.raises(UserError, match="expected auto, pixels, random, inception"):
        feature_extractor("inceptoin", emoji)
    with pytest.raises(UserError, match="leave it out"):
        feature_extractor("random", emoji, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_features.py").write_text(
        "import torch\n"
        "def means(images): return images.mean(dim=(2, 3))\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.ones(3, 4))\n"
        "    def forward(self, images): return images.mean(dim=(2, 3)) @ self.weight\n"
        "def wrong(images): return images\n"
        "number = 3\n"
    )
    own = feature_extractor("my_features:means", emoji)
    assert own is not None
    assert (own.feature_size, own.identity) == (3, "")
    module = feature_extractor("my_features:Net", emoji)
    assert module is not None
    assert module.feature_size == 4
    assert "weights SHA-256" in module.description
    images = torch.ones(250, 3, 32, 32)
    torch.testing.assert_close(module.features(images), torch.full((250, 4), 3.0))
    for name, why in (
        ("wrong", r"gives \[2, 3, 32, 32\]"),
        ("number", "a callable"),
        ("none", "cannot import"),
    ):
        with pytest.raises(UserError, match=why):
            feature_extractor(f"my_features:{name}", emoji)
