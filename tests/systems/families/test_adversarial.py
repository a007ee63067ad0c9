"""What every adversarial system shares: the view of its discriminator, its targets, optimizers and labels."""

import math
from pathlib import Path
from typing import Any

import pytest
import test_system_contract as contract
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.nn.augment import diff_augment
from ganforge.nn.losses import discriminator_logistic
from ganforge.nn.optimizers import adams, schedule_sgd
from ganforge.runs.folder import RunConfig
from ganforge.runs.options import TrainOptions
from ganforge.system import System
from ganforge.systems.dcgan import DCGAN, DCGANConfig
from ganforge.systems.discovery import available, find
from ganforge.systems.families.adversarial import (
    AdversarialConfig,
    DiscriminatorInput,
    LogisticConfig,
    labels_of,
    num_classes_of,
)
from ganforge.systems.families.resolutions import stages_for
from ganforge.training.plan import validated
from ganforge.training.update import OptimizerUpdate
from ganforge.training.warm_start import Start, start_weights

COLOUR = DataSpec(channels=3, height=8, width=6, num_images=100, class_names=("cat", "dog", "emu"))
POINTS = DataSpec(channels=2, height=1, width=1, num_images=100, values="points")
CPU = torch.device("cpu")


def view_of(data: DataSpec = COLOUR, **fields: Any) -> DiscriminatorInput:
    return DiscriminatorInput(AdversarialConfig(**({"batch": 12} | fields)), data)


def random_images(count: int, data: DataSpec = COLOUR) -> Tensor:
    return 2 * torch.rand(count, *data.shape) - 1


def error_of(**fields: Any) -> str:
    """The one line that a user is told of these options."""
    with pytest.raises(UserError) as refused:
        validated(LogisticConfig, {"batch": 12} | fields)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# The view: nothing, packs, noise


def test_by_default_the_view_shows_what_is_there() -> None:
    view, images = view_of(), random_images(5)
    state = torch.get_rng_state()
    assert view(images) is images
    assert torch.equal(torch.get_rng_state(), state), "and draws nothing"
    assert view.shape == COLOUR.shape
    assert view.metrics() == {}
    view.adapt(torch.ones(5))
    assert set(view.state_dict()) == {"noise"}


