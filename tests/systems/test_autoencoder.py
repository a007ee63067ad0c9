"""Autoencoder: its errors, its fitted Gaussian, what it refuses, that it reconstructs."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.systems.autoencoder import Autoencoder
from ganforge.training.update import OptimizerUpdate

DIGITS = DataSpec(channels=1, height=28, width=28, num_images=50_000)
SMALL = DataSpec(channels=1, height=4, width=4, num_images=1_000)


def build(spec: DataSpec = SMALL, **fields: Any) -> Autoencoder:
    torch.manual_seed(3)
    return Autoencoder(Autoencoder.Config(**({"hidden": (16,), "latent_size": 3} | fields)), spec).train()


def test_defaults_are_the_baseline() -> None:
    system = Autoencoder(Autoencoder.Config(), DIGITS)
    sizes = [784, 512, 256, 32, 256, 512, 784]
    expected = sum(before * after + after for before, after in itertools.pairwise(sizes))
    assert sum(p.numel() for p in system.parameters()) == expected


@pytest.mark.parametrize("loss", ["bce", "squared"])
def test_losses_sum_over_pixels(loss: str) -> None:
    system, images = build(loss=loss), 2 * torch.rand(5, 1, 4, 4) - 1
    targets = (images + 1) / 2
    with torch.no_grad():
        guesses = (system.decode(system.encode(images)) + 1) / 2
        measured = system.measure(Batch(images))
    cross_entropy = binary_cross_entropy(guesses, targets, reduction="sum") / 5
    squared_error = (guesses - targets).square().sum() / 5
    torch.testing.assert_close(measured["reconstruction_cross_entropy_nats"], cross_entropy)
    torch.testing.assert_close(measured["reconstruction_squared_error"], squared_error)
    metrics = system.train_step(Batch(images), OptimizerUpdate(system.build_optimizers(), "cpu"))
    torch.testing.assert_close(metrics["autoencoder_loss"], cross_entropy if loss == "bce" else squared_error)


def test_latents_have_mean_and_covariance_of_the_codes() -> None:
    system = build()
    codes = torch.randn(400, 3) @ torch.tensor([[2.0, 0, 0], [1, 0.5, 0], [0, 0, 1]]) + torch.tensor(
        [3.0, -1, 0]
    )
    for part in codes.split(100):
        system._remember(part)
    drawn = system.draw_latents(40_000)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(correction=0), atol=0.15, rtol=0)


def test_old_codes_are_forgotten() -> None:
    system = build()
    system._remember(torch.full((10, 3), 50.0))
    for _ in range(1_500):
        system._remember(torch.ones(10, 3))
    torch.testing.assert_close(system.latent_mean, torch.ones(3), atol=1e-3, rtol=0)
    assert float((system.draw_latents(100) - 1).abs().max()) < 0.5, "no variance, and no NaN"


def test_the_mean_image_is_the_first_guess() -> None:
    system, images = build(), 2 * torch.rand(100, 1, 4, 4) - 1
    system.prepare(images)
    torch.nn.init.zeros_(system.get_parameter("decoder.layers.2.weight"))
    decoded = system.decode(torch.randn(2, 3)).detach()
    torch.testing.assert_close(decoded, images.mean(0).expand(2, -1, -1, -1))


def stripes(count: int) -> Tensor:
    """White rows and columns of a 4x4 image: two codes suffice."""
    images = -torch.ones(count, 1, 4, 4)
    rows, columns = torch.randint(4, (2, count))
    images[torch.arange(count), 0, rows] = 1
    images[torch.arange(count), 0, :, columns] = 1
    return images


def test_it_reconstructs_what_it_has_not_seen() -> None:
    system = build(hidden=(32,), latent_size=4, learning_rate=1e-2)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    for _ in range(300):
        system.train_step(Batch(stripes(64)), update)
    images = stripes(500)
    with torch.no_grad():
        error = float(system.measure(Batch(images))["reconstruction_squared_error"])
    variance = float(((images - images.mean(0)) / 2).square().sum() / 500)
    assert error < 0.1 * variance


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_codes(network: str) -> None:
    spec = DataSpec(channels=3, height=8, width=8, num_images=100)
    system = build(spec, network=network, width=4)
    codes = system.encode(2 * torch.rand(5, 3, 8, 8) - 1)
    assert codes.shape == (5, 3)
    assert system.decode(codes).shape == (5, 3, 8, 8)


@pytest.mark.parametrize(
    ("spec", "fields", "said"),
    [
        (
            DataSpec(channels=1, height=5, width=7, num_images=9),
            {"network": "convolutional"},
            "--network mlp",
        ),
    ],
)
def test_refusals(spec: DataSpec, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        build(spec, **fields)
    assert "\n" not in str(refused.value)
