"""dcgan's updates at the same weights of both networks: their gradients against two explicit passes."""

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils._python_dispatch import TorchDispatchMode

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.losses import discriminator_logistic, generator_loss
from ganforge.systems.dcgan import DCGAN, DCGANConfig
from ganforge.training.update import OptimizerUpdate

SHAPES = [(1, 16, 16), (3, 32, 32), (1, 28, 28), (3, 64, 64)]
NAMES = ("discriminator", "generator")
ONE_STAGE = {"update": "one_stage", "discriminator_norm": "group"}


def build(shape: tuple[int, int, int] = (1, 16, 16), **fields: object) -> DCGAN:
    """A small system whose logits differ from image to image, as after some training."""
    torch.manual_seed(0)
    channels, height, width = shape
    data = DataSpec(channels=channels, height=height, width=width, num_images=1000)
    small: dict[str, object] = {"width": 8, "batch": 8, "latent_size": 6}
    if height == 28:
        small["odd_maps"] = "halve"
    system = DCGAN(DCGANConfig.model_validate(small | fields), data)
    for module in system.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return system


def images_for(system: DCGAN) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(8, *system.data.shape, generator=generator) - 1


def step_gradients(system: DCGAN) -> dict[str, Tensor]:
    """The gradients that one step of a copy of `system` has used."""
    system = copy.deepcopy(system)
    torch.manual_seed(5)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    system.train_step(Batch(images_for(system)), update)
    return {name: flat([p.grad for p in system.get_submodule(name).parameters()]) for name in NAMES}


