"""Inception-v3 of 2015: shapes, names and counts of what is published, its resizes, and how weights come in.

Equality with published features is tested only where GANFORGE_INCEPTION names the published file and
torch-fidelity is installed: neither is shipped.
"""

import hashlib
import os
from pathlib import Path

import numpy
import pytest
import safetensors.torch
import torch
from PIL import Image

from ganforge.errors import UserError
from ganforge.evaluation.features.inception import (
    WEIGHTS_FILE,
    WEIGHTS_SHA256,
    InceptionFeatures,
    load_inception,
    resize_clean,
    resize_legacy,
)
from ganforge.nn.networks.inception import BlockE, InceptionV3


@pytest.fixture(scope="module")
def network() -> InceptionV3:
    torch.manual_seed(0)
    return InceptionV3().eval()


def test_has_the_names_and_numbers_of_the_published_file(network: InceptionV3) -> None:
    """94 convolutions with five tensors of batch norm each, a layer of 1,008 classes; 95,628,359 bytes."""
    state = network.state_dict()
    assert len(state) == 94 * 6 + 2
    assert sum(name.endswith(".conv.weight") for name in state) == 94
    assert not any(name.endswith(".conv.bias") for name in state)
    assert state["fc.weight"].shape == (1008, 2048)
    assert state["Conv2d_1a_3x3.conv.weight"].shape == (32, 3, 3, 3)
    assert state["Mixed_5b.branch5x5_2.conv.weight"].shape == (64, 48, 5, 5)
    assert state["Mixed_6c.branch7x7dbl_4.conv.weight"].shape == (160, 160, 7, 1)
    assert state["Mixed_7a.branch7x7x3_2.conv.weight"].shape == (192, 192, 1, 7)
    assert state["Mixed_7c.branch3x3dbl_3b.bn.running_var"].shape == (384,)
    # torchvision's network without its auxiliary head has 23,834,568 parameters with 1,000 classes.
    numbers = sum(parameter.numel() for parameter in network.parameters())
    assert numbers - 8 * (2048 + 1) == 23_834_568
    stored = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert 0 < 95_628_359 - stored < 0.002 * 95_628_359


def test_maps_have_the_sizes_of_the_paper(network: InceptionV3) -> None:
    sizes: dict[str, tuple[int, ...]] = {}
    hooks = [
        child.register_forward_hook(lambda _m, _i, out, name=name: sizes.update({name: tuple(out.shape[1:])}))
        for name, child in network.named_children()
        if name != "fc"
    ]
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 299, 299)).shape == (1, 2048)
    for hook in hooks:
        hook.remove()
    assert sizes["Conv2d_2b_3x3"] == (64, 147, 147)
    assert sizes["Conv2d_4a_3x3"] == (192, 71, 71)
    assert [sizes[f"Mixed_5{part}"] for part in "bcd"] == [(256, 35, 35), (288, 35, 35), (288, 35, 35)]
    assert [sizes[f"Mixed_6{part}"] for part in "abcde"] == [(768, 17, 17)] * 5
    assert [sizes[f"Mixed_7{part}"] for part in "abc"] == [(1280, 8, 8), (2048, 8, 8), (2048, 8, 8)]


def test_only_the_last_block_pools_by_the_maximum(network: InceptionV3) -> None:
    blocks = [module for module in network.modules() if isinstance(module, BlockE)]
    assert [block.pools_maximum for block in blocks] == [False, True]


@pytest.mark.parametrize(("height", "width"), [(28, 28), (40, 64), (299, 299), (512, 300)])
def test_the_legacy_resize_equals_its_definition(height: int, width: int) -> None:
    pixels = torch.randint(0, 256, (1, 1, height, width)).float()
    source, side = pixels[0, 0].double().numpy(), 299
    found = resize_legacy(pixels)[0, 0].numpy()
    random = numpy.random.default_rng(0)
    for row, column in random.integers(0, side, (300, 2)):
        y, x = row * height / side, column * width / side
        top, left = int(y), int(x)
        below, right = min(top + 1, height - 1), min(left + 1, width - 1)
        down, across = y - top, x - left
        upper = source[top, left] * (1 - across) + source[top, right] * across
        lower = source[below, left] * (1 - across) + source[below, right] * across
        assert found[row, column] == pytest.approx(upper * (1 - down) + lower * down, abs=0.02)


@pytest.mark.parametrize("side", [32, 299, 512])
def test_the_clean_resize_is_pillows(side: int) -> None:
    pixels = torch.randint(0, 256, (1, 1, side, side)).float()
    image = Image.fromarray(pixels[0, 0].numpy(), mode="F").resize((299, 299), Image.Resampling.BICUBIC)
    expected = numpy.asarray(image).clip(0, 255)
    assert numpy.abs(resize_clean(pixels)[0, 0].numpy() - expected).max() < 0.02


def test_grey_is_three_equal_channels_and_eight_bits_are_all(network: InceptionV3) -> None:
    features = InceptionFeatures(network, "0" * 64, "legacy")
    grey = torch.randint(0, 256, (2, 1, 20, 20)) / 127.5 - 1
    found = features.features(grey)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(
        found, features.features(grey.expand(-1, 3, -1, -1) + 1e-4), rtol=1e-5, atol=1e-6
    )
    assert "not the published file" in features.description
    with pytest.raises(UserError, match="1 or 3"):
        features.features(torch.zeros(1, 2, 20, 20))


def test_weights_come_from_a_file_of_either_form(network: InceptionV3, tmp_path: Path) -> None:
    state = network.state_dict()
    torch.save(state, tmp_path / "w.pth")
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        loaded = load_inception(tmp_path / name, "clean")
        own = loaded._network.state_dict()
        assert all(torch.equal(own[key], tensor) for key, tensor in state.items())
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() in loaded.identity
    del state["fc.bias"]
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"has not the weights of Inception.*fc.bias"):
        load_inception(tmp_path / "w.safetensors")


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pooch = pytest.importorskip("pooch")

    def fail(url: str, known_hash: str, **_: object) -> None:
        assert url.endswith(WEIGHTS_FILE)
        assert known_hash == f"sha256:{WEIGHTS_SHA256}"
        raise ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(
        UserError, match=r"weights of Inception could not be downloaded.*--features-weights FILE"
    ):
        load_inception()


def test_features_equal_torch_fidelitys() -> None:
    weights = os.environ.get("GANFORGE_INCEPTION")
    if weights is None:
        pytest.skip("GANFORGE_INCEPTION names no file of the published weights")
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    extractor = module.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=weights
    )
    (theirs,) = extractor(images)
    ours = load_inception(Path(weights)).features(images.float() / 127.5 - 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
