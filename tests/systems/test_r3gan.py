"""R3GAN's own rules: relativistic pairs, two penalties, schedules, presets."""

import copy
import math

import pytest
import torch
from pydantic import ValidationError

from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.errors import UserError
from ganforge.nn.losses import discriminator_relativistic, generator_relativistic, zero_centred_penalty
from ganforge.systems.r3gan import R3GAN, R3GANConfig
from ganforge.training.update import OptimizerUpdate

COLOUR = DataSpec(channels=3, height=16, width=16, num_images=500, class_names=("cat", "dog", "owl"))


def build(**fields: object) -> R3GAN:
    torch.manual_seed(0)
    return R3GAN(R3GANConfig.model_validate({"width": 16, "latent_size": 6, "batch": 4} | fields), COLOUR)


def moved(system: R3GAN) -> R3GAN:
    """With its zero-initialised layers away from zero."""
    for parameter in system.parameters():
        with torch.no_grad():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return system


def test_relativistic_losses() -> None:
    real, fake = torch.randn(7), torch.randn(7)
    expected = torch.log1p(torch.exp((fake - real).double())).mean()
    assert float(discriminator_relativistic(real, fake)) == pytest.approx(float(expected), rel=1e-6)
    assert torch.equal(generator_relativistic(real, fake), discriminator_relativistic(fake, real))
    assert float(discriminator_relativistic(real, real)) == pytest.approx(math.log(2), rel=1e-6)
    shifted = discriminator_relativistic(real + 3, fake + 3)
    assert float(shifted) == pytest.approx(float(discriminator_relativistic(real, fake)), rel=1e-5)


def test_the_step_is_loss_and_penalties_of_a_twin() -> None:
    system = moved(build(learning_rate=1e-3))
    twin = copy.deepcopy(system)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    torch.manual_seed(5)
    gradients: dict[str, list[torch.Tensor]] = {}

    def update(name: str, loss: torch.Tensor, watch: torch.Tensor | None = None) -> None:
        network = system.get_submodule(name)
        gradients[name] = list(torch.autograd.grad(loss, list(network.parameters())))

    system.train_step(Batch(images), update)

    torch.manual_seed(5)
    leaf = images.clone().requires_grad_()
    fakes = twin.generator(torch.randn(4, 6)).detach().requires_grad_()
    discriminator = twin.discriminator
    penalty = torch.zeros(())
    for random_images in (leaf, fakes):
        for row in range(4):
            logit = discriminator(random_images[row : row + 1]).sum()
            (slope,) = torch.autograd.grad(logit, random_images, create_graph=True)
            penalty = penalty + slope.square().sum() / 4
    loss = torch.nn.functional.softplus(discriminator(fakes) - discriminator(leaf)).mean()
    whole = loss + 0.05 / 2 * penalty
    expected = torch.autograd.grad(whole, list(discriminator.parameters()))
    for got, wanted in zip(gradients["discriminator"], expected, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-6)
    loss = torch.nn.functional.softplus(
        discriminator(images) - discriminator(twin.generator(torch.randn(4, 6)))
    )
    expected = torch.autograd.grad(loss.mean(), list(twin.generator.parameters()))
    for got, wanted in zip(gradients["generator"], expected, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-6)


def test_schedule() -> None:
    system = build(burn_in_images=1000, gamma=2.0, final_gamma=0.2)
    optimizers = system.build_optimizers()
    for images, share in (
        (0, 1.0),
        (250, 0.5 * (1 + math.cos(math.pi / 4))),
        (500, 0.5),
        (1000, 0.0),
        (9999, 0),
    ):
        system.schedule(optimizers, images)
        group = optimizers["generator"].param_groups[0]
        assert group["lr"] == pytest.approx(5e-5 + share * 1.5e-4)
        assert group["betas"] == (0.0, pytest.approx(0.99 - share * 0.09))
        assert float(system.gamma) == pytest.approx(0.2 + share * 1.8)
    assert float(build().gamma) == pytest.approx(0.05)
    assert "gamma" in system.state_dict()
    whole = build(burn_in_images=None, steps=100, batch=10)
    whole.schedule(optimizers := whole.build_optimizers(), 500)
    assert optimizers["generator"].param_groups[0]["lr"] == pytest.approx(1.25e-4)


