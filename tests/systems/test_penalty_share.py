"""wgan_gp and r3gan with a penalty of a share of each batch: all of it as before, and unbiased below."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.losses import (
    critic_wasserstein,
    discriminator_relativistic,
    gradient_penalty,
    penalised,
    zero_centred_penalty,
)
from ganforge.runs.device import autocast
from ganforge.system import LatentSystem
from ganforge.systems.r3gan import R3GAN, R3GANConfig
from ganforge.systems.wgan_gp import WGANGP, WGANGPConfig

CPU = torch.device("cpu")
COLOUR = DataSpec(channels=3, height=16, width=16, num_images=500, class_names=("cat", "dog", "owl"))
BATCH = 8
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "wgan_gp": ("wgan_gp", {}),
    "wgan_gp-pack": ("wgan_gp", {"pack": 2}),
    "r3gan": ("r3gan", {}),
    "r3gan-pack": ("r3gan", {"pack": 2}),
    "r3gan-conditional": ("r3gan", {"conditional": True}),
}
each_case = pytest.mark.parametrize("name", CASES)


def build(name: str, **fields: object) -> WGANGP | R3GAN:
    """A small system whose weights are away from zero, and whose penalties outweigh its loss."""
    torch.manual_seed(0)
    kind, options = CASES[name]
    options = {"batch": BATCH, "latent_size": 6} | options | fields
    system: WGANGP | R3GAN
    if kind == "wgan_gp":
        system = WGANGP(WGANGPConfig.model_validate({"width": 8, "critic_steps": 1} | options), COLOUR)
    else:
        system = R3GAN(R3GANConfig.model_validate({"width": 16, "gamma": 10.0} | options), COLOUR)
    for parameter in system.parameters():
        with torch.no_grad():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return system


def batch_for(shift: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = 2 * torch.rand(BATCH, *COLOUR.shape, generator=generator) - 1
    return Batch(images.roll(-shift, 0), (torch.arange(BATCH) % 3).roll(-shift, 0))


def critic_of(system: WGANGP | R3GAN) -> Any:
    return system.critic if isinstance(system, WGANGP) else system.discriminator


def gradients(system: WGANGP | R3GAN, batch: Batch) -> Tensor:
    """Of the critic in one step of a copy of `system`, whose networks stay as they are."""
    system = copy.deepcopy(system)
    found: dict[str, Tensor] = {}

    def update(name: str, loss: Tensor, watch: Tensor | None = None) -> None:
        if name != "generator":
            found[name] = flat_gradient(loss, system)

    torch.manual_seed(5)
    system.train_step(batch, update)
    (gradient,) = found.values()
    return gradient


def flat_gradient(loss: Tensor, system: WGANGP | R3GAN) -> Tensor:
    with torch.autocast("cpu", enabled=False):  # as the engine's update
        gradient = torch.autograd.grad(loss, list(critic_of(system).parameters()))
    return torch.cat([tensor.flatten() for tensor in gradient])


def earlier_gradients(system: WGANGP | R3GAN, batch: Batch) -> Tensor:
    """Those of the step that had no such option."""
    torch.manual_seed(5)
    labels = (batch.labels,) if CASES["r3gan-conditional"][1].items() <= dict(system.config).items() else ()
    with torch.no_grad():
        fakes = system.generator(system.draw_latents(BATCH), *labels)
    if isinstance(system, WGANGP):
        shown = system.augment(torch.cat([batch.images, fakes]))
        loss = critic_wasserstein(*system.critic(shown).chunk(2))
        penalty = gradient_penalty(system.critic.forward, *shown.chunk(2))
        return flat_gradient(system.config.penalty_weight * penalty + loss, system)
    reals = batch.images.detach().requires_grad_()
    fakes.requires_grad_()
    with torch.autocast("cpu", enabled=False):
        real_logits = system.discriminator.forward(system.augment(reals), *labels)
        fake_logits = system.discriminator.forward(system.augment(fakes), *labels)
        r1 = system.config.pack * zero_centred_penalty(real_logits, reals)
        r2 = system.config.pack * zero_centred_penalty(fake_logits, fakes)
        loss = discriminator_relativistic(real_logits, fake_logits)
        return flat_gradient(loss + system.gamma / 2 * (r1 + r2), system)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@each_case
def test_all_of_the_batch_is_the_step_without_the_option(name: str, precision: Any) -> None:
    system = build(name, penalty_share=1.0, augment="color,translation,cutout", instance_noise=0.1)
    with autocast(CPU, precision):
        assert torch.equal(gradients(system, batch_for()), earlier_gradients(system, batch_for()))


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Float64 everywhere, where losses ask for float32 too."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("pairs", [1, 2])
@each_case
def test_shares_that_make_up_the_batch_average_to_all_of_it(
    name: str, pairs: int, in_double: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of loss and penalty; rolled by one pair, a batch has other pairs in its share."""
    system = build(name)
    pack = system.config.pack
    shares = BATCH // pack // pairs
    latents = system.draw_latents(BATCH)
    # Interpolations are halfway, of the same pairs in each share as in all.
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))
    whole = rolled_gradients(system, latents, 0, monkeypatch)
    system.config = system.config.model_copy(update={"penalty_share": 1 / shares})
    parts = [rolled_gradients(system, latents, pack * shift, monkeypatch) for shift in range(shares)]
    assert float((parts[0] - whole).norm() / whole.norm()) > 1e-2, "one share alone is something else"
    torch.testing.assert_close(torch.stack(parts).mean(0), whole, rtol=1e-9, atol=1e-12)