@pytest.mark.parametrize("pack", [1, 2, 3, 4])
def test_a_pack_is_its_images_channel_after_channel(pack: int) -> None:
    view, images = view_of(pack=pack), random_images(12)
    packs = view(images)
    assert packs.shape == (12 // pack, *view.shape)
    for k in range(12 // pack):
        assert torch.equal(packs[k], torch.cat([images[k * pack + m] for m in range(pack)]))


def test_a_pack_of_points() -> None:
    view = view_of(POINTS, pack=2)
    points = torch.randn(4, 2, 1, 1)
    assert torch.equal(view(points).flatten(1), points.view(2, 4))


def test_packs_divide_the_batch() -> None:
    assert "use --batch 10 or another --pack" in error_of(pack=5)
    assert "use --batch 24 or another --pack" in error_of(pack=24)
    with pytest.raises(ValidationError):
        AdversarialConfig(pack=0)


def test_noise_has_its_standard_deviation_in_both_steps() -> None:
    view, images = view_of(instance_noise=0.3), random_images(2000)
    noise = view(images) - images
    assert float(noise.std()) == pytest.approx(0.3, rel=0.01)
    assert abs(float(noise.mean())) < 4 * 0.3 / math.sqrt(noise.numel())
    assert not torch.equal(view(images), view(images)), "fresh at every look"
    leaf = images[:3].requires_grad_()
    assert torch.equal(torch.autograd.grad(view(leaf).sum(), leaf)[0], torch.ones_like(leaf))


def test_noise_falls_linearly_to_nothing() -> None:
    view, images = view_of(instance_noise=0.4, instance_noise_images=1_000), random_images(3)
    for seen in (0, 1, 250, 999, 1_000, 5_000):
        view.schedule(seen)
        assert float(view.noise) == pytest.approx(0.4 * max(0, 1 - seen / 1_000), rel=1e-6)
    assert torch.equal(view(images), images)
    view.schedule(500)
    other = view_of(instance_noise=0.4)
    other.load_state_dict(view.state_dict())
    assert float(other.noise) == pytest.approx(0.2)


@pytest.mark.parametrize("pack", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_judging_gives_each_image_the_logit_of_its_pack(pack: int, count: int) -> None:
    view, images = view_of(batch=30, pack=pack, instance_noise=0.5, augment="color"), random_images(count)
    shown: list[Tensor] = []

    def discriminator(packs: Tensor) -> Tensor:
        shown.append(packs)
        return packs.flatten(1).sum(1)

    logits = view.logits(discriminator, images)
    assert logits.shape == (count,)
    filled = [images[(i // pack * pack + m) % count] for i in range(count) for m in range(pack)]
    expected = torch.stack(filled).view(count, pack, -1).sum((1, 2))
    assert torch.allclose(logits, expected, atol=1e-4), "plain images; the first ones fill the last pack"
    assert len(shown) == 1
    assert len(shown[0]) == math.ceil(count / pack)


# The view: augmentation

WORDS = ["none", "ada", "color", "translation", "cutout", "color,cutout", "color,translation,cutout"]


@pytest.mark.parametrize("augment", WORDS)
def test_words_of_augment(augment: str) -> None:
    config = AdversarialConfig(augment=augment)
    assert config.augment == augment
    assert AdversarialConfig.model_validate_json(config.model_dump_json()) == config


def test_one_policy_has_one_name() -> None:
    for augment in ("cutout,color", "color, cutout", "cutout,color,cutout"):
        assert AdversarialConfig(augment=augment).augment == "color,cutout"


@pytest.mark.parametrize(
    "augment", ["colour", "", "color,", "ada,color", "none,cutout", "ADA", "color+cutout"]
)
def test_other_words_are_refused_in_one_line(augment: str) -> None:
    said = error_of(augment=augment)
    assert said.startswith("--augment: expected none, ada, or some of color, translation and cutout")
    assert repr(augment) in said


def test_points_are_not_augmented() -> None:
    for augment in ("ada", "color,cutout"):
        with pytest.raises(UserError, match=f"--augment {augment} needs images, .* 2-D points") as refused:
            view_of(POINTS, augment=augment)
        assert "\n" not in str(refused.value)
    view_of(POINTS, augment="none")


def test_noise_comes_after_the_augmentation_and_packs_after_both() -> None:
    """Zeros that came in by cutout are as noisy as the rest, and each image of a pack is cut for itself."""
    view, images = view_of(augment="cutout", instance_noise=0.1, pack=2), random_images(12) + 5
    torch.manual_seed(1)
    packs = view(images)
    torch.manual_seed(1)
    expected = diff_augment(images, ("cutout",))
    noise = packs.view_as(images) - expected
    cut = (expected == 0).all(1)
    assert 0.1 < float(cut.float().mean()) < 0.3
    assert float(noise.movedim(1, 3)[cut].std()) == pytest.approx(0.1, rel=0.2)
    assert len(cut.flatten(1).unique(dim=0)) > 6


def test_the_view_is_the_policy() -> None:
    images = random_images(12)
    for augment in WORDS[2:]:
        torch.manual_seed(2)
        shown = view_of(augment=augment)(images)
        torch.manual_seed(2)
        assert torch.equal(shown, diff_augment(images, augment.split(",")))


def test_ada_adapts_through_the_view() -> None:
    view = view_of(augment="ada", pack=3, augment_target=0.5)
    assert view.adaptive is not None
    assert view.adaptive.target == 0.5
    assert set(view.metrics()) == {"augmentation_probability"}
    before = view.metrics()["augmentation_probability"]
    for _ in range(4):
        view.adapt(torch.ones(4))  # packs of 3: 12 images
    after = view.metrics()["augmentation_probability"]
    assert float(after) == pytest.approx(4 * 12 / 500_000, rel=1e-6)
    assert float(before) == 0, "what was reported does not change any more"
    other = view_of(augment="ada", pack=3)
    other.load_state_dict(view.state_dict())
    assert torch.equal(other.metrics()["augmentation_probability"], after)


def test_the_view_has_no_weights() -> None:
    assert not list(view_of(augment="ada").parameters())


# Every system that has a view


def augmented(name: str, data: str, augment: str) -> contract.Case:
    plain = contract.case_of(name, data)
    return plain._replace(fields=plain.fields | {"augment": augment})


ADVERSARIAL = [
    name
    for name in available()
    if "augment" in find(name).Config.model_fields and not contract.rejects(name, "colour")
]
each_adversarial = pytest.mark.parametrize("name", ADVERSARIAL)


@each_adversarial
def test_a_step_with_ada(name: str) -> None:
    case = augmented(name, "colour", "ada")
    contract.test_metrics(case)
    contract.test_bf16_autocast(case)


@pytest.mark.parametrize("augment", ["ada", "color,translation,cutout"])
@pytest.mark.parametrize(("name", "data"), [("gan", "digits"), ("dcgan", "colour")])
def test_contract_with_augmentation(name: str, data: str, augment: str, tmp_path: Path) -> None:
    case = augmented(name, data, augment)
    contract.test_a_step_changes_each_optimizers_parameters_and_nothing_else(case)
    contract.test_a_step_reads_nothing_back(case)
    contract.test_save_load_step_is_bit_equal(case, 2, tmp_path)


def ada_of(system: System) -> Any:
    assert isinstance(system.augment, DiscriminatorInput)
    assert system.augment.adaptive is not None
    return system.augment.adaptive


@each_adversarial
def test_each_update_of_a_discriminator_adapts_ada(name: str) -> None:
    """As many minibatches are counted as there were updates, and the step reports p."""
    case = augmented(name, "colour", "ada")
    system = case.build()
    ada = ada_of(system)
    ada.probability.fill_(0.25)
    seen: list[tuple[int, bool]] = []
    adapt = ada.adapt

    def watched(real_logits: Tensor, num_images: int) -> None:
        seen.append((num_images, real_logits.shape == (num_images,)))
        adapt(real_logits, num_images)

    ada.adapt = watched
    recorder = contract.Recorder(system)
    metrics = system.train_step(contract.make_batch(case.spec, system.images_per_step()), recorder)
    updates = sum(updated in ("discriminator", "critic") for updated, _ in recorder.calls)
    assert seen == [(system.config.batch, True)] * updates
    assert updates > 0
    assert torch.equal(metrics["augmentation_probability"], ada.probability)
    assert int(ada.calls) == updates % 4


def test_a_finished_run_hands_its_probability_on(tmp_path: Path) -> None:
    """`--from RUN` starts where that run was, as its weights do; without ADA there is nothing to hand on."""
    spec = DataSpec(channels=1, height=16, width=16, num_images=9)

    def built(augment: str) -> tuple[DCGAN, RunConfig]:
        config = DCGANConfig(width=4, augment=augment)
        fields = {"ganforge": "0", "system": "dcgan", "fingerprint": "0", "spec": spec}
        options = {"data": DataOptions(data="none"), "train": TrainOptions(), "config": config.model_dump()}
        return DCGAN(config, spec), RunConfig.model_validate(fields | options)

    (first, parent), (second, config) = built("ada"), built("ada")
    ada_of(first).probability.fill_(0.3)
    start = Start(first.state_dict(), {}, parent, "a run")
    start_weights(second, start, config)
    assert float(ada_of(second).probability) == pytest.approx(0.3)
    start_weights(built("none")[0], start, built("none")[1])


@pytest.mark.parametrize("play", ["simultaneous", "alternating"])
def test_ada_counters_a_discriminator_that_is_always_right(play: str) -> None:
    """A discriminator that has learnt its images by heart: p rises in a real training."""
    gan = contract.case_of("gan", "digits")
    system = gan.build(augment="ada", play=play, batch=8, learning_rate=1e-6, input_keep=1.0, hidden_keep=1.0)
    final = [module for module in system.discriminator.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.zeros_(final.weight)
    nn.init.constant_(final.bias, 3.0)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    for step in range(8):
        metrics = system.train_step(contract.make_batch(gan.spec, 8, step), update)
    assert float(metrics["augmentation_probability"]) == pytest.approx(8 * 8 / 500_000, rel=1e-5)


# Targets


def targets_of(**fields: Any) -> dict[str, float]:
    return LogisticConfig(**fields).target_options


def test_default_targets() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64).float()
    state = torch.get_rng_state()
    loss = discriminator_logistic(real, fake, **targets_of())
    assert torch.equal(torch.get_rng_state(), state)
    expected = -(torch.sigmoid(real.double()).log().mean() + torch.sigmoid(-fake.double()).log().mean())
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.25])
def test_smoothing_moves_the_best_discriminator(smoothing: float) -> None:
    """Cross-entropy to 1 - s on real images alone; its minimum is D = 1 - s, where no smoothing has none."""
    real, fake = torch.randn(2, 50).unbind()
    loss = discriminator_logistic(real, fake, **targets_of(label_smoothing=smoothing))
    d_real, d_fake = torch.sigmoid(real.double()), torch.sigmoid(fake.double())
    expected = -((1 - smoothing) * d_real.log() + smoothing * (1 - d_real).log() + (1 - d_fake).log()).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    best = torch.full((8,), math.log((1 - smoothing) / smoothing), requires_grad=True)
    discriminator_logistic(best, torch.zeros(8), **targets_of(label_smoothing=smoothing)).backward()
    assert best.grad is not None
    assert float(best.grad.abs().max()) < 1e-7


def test_flips_exchange_the_targets_as_often_as_asked() -> None:
    """With logit s the target 1 costs softplus(-s) and 0 costs s more: the loss counts the flips."""
    count, logit, flips = 20_000, 3.0, 0.2
    logits = torch.full((count,), logit)
    loss = float(discriminator_logistic(logits, -logits, **targets_of(label_flips=flips)))
    sure = math.log1p(math.exp(-logit))
    share = (loss - 2 * sure) / (2 * logit)
    assert abs(share - flips) < 4 * math.sqrt(flips * (1 - flips) / (2 * count))


def test_smoothing_and_flips_together() -> None:
    """A flipped real image has the target s, a flipped fake 1."""
    count, logit = 40_000, 2.0
    logits, nothing = torch.full((count,), logit), torch.full((count,), -logit)
    loss = float(discriminator_logistic(logits, nothing, **targets_of(label_smoothing=0.1, label_flips=0.3)))

    def cost(logit: float, target: float) -> float:
        return math.log1p(math.exp(logit)) - target * logit

    real = 0.7 * cost(logit, 0.9) + 0.3 * cost(logit, 0.1)
    fake = 0.7 * cost(-logit, 0.0) + 0.3 * cost(-logit, 1.0)
    assert loss == pytest.approx(real + fake, abs=4 * logit * math.sqrt(0.21 / count) * 2)


@pytest.mark.parametrize("option", ["label_smoothing", "label_flips"])
@pytest.mark.parametrize("value", [-0.1, 0.5])
def test_targets_stay_on_their_side(option: str, value: float) -> None:
    assert error_of(**{option: value}).startswith(f"--{option.replace('_', '-')}: ")


# Optimizers


class Pair(System):
    """Two children and a view."""

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.augment = view_of()
        self.generator, self.discriminator = nn.Linear(count, 1), nn.Linear(count, 2)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return adams(self, dict.fromkeys(("discriminator", "generator"), 0.01), 0.5, 0.99)

    def train_step(self, batch: Batch, update: Any) -> dict[str, Tensor]:
        return {}

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        return torch.zeros(count)


def test_adams() -> None:
    system = Pair()
    optimizers = system.build_optimizers()
    assert list(optimizers) == ["discriminator", "generator"]
    for name, optimizer in optimizers.items():
        (group,) = optimizer.param_groups
        assert isinstance(optimizer, torch.optim.Adam)
        assert {id(p) for p in group["params"]} == {id(p) for p in system.get_submodule(name).parameters()}
        assert (group["lr"], group["betas"], group["fused"]) == (0.01, (0.5, 0.99), True)
        assert not optimizer.state
    assert all(system.build_optimizers()[name] is not optimizers[name] for name in optimizers)


@pytest.mark.parametrize(
    ("step", "epoch", "rate", "momentum"),
    [
        (0, 0.0, 0.1, 0.5),
        (1, 0.5, 0.1 / 1.25, 0.5),
        (2, 6.0, 0.1 / 1.25**2, 0.6),
        (3, 11.0, 0.1 / 1.25**3, 0.7),
        (100, 99.0, 1e-3, 0.7),
    ],
)
def test_schedule_of_rates_and_momentum(step: float, epoch: float, rate: float, momentum: float) -> None:
    system = Pair()
    sgd = torch.optim.SGD(system.generator.parameters(), 0.1, momentum=0.5)
    adam = torch.optim.Adam(system.discriminator.parameters(), 0.2)
    for _ in range(2):  # a function of the step alone
        schedule_sgd(
            {"generator": sgd, "discriminator": adam},
            step=step,
            epoch=epoch,
            decay=1.25,
            lowest_rate=1e-3,
            momenta=(0.5, 0.7),
            momentum_epochs=11,
        )
        assert sgd.param_groups[0]["lr"] == pytest.approx(rate)
        assert sgd.param_groups[0]["momentum"] == pytest.approx(momentum)
        assert adam.param_groups[0]["lr"] == pytest.approx(max(2 * rate, 1e-3) if rate > 1e-3 else 1e-3)
        assert "momentum" not in adam.param_groups[0]


# Labels


def test_given_labels_are_used() -> None:
    labels = torch.tensor([2, 0, 1])
    assert torch.equal(labels_of(conditions(labels), 3, COLOUR, CPU), labels)
    with pytest.raises(UserError, match="3 labels for 4 samples") as refused:
        labels_of(conditions(labels), 4, COLOUR, CPU)
    assert "\n" not in str(refused.value)


def test_other_labels_are_every_class_as_often() -> None:
    for given in (None, Batch(torch.zeros(9_000, 0, 0, 0))):
        labels = labels_of(given, 9_000, COLOUR, CPU)
        assert labels.dtype == torch.int64
        shares = labels.bincount(minlength=3) / 9_000
        assert shares.shape == (3,)
        assert float((shares - 1 / 3).abs().max()) < 4 * math.sqrt(2 / 9 / 9_000)


def test_number_of_classes() -> None:
    assert num_classes_of("cgan", COLOUR) == 3
    with pytest.raises(UserError, match="needs labels") as refused:
        num_classes_of("cgan", COLOUR.model_copy(update={"class_names": ()}))
    assert "\n" not in str(refused.value)


def test_stages_of_square_images() -> None:
    square = COLOUR.model_copy(update={"height": 32, "width": 32})
    assert stages_for("lsgan", square) == (4, 3)
    for data, said in ((POINTS, "--network mlp"), (COLOUR, "6x8: use --size 8, or --network mlp")):
        with pytest.raises(UserError, match=said) as refused:
            stages_for("lsgan", data)
        assert "\n" not in str(refused.value)


RATE_SYSTEMS: dict[str, dict[str, Any]] = {
    "acgan": {"width": 4, "discriminator_width": 2},
    "dcgan": {"width": 4},
    "fastgan": {"width": 2},
    "gan_cls": {"width": 4, "discriminator_width": 4},
    "lsgan": {"width": 4},
    "r3gan": {"width": 8},
    "sngan": {"width": 4, "discriminator_width": 4},
}


@pytest.mark.parametrize("name", RATE_SYSTEMS)
def test_the_discriminator_has_a_rate_of_its_own(name: str) -> None:
    spec = DataSpec(
        channels=1, height=16, width=16, num_images=10**6, class_names=("a", "b"), embedding_size=5
    )
    kind = find(name)
    for own, expected in ((None, 1e-3), (2e-4, 2e-4)):
        rates = {"learning_rate": 1e-3, "discriminator_learning_rate": own}
        config = kind.Config.model_validate(RATE_SYSTEMS[name] | rates)
        system = kind(config, spec)
        optimizers = system.build_optimizers()
        for seen in (0, config.steps * config.batch // 2):
            system.schedule(optimizers, seen)
            found = {key: optimizer.param_groups[0]["lr"] for key, optimizer in optimizers.items()}
            assert found["discriminator"] / found["generator"] == pytest.approx(expected / 1e-3)


def test_generator_steps_of_dcgan_use_fresh_fakes() -> None:
    spec = DataSpec(channels=1, height=16, width=16, num_images=9)
    system = DCGAN(DCGANConfig(width=4, batch=4, generator_steps=3), spec)
    updated: list[str] = []
    seen: list[Tensor] = []
    system.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    update = OptimizerUpdate(system.build_optimizers(), "cpu")

    def counted(name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        updated.append(name)
        return update(name, loss, watch)

    system.train_step(Batch(torch.rand(4, 1, 16, 16)), counted)
    assert updated == ["discriminator", *["generator"] * 3]
    assert torch.equal(seen[1], seen[2]), "the discriminator's fakes serve the first generator update"
    assert not torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[3], seen[4])


def test_an_odd_stage_needs_an_odd_side() -> None:
    spec = DataSpec(channels=1, height=32, width=32, num_images=9)
    with pytest.raises(UserError, match="these halve down to 4x4: leave it out"):
        DCGAN(DCGANConfig(width=4, odd_maps="halve"), spec)
