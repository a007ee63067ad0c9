"""The standard convolutional pair against table 3 of Miyato et al. 2018."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import leaky_relu

from ganforge.nn.layers import ConditionalBatchNorm2d, spectral_norms
from ganforge.nn.networks.sngan import SNGANDiscriminator, SNGANGenerator
from ganforge.nn.stages import stages_of

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def pair(
    size: int, *, width: int = 4, num_classes: int = 0, spectral: bool = True
) -> tuple[SNGANGenerator, SNGANDiscriminator]:
    stages = stages_of(size)
    assert stages is not None
    shape = {
        "channels": 3,
        "start": stages[0],
        "doublings": stages[1],
        "num_classes": num_classes,
        "width": width,
    }
    return SNGANGenerator(latent_size=128, **shape), SNGANDiscriminator(spectral=spectral, **shape)


def convolutions_of(network: nn.Module, *inputs: Any) -> list[tuple[int, int, int, int]]:
    """Kernel size, stride, and the channels and side of the output of every convolution, in order."""
    seen: list[tuple[int, int, int, int]] = []
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(
                lambda layer, _, output: seen.append(
                    (layer.kernel_size[0], layer.stride[0], output.shape[1], output.shape[2])
                )
            )
    network(*inputs)
    return seen


def test_table_3() -> None:
    generator, discriminator = pair(32, width=64)
    assert generator.dense.weight.shape == (512 * 4 * 4, 128)
    assert convolutions_of(generator, torch.randn(2, 128)) == [
        (4, 2, 256, 8),
        (4, 2, 128, 16),
        (4, 2, 64, 32),
        (3, 1, 3, 32),
    ]
    assert convolutions_of(discriminator, torch.randn(2, 3, 32, 32)) == [
        (3, 1, 64, 32),
        (4, 2, 64, 16),
        (3, 1, 128, 16),
        (4, 2, 128, 8),
        (3, 1, 256, 8),
        (4, 2, 256, 4),
        (3, 1, 512, 4),
    ]
    assert discriminator.head.dense.weight.shape == (1, 512 * 4 * 4)


@pytest.mark.parametrize("size", [8, 14, 16, 28, 32, 64])
def test_sizes(size: int) -> None:
    generator, discriminator = pair(size)
    images = generator(torch.randn(2, 128))
    assert images.shape == (2, 3, size, size)
    assert float(images.abs().max()) <= 1
    assert discriminator(images).shape == (2,)
    assert discriminator.layers(images).shape[2] == (7 if size % 7 == 0 else 4)


def test_leaky_slope_and_no_bias_at_the_end() -> None:
    _, discriminator = pair(8)
    images = torch.randn(5, 3, 8, 8)
    discriminator.eval()
    maps = images
    for layer in (m for m in discriminator.modules() if isinstance(m, nn.Conv2d)):
        maps = leaky_relu(layer(maps), 0.1)
    torch.testing.assert_close(discriminator(images), maps.flatten(1) @ discriminator.head.dense.weight[0])


@pytest.mark.parametrize("num_classes", [0, 3])
def test_norms(num_classes: int) -> None:
    """Spectral in all of the discriminator, which has no batch norm; the generator has three, by class."""
    generator, discriminator = pair(32, num_classes=num_classes)
    weighted = (nn.Conv2d, nn.Linear, nn.Embedding)
    assert set(spectral_norms(discriminator)) == {
        name for name, module in discriminator.named_modules() if isinstance(module, weighted)
    }
    assert len(spectral_norms(discriminator)) == 7 + 1 + bool(num_classes)
    assert spectral_norms(generator) == spectral_norms(pair(32, spectral=False)[1]) == {}
    assert not [m for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    kind = ConditionalBatchNorm2d if num_classes else nn.BatchNorm2d
    assert [type(norm) for norm in generator.norms] == [kind] * 3


def test_classes_begin_alike_and_differ_by_their_rows() -> None:
    generator, discriminator = pair(16, num_classes=3)
    latents, labels = torch.randn(4, 128), torch.arange(4) % 3
    generator.eval()
    assert torch.equal(generator(latents, labels), generator(latents, 0 * labels))
    nn.init.normal_(generator.norms[1].bias.weight[1])
    differ = (generator(latents, labels) != generator(latents, 0 * labels)).flatten(1).any(1)
    assert differ.tolist() == [False, True, False, False]
    images = generator(latents, labels)
    discriminator.eval()
    features = discriminator.layers(images).flatten(1)
    rows = discriminator.head.embedding.weight
    found = discriminator(images, labels) - discriminator(images, 0 * labels)
    torch.testing.assert_close(found, ((rows[labels] - rows[0]) * features).sum(1), rtol=1e-4, atol=1e-6)


def test_initial_weights() -> None:
    for network in pair(32, width=32, spectral=False):
        for name, module in network.named_modules():
            if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
                assert float(module.weight.std()) == pytest.approx(0.02, rel=0.1), name
                assert module.bias is None or not module.bias.any(), name


@pytest.mark.parametrize("training", [True, False])
def test_images_of_a_batch_do_not_affect_each_other_in_the_discriminator(training: bool) -> None:
    _, discriminator = pair(16, num_classes=3, spectral=not training)
    discriminator.train(training)
    images, labels = torch.randn(6, 3, 16, 16), torch.arange(6) % 3
    apart = [discriminator(images[rows], labels[rows]) for rows in (slice(0, 1), slice(1, 6))]
    torch.testing.assert_close(torch.cat(apart), discriminator(images, labels))
