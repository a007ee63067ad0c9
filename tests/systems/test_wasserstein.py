"""wgan, wgan_gp and lsgan: what their critics measure, and who is updated by what and how often."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.runs.device import autocast
from ganforge.system import System
from ganforge.systems.lsgan import LSGAN, LSGANConfig
from ganforge.systems.wgan import WGAN, WGANConfig
from ganforge.systems.wgan_gp import WGANGP, WGANGPConfig
from ganforge.training.update import OptimizerUpdate

CPU = torch.device("cpu")
DIGITS = DataSpec(channels=1, height=28, width=28, num_images=1000)
POINTS = DataSpec(channels=2, height=1, width=1, num_images=1000, values="points")


def wgan(data: DataSpec = DIGITS, **fields: object) -> WGAN:
    torch.manual_seed(0)
    return WGAN(WGANConfig.model_validate({"width": 8, "batch": 4, "latent_size": 6} | fields), data)


def wgan_gp(data: DataSpec = DIGITS, **fields: object) -> WGANGP:
    torch.manual_seed(0)
    return WGANGP(WGANGPConfig.model_validate({"width": 8, "batch": 4, "latent_size": 6} | fields), data)


def random_images(system: System) -> Batch:
    return Batch(2 * torch.rand(system.images_per_step(), *DIGITS.shape) - 1)


class Only:
    """The engine's update, of the critic alone: its game has a known end."""

    def __init__(self, system: System) -> None:
        self.update = OptimizerUpdate(system.build_optimizers(), "cpu")

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        return self.update(name, loss, watch) if name == "critic" else None


def estimate_of(system: System, distance: float, steps: int) -> float:
    """What the critic says of real points that lie `distance` beside those of a generator at rest."""
    update = Only(system)
    estimates = []
    for _ in range(steps):
        with torch.no_grad():
            points = system.sample(system.images_per_step())
        points = points + torch.tensor([distance, 0.0]).view(2, 1, 1)
        estimates.append(system.train_step(Batch(points), update)["wasserstein_estimate"])
    return float(torch.stack(estimates[-20:]).mean())


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_a_penalised_critic_measures_how_far_points_were_moved(distance: float) -> None:
    """The Wasserstein distance between a distribution and itself moved by d is d."""
    system = wgan_gp(POINTS, network="mlp", width=32, batch=128, learning_rate=2e-3)
    assert estimate_of(system, distance, 60) == pytest.approx(distance, rel=0.15)


def test_a_clipped_critic_measures_in_units_of_its_own() -> None:
    """Larger for what is further apart, and no distance: clipping sets the scale."""
    near, far = (
        estimate_of(wgan(POINTS, network="mlp", width=32, batch=128, learning_rate=1e-3), distance, 40)
        for distance in (0.5, 2.0)
    )
    assert 0 < near < far < 0.5


def within(system: WGAN) -> bool:
    clip = system.config.clip * (1 + 1e-6)
    return all(float(p.detach().abs().max()) <= clip for p in system.critic.parameters())


@pytest.mark.parametrize("clip", [0.01, 0.1])
def test_critic_weights_stay_within_the_clip(clip: float) -> None:
    """Batch norm's gains included, before the first step and after each, with optimizers built again."""
    system = wgan(clip=clip, learning_rate=0.05)
    assert within(system)
    generator = [p.detach().clone() for p in system.generator.parameters()]
    for _ in range(2):
        system.train_step(random_images(system), OptimizerUpdate(system.build_optimizers(), "cpu"))
        assert within(system)
    moved = [
        (p.detach() - q).abs().max() for p, q in zip(system.generator.parameters(), generator, strict=True)
    ]
    assert float(torch.stack(moved).max()) > 0.01  # its weights are free


def test_rmsprop_has_no_momentum() -> None:
    for optimizer in wgan().build_optimizers().values():
        assert isinstance(optimizer, torch.optim.RMSprop)
        assert optimizer.param_groups[0]["momentum"] == 0


@pytest.mark.parametrize("build", [wgan, wgan_gp])
def test_each_critic_update_has_fresh_images(build: Callable[..., WGAN | WGANGP]) -> None:
    system = build(critic_steps=3)
    shown: list[Tensor] = []
    system.augment.register_forward_pre_hook(lambda _, args: shown.append(args[0].detach()))
    names: list[str] = []

    def record(name: str, loss: Tensor, watch: Tensor | None = None) -> None:
        names.append(name)

    batch = random_images(system)
    assert len(batch.images) == 12
    system.train_step(batch, record)
    assert names == ["critic"] * 3 + ["generator"]
    seen = torch.cat(shown)
    for image in batch.images:
        assert int((seen == image).flatten(1).all(1).sum()) == 1


@pytest.mark.parametrize("network", ["convolutional", "resnet"])
def test_the_penalty_is_computed_in_float32_and_the_rest_in_bf16(network: str) -> None:
    system = wgan_gp(network=network, critic_steps=2)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    forward = system.critic.forward
    inside: list[bool] = []

    def recorded(images: Tensor) -> Tensor:
        inside.append(torch.is_autocast_enabled("cpu"))
        return forward(images)

    system.critic.forward = recorded  # type: ignore[method-assign]
    with autocast(CPU, "bf16"):
        values = system.train_step(random_images(system), update)
    # For each critic update the loss's pass in bf16, then the penalty's in float32; at last the generator's.
    assert inside == [True, False, True, False, True]
    assert all(value.isfinite() for value in values.values())


def test_least_squares_outputs_become_log_odds() -> None:
    """At the optimum D = a + (b - a) p, so its logit is that of p."""
    torch.manual_seed(0)
    config = LSGANConfig(width=8, batch=4, latent_size=6, fake_target=-1.0, real_target=1.0)
    system = LSGAN(config, DIGITS).eval()
    images = random_images(system).images
    outputs = system.discriminator(images)
    expected = torch.logit(((outputs + 1) / 2).clamp(1e-6, 1 - 1e-6))
    torch.testing.assert_close(system.discriminate(images), expected)
