"""The CIFAR-10 pair of Odena et al. 2016."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ganforge.nn.networks.acgan import ACGANDiscriminator, ACGANGenerator, GaussianNoise
from ganforge.nn.stages import stages_of

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def make_generator(size: int, *, channels: int = 3, width: int = 96, num_classes: int = 10) -> ACGANGenerator:
    stages = stages_of(size)
    assert stages is not None
    start, doublings = stages
    return ACGANGenerator(
        latent_size=100,
        num_classes=num_classes,
        channels=channels,
        start=start,
        doublings=doublings,
        width=width,
    )


def maps_of(network: nn.Module, *inputs: Tensor) -> list[tuple[int, ...]]:
    """What goes into the first convolution and what comes out of each, without the batch."""
    seen: list[tuple[int, ...]] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if not seen:
            seen.append(tuple(given[0].shape[1:]))
        seen.append(tuple(output.shape[1:]))

    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(note)
    network(*inputs)
    return seen


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_generator_of_cifar() -> None:
    generator = make_generator(32)
    maps = maps_of(generator, torch.randn(2, 100), torch.eye(10)[:2])
    assert maps == [(384, 4, 4), (192, 8, 8), (96, 16, 16), (3, 32, 32)]
    dense = 110 * 384 * 16 + 384 * 16
    assert count(generator) == dense + 25 * (384 * 192 + 192 * 96 + 96 * 3) + 3 + 2 * (192 + 96)


def test_discriminator_of_cifar() -> None:
    discriminator = ACGANDiscriminator(shape=(3, 32, 32), num_classes=10, width=16)
    maps = maps_of(discriminator, torch.randn(2, 3, 32, 32))
    assert maps == [
        (3, 32, 32), (16, 16, 16), (32, 16, 16), (64, 8, 8), (128, 8, 8), (256, 4, 4), (512, 4, 4),
    ]  # fmt: skip
    widths = [3, 16, 32, 64, 128, 256, 512]
    convolutions = 9 * sum(i * o for i, o in itertools.pairwise(widths)) + 16
    heads = 512 * 4 * 4 * 11 + 11
    assert count(discriminator) == convolutions + 2 * sum(widths[2:]) + heads


@pytest.mark.parametrize(
    ("size", "coarsest", "last"),
    [(8, (8, 4, 4), 1), (14, (8, 7, 7), 2), (28, (16, 7, 7), 4), (32, (32, 4, 4), 4), (64, (64, 4, 4), 8)],
)
def test_sizes(size: int, coarsest: tuple[int, int, int], last: int) -> None:
    """Each transposed convolution doubles exactly; three of the discriminator's halve, rounded up."""
    generator = make_generator(size, width=8, num_classes=3)
    maps = maps_of(generator, torch.randn(2, 100), torch.eye(3)[:2])
    assert maps[0] == coarsest
    assert all(after[1:] == (2 * before[1], 2 * before[2]) for before, after in itertools.pairwise(maps))
    assert maps[-1] == (3, size, size)
    discriminator = ACGANDiscriminator(shape=(3, size, size), num_classes=3, width=2)
    assert maps_of(discriminator, torch.randn(2, 3, size, size))[-1] == (64, last, last)
    logits, class_logits = discriminator(torch.randn(5, 3, size, size))
    assert (logits.shape, class_logits.shape) == ((5,), (5, 3))