def rolled_gradients(
    system: WGANGP | R3GAN, latents: Tensor, shift: int, monkeypatch: pytest.MonkeyPatch
) -> Tensor:
    with monkeypatch.context() as patched:
        patched.setattr(LatentSystem, "draw_latents", None)  # the class's own is looked up first
        patched.setattr(type(system), "draw_latents", lambda *_: latents.roll(-shift, 0))
        batch = batch_for(shift)
        return gradients(system, Batch(batch.images.double(), batch.labels))


def passes(system: WGANGP | R3GAN) -> list[tuple[int, bool]]:
    """Inputs of each pass of the critic in one step in bf16, and whether it is in bf16."""
    critic, seen = critic_of(system), []
    forward = critic.forward

    def recorded(images: Tensor, *labels: Tensor) -> Tensor:
        seen.append((len(images), torch.is_autocast_enabled("cpu")))
        return forward(images, *labels)

    critic.forward = recorded
    with autocast(CPU, "bf16"):
        system.train_step(batch_for(), lambda name, loss, watch=None: None)
    return seen


@pytest.mark.parametrize(("share", "pairs"), [(1e-6, 1), (0.25, 2), (0.3, 2), (0.99, 8)])
def test_only_the_share_is_in_float32(share: float, pairs: int) -> None:
    found = passes(build("wgan_gp", penalty_share=share))
    assert found == [(2 * BATCH, True), (pairs, False), (BATCH, True)]
    found = passes(build("r3gan", penalty_share=share))
    assert found == [(pairs, False)] * 2 + [(2 * BATCH, True)] + [(BATCH, True)] * 2
    assert passes(build("r3gan")) == [(BATCH, False)] * 2 + [(BATCH, True)] * 2


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("processes", [2, 4])
def test_the_parts_of_a_batch_have_the_share_of_the_whole(share: float, processes: int) -> None:
    rows = torch.arange(16 * 3).view(16, 3)
    parts = [penalised(part, share) for part in rows.chunk(processes)]
    assert torch.equal(torch.cat(parts), penalised(rows, share))
    assert len(penalised(rows, share)) == 16 * share


@pytest.mark.parametrize("kind", [WGANGPConfig, R3GANConfig])
@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan"), "half"])
def test_refuses_what_is_no_share(kind: Any, share: object) -> None:
    with pytest.raises(ValidationError) as refused:
        kind(penalty_share=share)
    (error,) = refused.value.errors()
    assert error["loc"] == ("penalty_share",)
    assert "\n" not in error["msg"]
