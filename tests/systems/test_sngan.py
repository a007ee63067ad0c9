"""SN-GAN: the order of its updates, its rates, its labels, and the law that its weights keep a norm of 1."""

import copy
from typing import Any

import pytest
import test_system_contract as contract
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.errors import UserError
from ganforge.nn.layers import ConditionalBatchNorm2d, spectral_norms
from ganforge.nn.networks.resnet import UpBlock
from ganforge.system import frozen
from ganforge.systems.sngan import SNGAN
from ganforge.training.update import OptimizerUpdate

SPEC = DataSpec(channels=3, height=16, width=16, num_images=100, class_names=("a", "b", "c"))
SMALL: dict[str, Any] = {"batch": 4, "width": 4, "discriminator_width": 4, "latent_size": 6}
CONDITIONAL = SMALL | {"conditional": True}
CONVOLUTIONAL = SMALL | {"network": "convolutional"}
VARIANTS = {
    "conditional": CONDITIONAL,
    "conditional-convolutional": CONDITIONAL | CONVOLUTIONAL,
    "convolutional": CONVOLUTIONAL,
    "non-saturating": SMALL | {"loss": "non_saturating"},
    "ablation": SMALL | {"spectral": False},
    "packed": SMALL | {"pack": 2},
}
LAWS = [
    contract.test_every_parameter_has_one_optimizer,
    contract.test_a_step_changes_each_optimizers_parameters_and_nothing_else,
    contract.test_metrics,
    contract.test_bf16_autocast,
    contract.test_a_step_reads_nothing_back,
    contract.test_samples,
    contract.test_extreme_latents_stay_in_range,
    contract.test_discriminator_gives_one_logit_for_each_image,
]


@pytest.fixture(params=VARIANTS)
def case(request: pytest.FixtureRequest) -> contract.Case:
    """The contract's case of a variant, with two updates of the discriminator in a step."""
    return contract.Case(SNGAN, SPEC, VARIANTS[request.param] | {"discriminator_steps": 2})


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("test_"))
def test_contract(case: contract.Case, law: Any) -> None:
    law(case)


test_resumes_bit_equal = contract.test_save_load_step_is_bit_equal


def build(spec: DataSpec = SPEC, **fields: Any) -> SNGAN:
    torch.manual_seed(3)
    return SNGAN(SNGAN.Config(**(SMALL | fields)), spec).train()


# What it refuses


def test_refuses_packs_of_labelled_images() -> None:
    with pytest.raises(ValidationError, match="leave out --pack or --conditional"):
        SNGAN.Config(conditional=True, pack=2)


def test_refuses_to_be_conditional_without_labels() -> None:
    with pytest.raises(UserError, match="--data FOLDER") as refused:
        build(SPEC.model_copy(update={"class_names": ()}), conditional=True)
    assert "\n" not in str(refused.value)


# The step


def test_the_generator_first_then_the_discriminator_on_fresh_images() -> None:
    system = build(conditional=True, discriminator_steps=3)
    assert system.images_per_step() == 12
    judged: list[tuple[Tensor, Tensor]] = []
    made: list[tuple[Tensor, Tensor]] = []
    system.generator.register_forward_pre_hook(lambda _, given: made.append(given))
    system.discriminator.register_forward_pre_hook(lambda _, given: judged.append(given))
    recorder = contract.Recorder(system)
    batch = contract.make_batch(SPEC, 12)
    system.train_step(batch, recorder)

    assert [name for name, _ in recorder.calls] == ["generator"] + ["discriminator"] * 3
    assert [len(latents) for latents, _ in made] == [2 * 4, 4, 4, 4]
    assert len(torch.cat([latents for latents, _ in made]).unique(dim=0)) == 20, "fresh latents each time"
    assert [len(images) for images, _ in judged] == [2 * 4] + [4, 4] * 3
    assert batch.labels is not None
    assert torch.equal(torch.cat([images for images, _ in judged[1::2]]), batch.images)
    # Generated images have the labels of the real ones beside them.
    for labels in (judged[1::2], judged[2::2], made[1:]):
        assert torch.equal(torch.cat([given for _, given in labels]), batch.labels)
    assert torch.equal(made[0][1], judged[0][1]), "made and judged with the same labels"