def test_layers() -> None:
    """Batch norm everywhere but at the image and after the dense layer; dropout after every activation."""
    generator = make_generator(32)
    block: list[type] = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
    kinds = [type(module) for module in generator.layers]
    assert kinds == [nn.Linear, nn.ReLU, nn.Unflatten, *block, *block, nn.ConvTranspose2d]
    discriminator = ACGANDiscriminator(shape=(3, 32, 32), num_classes=10, width=16)
    rest: list[type] = [nn.LeakyReLU, nn.Dropout, GaussianNoise]
    kinds = [type(module) for module in discriminator.layers]
    assert kinds == [nn.Conv2d, *rest] + [nn.Conv2d, nn.BatchNorm2d, *rest] * 5
    assert {m.negative_slope for m in discriminator.layers if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert {m.p for m in discriminator.layers if isinstance(m, nn.Dropout)} == {0.5}


def test_the_label_matters() -> None:
    generator = make_generator(16, width=8).eval()
    latents, classes = torch.randn(1, 100).expand(10, 100), torch.eye(10)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(
            generator(latents, classes.requires_grad_()).square().sum(), classes
        )
    assert (gradient.diag() != 0).all()
    assert len(generator(latents, classes).flatten(1).unique(dim=0)) == 10


def test_both_heads_see_the_same_features() -> None:
    """The last dense layer, written out: its first row says real, the others the class."""
    discriminator = ACGANDiscriminator(shape=(3, 16, 16), num_classes=4, width=2).eval()
    images = torch.randn(5, 3, 16, 16)
    features = discriminator.layers(images).flatten(1)
    weight, bias = discriminator.heads.weight, nn.init.normal_(discriminator.heads.bias)
    logits, class_logits = discriminator(images)
    torch.testing.assert_close(logits, features @ weight[0] + bias[0])
    torch.testing.assert_close(class_logits, features @ weight[1:].T + bias[1:])


def test_first_weights() -> None:
    networks = (make_generator(32), ACGANDiscriminator(shape=(3, 32, 32), num_classes=10, width=16))
    for network in networks:
        for name, module in network.named_modules():
            if isinstance(module, (*CONVOLUTIONS, nn.Linear)) and module.weight.numel() > 1_000:
                assert float(module.weight.std()) == pytest.approx(0.02, rel=0.06), name
                assert module.bias is None or not module.bias.any(), name
    generated = networks[0](1e4 * torch.randn(4, 100), torch.eye(10)[:4])
    assert float(generated.abs().max()) <= 1


def test_noise_has_its_size_in_training_only() -> None:
    noise, maps = GaussianNoise(0.2), torch.randn(100, 10, 10, 10)
    added = noise.train()(maps) - maps
    assert float(added.std()) == pytest.approx(0.2, rel=5 / math.sqrt(2 * added.numel()))
    assert abs(float(added.mean())) < 5 * 0.2 / math.sqrt(added.numel())
    assert torch.equal(noise.eval()(maps), maps)
    assert torch.equal(GaussianNoise(0.0).train()(maps), maps)


def test_the_discriminator_is_noisy_in_training_only() -> None:
    images = torch.randn(6, 3, 16, 16)
    for fields in ({"dropout": 0.5}, {"dropout": 0.0, "activation_noise": 0.1}):
        network = ACGANDiscriminator(shape=(3, 16, 16), num_classes=4, width=2, **fields)
        assert not torch.equal(network.train()(images)[1], network(images)[1])
        assert torch.equal(network.eval()(images)[1], network(images)[1])
    still = ACGANDiscriminator(shape=(3, 16, 16), num_classes=4, width=2, dropout=0.0)
    assert torch.equal(still.train()(images)[1], still(images)[1])


def test_evaluation_does_not_look_across_the_batch() -> None:
    generator = make_generator(16, width=8)
    discriminator = ACGANDiscriminator(shape=(3, 16, 16), num_classes=10, width=2)
    latents, classes = torch.randn(6, 100), torch.eye(10)[:6]
    generator.train()(latents, classes)
    images = generator.eval()(latents, classes)
    parts = [generator(latents[:2], classes[:2]), generator(latents[2:], classes[2:])]
    torch.testing.assert_close(torch.cat(parts), images)
    discriminator.train()(images)
    logits, class_logits = discriminator.eval()(images)
    halves = [discriminator(images[:2]), discriminator(images[2:])]
    torch.testing.assert_close(torch.cat([left for left, _ in halves]), logits)
    torch.testing.assert_close(torch.cat([right for _, right in halves]), class_logits)