def test_a_pack_is_penalised_by_the_gradient_of_all_its_images() -> None:
    system, images = build(pack=2), torch.rand(4, 3, 16, 16, requires_grad=True)
    moved(system)
    logits = system.discriminator(system.augment(images))
    (slope,) = torch.autograd.grad(logits.sum(), images)
    by_pack = slope.reshape(2, -1).square().sum(1).mean()
    ours = 2 * zero_centred_penalty(system.discriminator(system.augment(images)), images)
    assert float(ours.detach()) == pytest.approx(float(by_pack), rel=1e-4)
    torch.manual_seed(0)
    step = system.train_step(Batch(images.detach()), OptimizerUpdate(system.build_optimizers(), "cpu"))
    assert float(step["real_penalty"]) == pytest.approx(float(by_pack), rel=1e-3)


def test_decoding_is_clamped_and_training_is_not() -> None:
    system = moved(build())
    latents = 1e3 * torch.randn(8, 6)
    assert float(system.decode(latents).detach().abs().max()) == 1
    assert float(system.generator(latents).detach().abs().max()) > 1


def test_conditional() -> None:
    system = moved(build(conditional=True))
    assert system.conditions == {"labels"}
    latents, labels = torch.randn(3, 6), torch.tensor([0, 1, 2])
    images = system.decode(latents, conditions(labels))
    assert not torch.allclose(images, system.decode(latents, conditions(labels.roll(1))))
    assert system.discriminate(images) is None
    logits = system.discriminate(images, conditions(labels))
    features = torch.nn.Module.__call__(system.discriminator.layers, system.discriminator.input(images))
    features = system.discriminator.head(system.discriminator.basis(features).flatten(1))
    by_hand = (features * system.discriminator.embedding.weight[labels]).sum(1)
    assert torch.allclose(logits, by_hand, atol=1e-5)
    step = system.train_step(
        Batch(torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])),
        OptimizerUpdate(system.build_optimizers(), "cpu"),
    )
    assert all(value.isfinite() for value in step.values())


def test_refusals() -> None:
    with pytest.raises(ValidationError, match="pack joins images of different labels"):
        R3GANConfig(conditional=True, pack=2)
    with pytest.raises(ValidationError, match="leave out --conditional or --network mlp"):
        R3GANConfig(conditional=True, network="mlp")
    with pytest.raises(ValidationError, match="group_size 5 does not divide 32"):
        R3GANConfig(width=16, group_size=5)
    plain = COLOUR.model_copy(update={"class_names": ()})
    with pytest.raises(UserError, match="needs labels"):
        R3GAN(R3GANConfig(width=16, conditional=True), plain)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_presets(size: int) -> None:
    """What is suggested follows the resolution, the number of images and the device."""
    data = DataSpec(channels=3, height=size, width=size, num_images=500)
    few, many = (R3GAN.suggest(data.model_copy(update={"num_images": n})) for n in (500, 50_000))
    assert few["gamma"][0] == pytest.approx(4 * (size / 32) ** 2)
    assert "augment" in few
    assert "augment" not in many
    gpu = R3GAN.suggest(data, "cuda")
    assert gpu["gamma"][0] == pytest.approx(0.5 * (size / 32) ** 2)
    assert gpu["width"][0] > few["width"][0]
    assert gpu["batch"][0] > few["batch"][0]
    assert few["burn_in_images"][0] is None
    R3GAN(R3GANConfig.model_validate({name: value for name, (value, _) in few.items()}), data)
    R3GANConfig.model_validate({name: value for name, (value, _) in gpu.items()})