def test_the_generators_labels_are_those_of_the_data() -> None:
    """Each about as often as in the batch, never one that is not in it."""
    system = build(conditional=True, discriminator_steps=1, batch=80, generator_batch_factor=5)
    seen: list[Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    labels = torch.tensor([2] * 60 + [0] * 20)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    system.train_step(Batch(torch.randn(80, *SPEC.shape), labels), update)
    counts = seen[0].bincount(minlength=3)
    assert int(counts[1]) == 0
    # 300 of 400 expected, with a standard deviation of sqrt(400 3/4 1/4) = 8.7.
    assert abs(int(counts[2]) - 300) < 5 * 8.7


@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
def test_losses_of_the_logits(loss: str) -> None:
    """The generator's of the first pass, the discriminator's of each pair of passes, real images first."""
    system = build(loss=loss, discriminator_steps=2)
    logits: list[Tensor] = []
    losses: list[tuple[str, float]] = []
    system.discriminator.register_forward_hook(
        lambda _, given, output: logits.append(output.detach().double())
    )
    system.train_step(
        contract.make_batch(SPEC, 8),
        lambda name, value, watch=None: losses.append((name, float(value.detach()))),
    )

    def discriminator_loss(real: Tensor, fake: Tensor) -> float:
        if loss == "hinge":
            return float((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean())
        return float(-real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean())

    generator_loss = -logits[0].mean() if loss == "hinge" else -logits[0].sigmoid().log().mean()
    assert (
        losses
        == [  # type: ignore[comparison-overlap]  # approx compares with anything
            ("generator", pytest.approx(float(generator_loss), rel=1e-5)),
            ("discriminator", pytest.approx(discriminator_loss(*logits[1:3]), rel=1e-5)),
            ("discriminator", pytest.approx(discriminator_loss(*logits[3:5]), rel=1e-5)),
        ]
    )


def test_rates_decay_linearly_from_the_first_step() -> None:
    system = build(steps=100)
    optimizers = system.build_optimizers()
    for step, left in ((0, 1.0), (25, 0.75), (99, 0.01), (100, 0.0), (150, 0.0), (25, 0.75)):
        system.schedule(optimizers, step * system.images_per_step())
        rates = [group["lr"] for o in optimizers.values() for group in o.param_groups]
        assert rates == [pytest.approx(2e-4 * left, rel=1e-9)] * 2


def test_rates_stay_without_decay() -> None:
    system = build(steps=100, learning_rate_decay="none", learning_rate=0.5)
    optimizers = system.build_optimizers()
    system.schedule(optimizers, 99 * system.images_per_step())
    assert {group["lr"] for o in optimizers.values() for group in o.param_groups} == {0.5}
    assert {group["betas"] for o in optimizers.values() for group in o.param_groups} == {(0.0, 0.9)}


# Spectral normalisation


def norms_after(system: SNGAN, steps: int, frozen_vectors: bool = False) -> dict[str, float]:
    """True norms of the discriminator's weights after as many steps on blots whose place is their class.

    The singular vectors begin at random, as in algorithm 1, not near the true ones as torch has them.
    """
    for module in system.discriminator.modules():
        if hasattr(module, "parametrizations"):
            for vector in module.parametrizations.buffers():
                vector.copy_(nn.functional.normalize(torch.randn_like(vector), dim=0))
            module.parametrizations["weight"].train(not frozen_vectors)
    optimizers = system.build_optimizers()
    update, size = OptimizerUpdate(optimizers, "cpu"), system.images_per_step()
    for _ in range(steps):
        labels = torch.randint(3, (size,))
        images = torch.full((size, *SPEC.shape), -1.0)
        for label in range(3):
            images[labels == label, :, :, 5 * label : 5 * label + 5] = torch.rand(3, 1, 1)
        system.train_step(Batch(images, labels), update)
    return spectral_norms(system.discriminator)


@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
@pytest.mark.parametrize(("network", "num_weights"), [("resnet", 9), ("convolutional", 7)])
def test_true_norms_stay_near_1(network: str, num_weights: int, loss: str) -> None:
    """After 125 updates of every weight at five times the paper's rate, embedding included."""
    fields = {"width": 8, "discriminator_width": 8, "learning_rate": 1e-3, "loss": loss}
    norms = norms_after(build(network=network, conditional=True, **fields), 25)
    assert "head.embedding" in norms
    assert len(norms) == num_weights
    assert min(norms.values()) >= 0.95
    assert max(norms.values()) <= 1.2


@pytest.mark.parametrize("network", ["resnet", "convolutional"])
def test_true_norms_are_far_from_1_without_power_iteration(network: str) -> None:
    """So that the test above can fail."""
    system = build(network=network, conditional=True, width=8, discriminator_width=8)
    assert max(norms_after(system, 1, frozen_vectors=True).values()) > 2


def test_frozen_networks_with_normalised_weights() -> None:
    """No gradient of the weights, the same gradient of the images, and afterwards all as before."""
    discriminator = build(conditional=True).discriminator.eval()
    images, labels = torch.randn(4, *SPEC.shape, requires_grad=True), torch.tensor([0, 1, 2, 0])
    (free,) = torch.autograd.grad(discriminator(images, labels).sum(), images)
    with frozen(discriminator):
        assert not any(p.requires_grad for p in discriminator.parameters())
        logits = discriminator(images, labels)
        assert not discriminator.head.dense.weight.requires_grad
        (found,) = torch.autograd.grad(logits.sum(), images)
    assert torch.equal(found, free)
    assert all(p.requires_grad for p in discriminator.parameters())
    assert discriminator.head.dense.weight.requires_grad


def test_evaluation_changes_no_buffer() -> None:
    system = build(conditional=True).eval()
    before = copy.deepcopy(system.state_dict())
    batch = contract.make_batch(SPEC, 6)
    system.discriminate(batch.images, batch)
    system.sample(6, batch)
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())
    system.train().discriminate(batch.images, batch)
    changed = {name for name, tensor in system.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"_u", "_v"}


# Labels


@pytest.mark.parametrize("network", ["resnet", "convolutional"])
def test_the_label_changes_the_image_once_its_row_differs(network: str) -> None:
    system = build(network=network, conditional=True).eval()
    assert system.conditions == {"labels"}
    latents = system.draw_latents(3)

    def decoded(*labels: int) -> Tensor:
        return system.decode(latents, conditions(torch.tensor(labels))).detach()

    assert torch.equal(decoded(0, 0, 0), decoded(0, 1, 2))
    for norm in system.generator.modules():
        if isinstance(norm, ConditionalBatchNorm2d):
            nn.init.normal_(norm.gain.weight[1].detach())
    differ = (decoded(0, 0, 0) != decoded(0, 1, 2)).flatten(1).any(1)
    assert differ.tolist() == [False, True, False]


def test_labels_that_are_not_given_are_drawn() -> None:
    system, seen = build(conditional=True).eval(), []
    system.generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    system.sample(300)
    assert seen[0].bincount(minlength=3).min() > 60
    with pytest.raises(UserError, match="2 labels for 3 samples"):
        system.sample(3, conditions(torch.tensor([0, 1])))


def test_labels_are_ignored_without_conditional() -> None:
    system = build().eval()
    assert system.conditions == frozenset()
    batch, latents = contract.make_batch(SPEC, 4), system.draw_latents(4)
    assert torch.equal(system.decode(latents, batch), system.decode(latents))
    logits = system.discriminate(batch.images, batch)
    assert logits is not None
    assert torch.equal(logits, system.discriminate(batch.images))


def test_discriminate_by_label() -> None:
    system = build(conditional=True).eval()
    batch = contract.make_batch(SPEC, 5)
    assert batch.labels is not None
    assert system.discriminate(batch.images) is None
    assert system.discriminate(batch.images, Batch(batch.images)) is None
    logits = system.discriminate(batch.images, batch)
    assert logits is not None
    assert torch.equal(logits, system.discriminator(batch.images, batch.labels))
    assert not torch.allclose(logits, system.discriminator(batch.images, (batch.labels + 1) % 3))


# Defaults


@pytest.mark.parametrize(
    ("network", "dense", "first"), [("resnet", 256 * 16, 128), ("convolutional", 512 * 16, 64)]
)
def test_widths_of_the_paper(network: str, dense: int, first: int) -> None:
    """The tables' own where none are asked for."""
    spec = DataSpec(channels=3, height=32, width=32, num_images=50_000)
    system = SNGAN(SNGAN.Config(network=network), spec)
    assert system.generator.dense.weight.shape == (dense, 128)
    layers = [m for m in system.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert layers[0].out_channels == first
    assert system.images_per_step() == 5 * 64


def test_widths_of_larger_images() -> None:
    """1024 channels down to 64 for 128x128, as the paper's; the widest are never wider than that."""
    spec = DataSpec(channels=3, height=128, width=128, num_images=50_000)
    with torch.device("meta"):
        generator = SNGAN(SNGAN.Config(widening=True), spec).generator
    widths = [(b.convolution1.in_channels, b.convolution2.out_channels) for b in generator.blocks]
    assert widths == [(1024, 1024), (1024, 512), (512, 256), (256, 128), (128, 64)]


@pytest.mark.parametrize("network", ["resnet", "convolutional"])
def test_smallest_maps(network: str) -> None:
    spec = DataSpec(channels=3, height=48, width=48, num_images=50_000)
    small: dict[str, Any] = {"network": network, "width": 4, "discriminator_width": 4}
    assert SNGAN(SNGAN.Config(**small), spec).generator.start == (3, 3)
    system = SNGAN(SNGAN.Config(**small, smallest_maps=6), spec)
    assert system.generator.start == (6, 6)
    assert system.sample(2).shape == (2, 3, 48, 48)
    for side in (5, 48, 96):
        with pytest.raises(UserError, match=f"--smallest-maps {side} needs square images"):
            SNGAN(SNGAN.Config(**small, smallest_maps=side), spec)


def test_bilinear_upsampling_is_smooth() -> None:
    """Of maps that rise evenly it makes maps that rise evenly; repeated pixels make steps."""
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    steps = {}
    for upsampling in ("nearest", "bilinear"):
        doubled = UpBlock(1, 1, upsampling=upsampling)._double(ramp)[0, 0, 0, 1:-1]
        steps[upsampling] = doubled.diff()
    assert torch.allclose(steps["bilinear"], torch.full((9,), 0.5))
    assert steps["nearest"].unique().tolist() == [0, 1]