def two_pass_gradients(system: DCGAN, pair: Any = None) -> dict[str, Tensor]:
    """Those of each network's own loss, each with a pass of its own, at the same weights."""
    torch.manual_seed(5)
    images, latents = images_for(system), system.draw_latents(8)
    generator, discriminator = system.generator, system.discriminator
    if pair is None:

        def pair(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
            return discriminator_logistic(real, fake), generator_loss("non_saturating", fake)

    with torch.no_grad():
        fakes = generator(latents)
    logits = discriminator(fakes)
    assert float(logits.detach().std()) > 0.1, "logits that are all alike would have one scale for all images"
    loss, _ = pair(discriminator(images), logits)
    found = {"discriminator": torch.autograd.grad(loss, list(discriminator.parameters()))}
    _, loss = pair(discriminator(images), discriminator(generator(latents)))
    found["generator"] = torch.autograd.grad(loss, list(generator.parameters()))
    return {name: flat(gradients) for name, gradients in found.items()}


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def errors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    return {name: float((found[name] - expected[name]).norm() / expected[name].norm()) for name in NAMES}


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Float64 everywhere, where losses ask for float32 too."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("fields", [{"update": "simultaneous"}, ONE_STAGE], ids=["simultaneous", "one_stage"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_those_of_two_passes(shape: tuple[int, int, int], fields: dict[str, str]) -> None:
    """Of simultaneous with batch norm too."""
    system = build(shape, **fields)
    found = errors(step_gradients(system), two_pass_gradients(system))
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize("fields", [{"update": "simultaneous"}, ONE_STAGE], ids=["simultaneous", "one_stage"])
def test_gradients_are_those_of_two_passes_in_float64(fields: dict[str, str], in_double: None) -> None:
    system = build((3, 32, 32), **fields)
    found = errors(step_gradients(system), two_pass_gradients(system))
    assert max(found.values()) < 1e-12, found


@pytest.mark.parametrize(
    "options",
    [
        {"pack": 2},
        {"label_smoothing": 0.1},
        {"augment": "color,translation,cutout", "instance_noise": 0.1},
        {"augment": "ada"},
        {"dense_units": 16},
        {"network": "mlp", "discriminator_norm": "batch"},
    ],
    ids=str,
)
def test_one_backward_is_exact_with_options(options: dict[str, object], in_double: None) -> None:
    """Both draw the same random numbers."""
    one, two = (build(**(ONE_STAGE | options | {"update": kind})) for kind in ("one_stage", "simultaneous"))
    found = errors(step_gradients(one), step_gradients(two))
    assert max(found.values()) < 1e-12, found


def test_batch_norm_makes_one_backward_inexact(in_double: None) -> None:
    """Why it is rejected: each logit depends on all fakes, so no scale per image is right."""
    system = build(update="simultaneous")
    expected = two_pass_gradients(system)
    system.config = system.config.model_copy(update={"update": "one_stage"})
    found = errors(step_gradients(system), expected)
    assert found["discriminator"] < 1e-12
    assert found["generator"] > 1e-2


def test_alternating_has_another_gradient_of_the_generator(in_double: None) -> None:
    """It is that of the updated discriminator, so the tests above do compare two things."""
    system = build(learning_rate=1e-2)
    found = errors(step_gradients(system), two_pass_gradients(system))
    assert found["discriminator"] < 1e-12
    assert found["generator"] > 1e-2


def test_simultaneous_with_an_own_loss(in_double: None) -> None:
    """One whose generator's part looks at the real images too."""

    def relativistic(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return softplus(fake - real).mean(), softplus(real - fake).mean()

    system = build(update="simultaneous")
    expected = two_pass_gradients(system, relativistic)
    system.own_loss = SimpleNamespace(pair=relativistic)  # type: ignore[assignment]
    found = errors(step_gradients(system), expected)
    assert max(found.values()) < 1e-12, found


class Passes(TorchDispatchMode):
    """Counts passes through the convolution of `weight`: forward, to inputs, to weights."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight, self.counts = weight.data_ptr(), [0, 0, 0]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default and args[1].data_ptr() == self.weight:
            self.counts[0] += 1
        if func is torch.ops.aten.convolution_backward.default and args[2].data_ptr() == self.weight:
            self.counts[1] += args[10][0]
            self.counts[2] += args[10][1]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, [3, 3, 2]), ({"update": "simultaneous"}, [2, 3, 2]), (ONE_STAGE, [2, 2, 2])],
    ids=["alternating", "simultaneous", "one_stage"],
)
def test_passes_of_the_discriminator(fields: dict[str, str], expected: list[int]) -> None:
    """With the generator's one of each these are 11, 10 and 9 passes."""
    for name in NAMES:
        system = build(**fields)
        layers = [
            m for m in system.get_submodule(name).modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
        ]
        update = OptimizerUpdate(system.build_optimizers(), "cpu")
        with Passes(layers[1].weight) as passes:
            system.train_step(Batch(images_for(system)), update)
        assert passes.counts == (expected if name == "discriminator" else [1, 1, 1])


@pytest.mark.parametrize("fields", [{"update": "simultaneous"}, ONE_STAGE], ids=["simultaneous", "one_stage"])
def test_gradients_that_are_not_finite_are_skipped(fields: dict[str, str]) -> None:
    system = build(**fields)
    update = OptimizerUpdate(system.build_optimizers(), "cpu", skip=True)
    update.measuring = True
    before = [p.detach().clone() for p in system.parameters()]
    images = images_for(system)
    system.train_step(Batch(images), update)
    assert {name for name, norm in update.gradient_norms.items() if float(norm) > 0} == set(NAMES)
    assert not any(torch.equal(p, q) for p, q in zip(system.parameters(), before, strict=True))
    before = [p.detach().clone() for p in system.discriminator.parameters()]
    images[0] = torch.nan
    system.train_step(Batch(images), update)
    assert update.skipped["discriminator"] == 1
    assert all(torch.equal(p, q) for p, q in zip(system.discriminator.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"update": "simultaneous", "generator_steps": 2}, "needs --update alternating"),
        (ONE_STAGE | {"generator_steps": 2}, "needs --update alternating"),
        (ONE_STAGE | {"label_flips": 0.1}, "leave out --label-flips, or use --update simultaneous"),
        (ONE_STAGE | {"loss": "mine:loss"}, "leave out --loss, or use --update simultaneous"),
        ({"discriminator_norm": "group", "network": "mlp"}, "leave it out, or --network mlp"),
        ({"discriminator_norm": "group", "discriminator": "mine:D"}, "leave it out, or --discriminator"),
    ],
)
def test_refuses_what_has_no_meaning(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DCGANConfig.model_validate(fields)
    (error,) = refused.value.errors()
    assert message in error["msg"]
    assert "\n" not in error["msg"]


def test_one_stage_refuses_batch_norm() -> None:
    with pytest.raises(UserError, match="--discriminator-norm group, or --update simultaneous") as refused:
        build(update="one_stage")
    assert "\n" not in str(refused.value)
