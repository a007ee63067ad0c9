"""The networks of super-resolution: shapes of figure 4, numbers of weights, VGG-19's layers."""

import copy

import pytest
import torch
from torch import nn

from ganforge.nn.networks.srresnet import SRDiscriminator, SRResNet
from ganforge.nn.networks.vgg import VGGFeatures


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_generator_of_the_paper() -> None:
    network = SRResNet(channels=3, width=64, num_blocks=16, scale=4)
    convolution, norm, slope = 64 * 64 * 9, 2 * 64, 1
    first = 3 * 64 * 81 + 64 + slope
    blocks = 16 * (2 * (convolution + norm) + slope) + convolution + norm
    doublings = 2 * (64 * 256 * 9 + 256 + slope)
    assert parameters(network) == first + blocks + doublings + 64 * 3 * 81 + 3
    assert network(torch.rand(1, 3, 6, 9)).shape == (1, 3, 24, 36)
    assert network.reach == 40


@pytest.mark.parametrize("scale", [2, 4])
def test_blocks_and_long_skip(scale: int) -> None:
    """With norms of gain 0 the blocks do nothing, and what the output sees is the first maps alone."""
    network = SRResNet(channels=1, width=4, num_blocks=3, scale=scale).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    images = torch.rand(2, 1, 7, 5)
    expected = network.output(network.doublings(network.first(images)))
    assert torch.allclose(network(images), expected)
    assert expected.shape == (2, 1, 7 * scale, 5 * scale)


def test_images_are_not_seen_by_one_another_in_evaluation() -> None:
    network = SRResNet(channels=3, width=4, num_blocks=1, scale=2).eval()
    images = torch.rand(3, 3, 8, 8)
    assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-6)


@pytest.mark.parametrize(("side", "smallest"), [(96, 6), (40, 3), (16, 1), (7, 1)])
def test_the_discriminator(side: int, smallest: int) -> None:
    network = SRDiscriminator(channels=3, width=8, side=side)
    assert network(torch.rand(5, 3, side, side)).shape == (5,)
    assert network.dense.in_features == 64 * smallest**2


def test_the_discriminator_of_the_paper() -> None:
    network = SRDiscriminator(channels=3, width=64, side=96)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [m.stride[0] for m in convolutions] == [1, 2] * 4
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 7
    assert (network.dense.in_features, network.dense.out_features) == (512 * 6 * 6, 1024)


@pytest.mark.parametrize(("layer", "index", "channels", "divisor"), [("22", 7, 128, 2), ("54", 34, 512, 16)])
def test_vgg_layers_have_the_names_of_torchvision(
    layer: str, index: int, channels: int, divisor: int
) -> None:
    """conv2_2 is `features.7` there and conv5_4 `features.34`, each with its activation after it."""
    network = VGGFeatures(layer)
    last = network.features[index]
    assert isinstance(last, nn.Conv2d)
    assert last.out_channels == channels
    assert len(network.features) == index + 2
    maps = network(torch.rand(1, 1, 32, 32))
    assert maps.shape == (1, channels, 32 // divisor, 32 // divisor)
    assert float(maps.min()) >= 0
    assert not any(p.requires_grad for p in network.parameters())
    assert f"features.{index}.weight" in network.state_dict()


def test_vgg_wants_the_statistics_of_imagenet() -> None:
    network = VGGFeatures("22")
    seen: list[torch.Tensor] = []
    network.features[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8))
    expected = [(0 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(expected)


def test_gradients_of_maps_of_one_pixel_are_finite_in_bf16() -> None:
    """A stride of 2 leaves the image as it is there, and left some gradients of oneDNN unset."""
    for seed in range(20):
        torch.manual_seed(seed)
        network = SRDiscriminator(channels=3, width=4, side=8)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(torch.rand(2, 3, 8, 8))
        logits.float().sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
        strided = copy.deepcopy(network).eval()
        images = torch.rand(2, 3, 8, 8)
        expected = network.eval()(images)
        for layer in strided.modules():
            if isinstance(layer, nn.Conv2d) and layer.in_channels == layer.out_channels:
                layer.stride = (2, 2)
        torch.testing.assert_close(strided(images), expected)
