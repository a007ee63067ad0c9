"""What U-Net and PatchGAN see, keep and leave out."""

import pytest
import torch
from torch import nn

from ganforge.nn.networks.patchgan import PatchDiscriminator, smallest_side
from ganforge.nn.networks.unet import UNet, depth_of


def unet(depth: int = 3, skips: bool = True) -> UNet:
    return UNet(channels=1, outputs=3, depth=depth, width=4, skips=skips)


@pytest.mark.parametrize(("height", "width", "depth"), [(256, 256, 8), (64, 64, 6), (28, 32, 2), (30, 30, 1)])
def test_depth(height: int, width: int, depth: int) -> None:
    assert depth_of(height, width) == depth


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize(("depth", "height", "width"), [(2, 4, 12), (3, 24, 8), (5, 32, 64)])
def test_unet_keeps_the_size(depth: int, height: int, width: int, skips: bool) -> None:
    images = unet(depth, skips)(torch.randn(2, 1, height, width))
    assert images.shape == (2, 3, height, width)
    assert float(images.detach().abs().max()) <= 1


def test_widths_are_those_of_the_paper() -> None:
    network = UNet(channels=3, outputs=3, depth=8, width=64, skips=True)
    assert [layer.out_channels for layer in network.encoder] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [layer.in_channels for layer in network.decoder] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert [layer.out_channels for layer in network.decoder] == [512, 512, 512, 512, 256, 128, 64, 3]
    assert len(network.encoder_norms) == 6
    assert len(network.decoder_norms) == 7


@pytest.mark.parametrize("skips", [True, False])
def test_skips_pass_the_bottleneck(skips: bool) -> None:
    network = unet(skips=skips)
    nn.init.zeros_(network.encoder[-1].weight)
    images = torch.randn(2, 1, 8, 8)
    torch.manual_seed(1)
    one = network(images)
    torch.manual_seed(1)
    other = network(images.flip(0))
    assert torch.equal(one, other) != skips


def test_dropout_stays_on_in_evaluation_and_statistics_are_each_images_own() -> None:
    network = unet(depth=4).eval()
    image = torch.randn(1, 1, 16, 16)
    assert not torch.equal(network(image), network(image))
    torch.manual_seed(1)
    first = network(torch.cat([image, torch.randn(1, 1, 16, 16)]))[:1]
    torch.manual_seed(1)
    again = network(torch.cat([image, 9 * torch.randn(1, 1, 16, 16)]))[:1]
    assert torch.allclose(first, again, atol=1e-5)


def test_biases_where_no_norm_follows() -> None:
    network = UNet(channels=3, outputs=3, depth=4, width=4, skips=True, biases=True)
    assert [layer.bias is not None for layer in network.encoder] == [True, False, False, True]
    assert [layer.bias is not None for layer in network.decoder] == [False, False, False, True]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_dropout_starts_at_a_block(first: int) -> None:
    network = UNet(channels=1, outputs=1, depth=4, width=4, skips=True, num_dropouts=1, first_dropout=first)
    seen: dict[int, list[torch.Tensor]] = {}
    for level, layer in enumerate(network.decoder):
        layer.register_forward_pre_hook(
            lambda _, inputs, level=level: seen.setdefault(level, []).append(inputs[0])
        )
    image = torch.randn(1, 1, 16, 16)
    network(image)
    network(image)
    differs = [not torch.equal(*seen[level]) for level in range(4)]
    assert differs == [level > first for level in range(4)]


def test_batch_norm_uses_running_statistics_in_evaluation() -> None:
    network = UNet(channels=1, outputs=3, depth=3, width=4, skips=True, num_dropouts=0, norm="batch").eval()
    image = torch.randn(1, 1, 16, 16)
    assert not torch.allclose(network(image), network.train()(image), atol=1e-3)


@pytest.mark.parametrize(("patch", "side"), [("1", 24), ("16", 48), ("70", 144), ("286", 384)])
def test_receptive_field(patch: str, side: int) -> None:
    network = PatchDiscriminator(channels=2, width=2, patch=patch)
    for name, layer in network.layers.named_children():
        if isinstance(layer, nn.InstanceNorm2d):  # its statistics would be of the whole image
            setattr(network.layers, name, nn.Identity())
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.1, 1)  # no gradients that cancel or vanish
    images = torch.rand(1, 2, side, side, requires_grad=True)
    logits = network(images)
    middle = logits.shape[1] // 2
    (gradient,) = torch.autograd.grad(logits[0, middle, middle], images)
    seen = gradient[0].abs().sum(0) > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == int(patch)
    assert int(seen.sum()) == int(patch) ** 2


def test_paper_has_30_by_30_logits() -> None:
    assert PatchDiscriminator(channels=6, width=2, patch="70")(torch.randn(1, 6, 256, 256)).shape == (
        1,
        30,
        30,
    )


@pytest.mark.parametrize("patch", ["1", "16", "70", "286"])
def test_smallest_side(patch: str) -> None:
    network, side = PatchDiscriminator(channels=1, width=2, patch=patch), smallest_side(patch)
    assert network(torch.randn(1, 1, side, side)).numel() >= 1
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        network(torch.randn(1, 1, side - 1, side - 1))
