"""The MNIST pair of Goodfellow et al. 2014 and the plain networks."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ganforge.nn.networks.mlp import MaxoutDiscriminator, PlainDiscriminator, PlainGenerator, SigmoidGenerator

MNIST = (1, 28, 28)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def dropouts(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.Dropout)]


def record(modules: list[nn.Module]) -> list[tuple[Tensor, Tensor]]:
    """Inputs and outputs of the modules, filled as they are called."""
    seen: list[tuple[Tensor, Tensor]] = []
    for module in modules:
        module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    return seen


@pytest.fixture
def generator() -> SigmoidGenerator:
    return SigmoidGenerator(latent_size=100, hidden=(1200, 1200), shape=MNIST)


@pytest.fixture
def discriminator() -> MaxoutDiscriminator:
    return MaxoutDiscriminator(shape=MNIST, units=(240, 240), pieces=5)


def test_generator_is_that_of_the_paper(generator: SigmoidGenerator) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in generator.named_parameters()}
    assert list(shapes.values()) == [(1200, 100), (1200,), (1200, 1200), (1200,), (784, 1200), (784,)]
    assert count(generator) == 2_503_984
    assert max(float(p.abs().max()) for p in generator.parameters()) == pytest.approx(0.05, rel=1e-3)


def test_discriminator_is_that_of_the_paper(discriminator: MaxoutDiscriminator) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in discriminator.named_parameters()}
    assert list(shapes.values()) == [(1200, 784), (1200,), (1200, 240), (1200,), (1, 240), (1,)]
    assert count(discriminator) == 1_231_441
    assert max(float(p.abs().max()) for p in discriminator.parameters()) == pytest.approx(0.005, rel=1e-3)


def test_generator_gives_images(generator: SigmoidGenerator) -> None:
    images = generator(100 * torch.randn(5, 100))
    assert images.shape == (5, *MNIST)
    assert float(images.abs().max()) <= 1


def test_output_mean(generator: SigmoidGenerator) -> None:
    """With hidden biases at 0 the zero latent decodes to the mean itself."""
    mean = torch.rand(MNIST) * 1.98 - 0.99
    generator.set_output_mean(mean)
    torch.testing.assert_close(generator(torch.zeros(1, 100))[0], mean)


def test_output_mean_of_black_and_white_is_finite(generator: SigmoidGenerator) -> None:
    mean = torch.ones(MNIST)
    mean[:, :14] = -1
    generator.set_output_mean(mean)
    decoded = generator(torch.zeros(1, 100))[0]
    assert float((decoded - mean).abs().max()) == pytest.approx(2e-3, rel=1e-2)


def test_discriminator_sees_pixels_from_0_to_1(discriminator: MaxoutDiscriminator) -> None:
    seen = record(dropouts(discriminator)[:1])
    images = torch.stack([torch.full(MNIST, value) for value in (-1.0, 0.0, 1.0)])
    assert discriminator(images).shape == (3,)
    assert [float(row.unique().item()) for row in seen[0][0]] == [0.0, 0.5, 1.0]


def test_dropout_is_inverted(discriminator: MaxoutDiscriminator) -> None:
    """Inputs are kept with probability 0.8 and scaled by 1.25, hidden ones by 0.5 and 2."""
    seen = record(dropouts(discriminator))
    images = torch.rand(200, *MNIST)
    discriminator.train()(images)
    for (inputs, outputs), keep in zip(seen, (0.8, 0.5, 0.5), strict=True):
        alive = inputs != 0
        kept = outputs != 0
        torch.testing.assert_close(outputs[kept], inputs[kept] / keep)
        trials = int(alive.sum())
        spread = math.sqrt(keep * (1 - keep) / trials)
        assert abs(int(kept.sum()) / trials - keep) < 5 * spread
    seen.clear()
    discriminator.eval()(images)
    assert all(torch.equal(inputs, outputs) for inputs, outputs in seen)


def test_affine_generator() -> None:
    """Without hidden layers: the generator of the d2l.ai toy."""
    generator = PlainGenerator(latent_size=2, hidden=(), shape=(2, 1, 1), init_std=0.02)
    assert count(generator) == 2 * 2 + 2
    left, right = torch.randn(10, 2), torch.randn(10, 2)
    torch.testing.assert_close(
        generator(0.3 * left + 0.7 * right), 0.3 * generator(left) + 0.7 * generator(right)
    )


def test_d2l_discriminator() -> None:
    discriminator = PlainDiscriminator(shape=(2, 1, 1), hidden=(5, 3), activation="tanh", init_std=0.02)
    assert count(discriminator) == (2 * 5 + 5) + (5 * 3 + 3) + (3 + 1)
    assert [type(module) for module in discriminator.layers] == [
        nn.Linear,
        nn.Tanh,
        nn.Linear,
        nn.Tanh,
        nn.Linear,
    ]
    assert discriminator(torch.randn(7, 2, 1, 1)).shape == (7,)


@pytest.mark.parametrize("init_std", [0.02, 0.5])
def test_normal_initialisation_covers_the_biases(init_std: float) -> None:
    generator = PlainGenerator(latent_size=50, hidden=(500, 500), shape=MNIST, init_std=init_std)
    for parameter in generator.parameters():
        assert float(parameter.std()) == pytest.approx(init_std, rel=0.2)


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 28, 28), (3, 5, 7)])
def test_plain_networks_have_the_shape_of_the_data(shape: tuple[int, int, int]) -> None:
    generator = PlainGenerator(latent_size=3, hidden=(16,), shape=shape)
    assert generator(torch.randn(6, 3)).shape == (6, *shape)
    assert PlainDiscriminator(shape=shape, hidden=(16,))(torch.randn(6, *shape)).shape == (6,)


def test_only_pixels_are_bounded() -> None:
    latents = 1e4 * torch.randn(100, 3)
    free = PlainGenerator(latent_size=3, hidden=(16,), shape=(2, 1, 1))
    assert float(free(latents).abs().max()) > 1
    bounded = PlainGenerator(latent_size=3, hidden=(16,), shape=MNIST, bounded=True)
    assert float(bounded(latents).abs().max()) <= 1
