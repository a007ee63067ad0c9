"""The residual pair against table 4 of Miyato et al. 2018 and the operations of the released code."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, relu

from ganforge.nn.layers import ConditionalBatchNorm2d, spectral_norms
from ganforge.nn.networks.resnet import DownBlock, FirstBlock, ResNetDiscriminator, ResNetGenerator, UpBlock
from ganforge.nn.stages import stages_of

SIZES = [8, 14, 16, 28, 32, 56, 64, 128]
WEIGHTED = (nn.Linear, nn.Conv2d, nn.Embedding)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def pair(
    size: int, *, width: int = 4, channels: int = 3, num_classes: int = 0, **fields: Any
) -> tuple[ResNetGenerator, ResNetDiscriminator]:
    stages = stages_of(size)
    assert stages is not None
    shape = {"channels": channels, "start": stages[0], "doublings": stages[1], "num_classes": num_classes}
    options = {"spectral": True, "pooling": "sum", "width": width} | fields
    return ResNetGenerator(latent_size=10, width=width, **shape), ResNetDiscriminator(**shape, **options)


def maps_of(network: nn.Module, inputs: Tensor) -> list[tuple[int, ...]]:
    """Shapes of what goes into the first block, and of what comes out of each."""
    seen: list[tuple[int, ...]] = []
    for block in network.get_submodule("blocks").children():
        block.register_forward_pre_hook(
            lambda _, given: None if seen else seen.append(tuple(given[0].shape[1:]))
        )
        block.register_forward_hook(lambda _, given, output: seen.append(tuple(output.shape[1:])))
    network(inputs)
    return seen


def test_table_4() -> None:
    generator, _ = pair(32, width=256)
    _, discriminator = pair(32, width=128)
    maps = maps_of(generator, torch.randn(1, 10))
    assert maps == [(256, 4, 4), (256, 8, 8), (256, 16, 16), (256, 32, 32)]
    maps = maps_of(discriminator, torch.randn(1, 3, 32, 32))
    assert maps == [(3, 32, 32), (128, 16, 16), (128, 8, 8), (128, 8, 8), (128, 8, 8)]


def test_number_of_weights_of_table_4() -> None:
    """The dense layer, the blocks (two 3x3, one 1x1 where the size changes, batch norms), the output."""
    generator = ResNetGenerator(latent_size=128, channels=3, start=4, doublings=3, width=256)
    up = 2 * (256 * 256 * 9 + 256) + (256 * 256 + 256) + 2 * 2 * 256
    expected = (128 + 1) * 256 * 16 + 3 * up + 2 * 256 + (256 * 9 * 3 + 3)
    assert sum(p.numel() for p in generator.parameters()) == expected
    _, discriminator = pair(32, width=128)
    plain = 2 * (128 * 128 * 9 + 128)
    first = (3 * 128 * 9 + 128) + plain // 2 + (3 * 128 + 128)
    expected = first + (plain + 128 * 128 + 128) + 2 * plain + 128
    assert sum(p.numel() for p in discriminator.parameters()) == expected


@pytest.mark.parametrize("size", SIZES)
def test_sizes(size: int) -> None:
    generator, discriminator = pair(size)
    images = generator(torch.randn(2, 10))
    assert images.shape == (2, 3, size, size)
    assert float(images.abs().max()) <= 1
    *halved, second, third, last = [maps[-1] for maps in maps_of(discriminator, images)]
    assert second == third == last == {4: 4, 7: 7}.get(size // 2, 7 if size % 7 == 0 else 8)
    assert halved == [size >> k for k in range(len(halved))]
    assert halved[-1] == 2 * last
    assert discriminator(images).shape == (2,)


def convolved(maps: Tensor, convolution: nn.Module) -> Tensor:
    return conv2d(maps, convolution.weight, convolution.bias, padding=convolution.weight.shape[-1] // 2)


def doubled(maps: Tensor) -> Tensor:
    return interpolate(maps, scale_factor=2)


def test_blocks_in_the_order_of_the_released_code() -> None:
    """There the 1x1 shortcuts come at the larger size, after the doubling and before the pooling."""
    maps, images = torch.randn(3, 4, 6, 6), torch.randn(3, 2, 6, 6)
    up, down, plain = UpBlock(4, 4).eval(), DownBlock(4, down=True), DownBlock(4, down=False)
    first = FirstBlock(2, 4)
    for norm in (up.norm1, up.norm2):
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)

    hidden = convolved(doubled(relu(up.norm1(maps))), up.convolution1)
    hidden = convolved(relu(up.norm2(hidden)), up.convolution2)
    torch.testing.assert_close(up(maps), hidden + convolved(doubled(maps), up.shortcut))

    hidden = convolved(relu(convolved(relu(maps), down.convolution1)), down.convolution2)
    shortcut = convolved(maps, down.shortcut)
    torch.testing.assert_close(down(maps), avg_pool2d(hidden, 2) + avg_pool2d(shortcut, 2))

    hidden = convolved(relu(convolved(relu(maps), plain.convolution1)), plain.convolution2)
    torch.testing.assert_close(plain(maps), hidden + maps)

    hidden = convolved(relu(convolved(images, first.convolution1)), first.convolution2)
    shortcut = convolved(avg_pool2d(images, 2), first.shortcut)
    torch.testing.assert_close(first(images), avg_pool2d(hidden, 2) + shortcut)
    # No ReLU first: an image is not the same as its positive half, as it would be to the residual branch.
    assert not torch.allclose(
        hidden, convolved(relu(convolved(relu(images), first.convolution1)), first.convolution2)
    )


@pytest.mark.parametrize(("size", "positions"), [(32, 64), (28, 49)])
def test_sum_pooling_is_mean_pooling_times_the_positions(size: int, positions: int) -> None:
    networks = [pair(size, pooling=pooling, spectral=False)[1] for pooling in ("sum", "mean")]
    networks[1].load_state_dict(networks[0].state_dict())
    features: list[Tensor] = []
    images = torch.randn(5, 3, size, size)
    for network in networks:
        network.head.register_forward_pre_hook(lambda _, given: features.append(given[0]))
        network(images)
    assert float(features[0].min()) >= 0, "after the last ReLU"
    torch.testing.assert_close(features[0], positions * features[1])


def test_initial_weights() -> None:
    """Glorot uniform, of gain sqrt(2) for the 3x3 convolutions of blocks and of gain 1 elsewhere."""
    networks = (*pair(32, width=64, num_classes=200, spectral=False), pair(32, width=64)[1])
    for network in networks:
        for name, module in network.named_modules():
            if not isinstance(module, WEIGHTED) or "gain" in name or "norm" in name:
                continue
            normalised = hasattr(module, "parametrizations")
            weight = module.parametrizations.weight.original if normalised else module.weight
            gain = math.sqrt(2) if ".convolution" in name else 1.0
            bound = gain * math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()))
            assert float(weight.abs().max()) <= bound, name
            assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.2), name
            assert getattr(module, "bias", None) is None or not module.bias.any(), name


@pytest.mark.parametrize("num_classes", [0, 3])
def test_every_weight_of_the_discriminator_is_normalised_and_none_of_the_generator(num_classes: int) -> None:
    generator, discriminator = pair(32, num_classes=num_classes)
    weighted = {name for name, module in discriminator.named_modules() if isinstance(module, WEIGHTED)}
    assert set(spectral_norms(discriminator)) == weighted
    assert len(weighted) == 3 + 3 + 2 + 2 + 1 + bool(num_classes)
    assert spectral_norms(generator) == {}
    assert spectral_norms(pair(32, num_classes=num_classes, spectral=False)[1]) == {}


@pytest.mark.parametrize("training", [True, False])
def test_images_of_a_batch_do_not_affect_each_other_in_the_discriminator(training: bool) -> None:
    _, discriminator = pair(16, num_classes=3, spectral=not training)
    discriminator.train(training)
    images, labels = torch.randn(6, 3, 16, 16), torch.arange(6) % 3
    apart = [discriminator(images[rows], labels[rows]) for rows in (slice(0, 1), slice(1, 6))]
    torch.testing.assert_close(torch.cat(apart), discriminator(images, labels))


def test_the_generator_in_evaluation_does_not_look_across_the_batch() -> None:
    generator, _ = pair(16)
    latents = torch.randn(6, 10)
    generator.train()(latents)
    images = generator.eval()(latents)
    torch.testing.assert_close(torch.cat([generator(latents[:2]), generator(latents[2:])]), images)


def test_classes_begin_alike_and_differ_by_the_norms_of_the_blocks_alone() -> None:
    plain, _ = pair(16)
    generator, _ = pair(16, num_classes=5)
    norms = [m for m in generator.modules() if isinstance(m, ConditionalBatchNorm2d)]
    assert len(norms) == 2 * 2
    assert isinstance(generator.norm, nn.BatchNorm2d), "the last norm has no classes in the released code"
    shared = {name: tensor for name, tensor in plain.state_dict().items() if ".norm" not in name}
    generator.load_state_dict(generator.state_dict() | shared)
    latents, labels = torch.randn(6, 10), torch.arange(6) % 5
    torch.testing.assert_close(generator(latents, labels), plain(latents))

    nn.init.normal_(norms[0].gain.weight[2])
    before, after = (plain(latents), generator(latents, labels))
    generator.eval()
    row = [generator(latents[:1], torch.tensor([label])) for label in range(5)]
    assert torch.equal(row[0], row[1])
    assert not torch.allclose(row[0], row[2], atol=1e-3)
    assert not torch.allclose(before, after, atol=1e-3)


def test_logits_of_classes_differ_by_their_rows() -> None:
    """D(x, a) - D(x, b) = <e(a) - e(b), phi(x)>."""
    _, discriminator = pair(16, num_classes=3)
    discriminator.eval()
    images = torch.randn(4, 3, 16, 16)
    features = relu(discriminator.blocks(images)).sum((2, 3))
    rows = discriminator.head.embedding.weight
    logits = [discriminator(images, torch.full((4,), label)) for label in range(3)]
    torch.testing.assert_close(logits[0] - logits[2], features @ (rows[0] - rows[2]), rtol=1e-4, atol=1e-4)
