"""CGAN: its one-pass step, where the labels go, its schedule, what it refuses, that it obeys the label."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import one_hot

import ganforge
from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.errors import UserError
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.system import networks
from ganforge.systems.cgan import CGAN
from ganforge.training.plan import validated
from ganforge.training.update import OptimizerUpdate

DIGITS = DataSpec(channels=1, height=28, width=28, num_images=50_000, class_names=tuple("0123456789"))
COLOUR = DataSpec(channels=3, height=5, width=7, num_images=100, class_names=("a", "b", "c"))
SMALL: dict[str, Any] = {
    "batch": 6,
    "latent_size": 4,
    "generator_units": (8, 9, 10),
    "discriminator_units": (8, 9, 10),
}
NOISE_SIZE = 4 + (8 + 9) + 10
"""Latents, and a number for the dropout of each hidden unit."""


def build(spec: DataSpec = COLOUR, **fields: Any) -> CGAN:
    torch.manual_seed(3)
    return CGAN(CGAN.Config(**(SMALL | fields)), spec).train()


def make_batch(spec: DataSpec = COLOUR, count: int = 6) -> Batch:
    labels = torch.randint(len(spec.class_names), (count,))
    return Batch(2 * torch.rand(count, *spec.shape) - 1, labels)


def update_of(system: CGAN) -> OptimizerUpdate:
    return OptimizerUpdate(system.build_optimizers(), "cpu")


def test_defaults_are_the_mnist_networks_of_the_paper() -> None:
    system = CGAN(CGAN.Config(), DIGITS)
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks(system).items()}
    assert counts == {"generator": 2_413_984, "discriminator": 1_224_351}
    rates = [module.p for module in system.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.5] * 2
    assert system.generator.dropout == 0.5


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_a_step_is_two_explicit_backward_passes(weight: float) -> None:
    """Half the discriminator's loss and all of the generator's, of one pass with the same masks."""
    system = build(momentum=0.0, learning_rate=1.0, mismatch_weight=weight)
    twin, batch = copy.deepcopy(system), make_batch()
    assert batch.labels is not None
    before = {name: p.detach().clone() for name, p in system.named_parameters()}

    torch.manual_seed(5)
    metrics = system.train_step(batch, update_of(system))

    torch.manual_seed(5)
    classes = one_hot(batch.labels, 3).float()
    fakes = twin.generator(torch.rand(6, NOISE_SIZE), classes)
    images, shown = [batch.images, fakes], [classes, classes]
    if weight:
        others = (batch.labels + torch.randint(1, 3, (6,))) % 3
        images, shown = [*images, batch.images], [*shown, one_hot(others, 3).float()]
    logits = twin.discriminator(torch.cat(images), torch.cat(shown))
    real, fake, *wrong = torch.sigmoid(logits.double()).split(6)
    rejected = (1 - weight) * (1 - fake).log().mean() + weight * (1 - (wrong or [fake])[0]).log().mean()
    losses = {
        "discriminator": -(real.log().mean() + rejected) / 2,
        "generator": -fake.log().mean(),
    }
    for name, loss in losses.items():
        assert float(metrics[f"{name}_loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
        parameters = dict(getattr(twin, name).named_parameters())
        expected = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
        after = {key: getattr(system, name).get_parameter(key).detach() for key in parameters}
        moved = torch.cat([(before[f"{name}.{key}"] - after[key]).flatten() for key in parameters])
        wanted = torch.cat([gradient.flatten() for gradient in expected])
        # The step of rate 1 is the gradient, rounded to the weights' own precision.
        assert float((moved - wanted).norm() / wanted.norm()) < 1e-5, name


def test_mismatched_labels_are_other_classes_uniformly() -> None:
    system, labels = build(), torch.arange(3).repeat(2000)
    others = system._others(labels)
    assert bool((others != labels).all())
    assert torch.bincount(others).float().div(2000).sub(1).abs().max() < 0.1


def test_mismatches_need_two_classes() -> None:
    one = DataSpec(channels=1, height=4, width=4, num_images=9, class_names=("a",))
    with pytest.raises(UserError, match="needs two classes or more"):
        build(one, mismatch_weight=0.5)


def test_the_labels_of_the_batch_reach_both_networks() -> None:
    system, batch = build(), make_batch()
    assert batch.labels is not None
    seen: dict[str, list[Tensor]] = {"generator": [], "discriminator": []}
    for name, inputs in seen.items():
        network = system.get_submodule(name)
        network.register_forward_pre_hook(lambda _, given, inputs=inputs: inputs.append(given[1]))
    system.train_step(batch, update_of(system))
    assert [len(inputs) for inputs in seen.values()] == [1, 1], "one pass of each network"
    expected = torch.eye(3)[batch.labels]
    assert torch.equal(seen["generator"][0], expected)
    assert torch.equal(seen["discriminator"][0], torch.cat([expected, expected])), (
        "the same for real and fake"
    )


def test_another_label_is_another_update() -> None:
    """With all else equal, masks included, both networks learn something else from other labels."""
    batch = make_batch()
    assert batch.labels is not None
    after = []
    for labels in (batch.labels, (batch.labels + 1) % 3):
        system = build()
        torch.manual_seed(5)
        system.train_step(Batch(batch.images, labels), update_of(system))
        after.append(dict(system.named_parameters()))
    for name in ("generator.joint.weight", "discriminator.joint.3.weight"):
        assert not torch.equal(after[0][name], after[1][name]), name


def test_latents_fill_the_unit_hypercube() -> None:
    latents = build().draw_latents(50_000)
    assert latents.shape == (50_000, NOISE_SIZE)
    assert float(latents.min()) >= 0
    assert float(latents.max()) <= 1
    ranks = latents.sort(0).values
    uniform = (torch.arange(50_000) + 0.5)[:, None] / 50_000
    assert float((ranks - uniform).abs().max()) < 0.01, "Kolmogorov's distance; 0.0087 has odds of 0.1 %"


def test_decoding_with_and_without_labels() -> None:
    system = build().eval()
    latents, labels = torch.rand(30, NOISE_SIZE), torch.arange(30) % 3
    expected = system.generator(latents, torch.eye(3)[labels])
    assert torch.equal(system.decode(latents, conditions(labels)), expected)
    choices = torch.stack([system.generator(latents, one.expand(30, 3)) for one in torch.eye(3)])
    drawn = system.decode(latents)
    found = (choices - drawn).flatten(2).abs().amax(2).argmin(0)
    torch.testing.assert_close(choices[found, torch.arange(30)], drawn)
    assert set(found.tolist()) == {0, 1, 2}, "every class is drawn"
    with pytest.raises(UserError, match="3 labels for 30 samples"):
        system.decode(latents, conditions(labels[:3]))


def test_samples_are_drawn_with_dropout_by_their_latents() -> None:
    """The same latents, the same image; other masks alone, another one, in training and in sampling."""
    system, latents, given = build(), torch.rand(5, NOISE_SIZE), conditions(torch.arange(5) % 3)
    images = system.decode(latents, given)
    assert torch.equal(system.decode(latents, given), images)
    assert torch.equal(system.eval().decode(latents, given), images)
    masked = torch.cat([latents[:, :4], 1 - latents[:, 4:]], 1)
    assert (system.decode(masked, given) != images).flatten(1).any(1).all()


def test_discriminating_needs_labels() -> None:
    system, batch = build().eval(), make_batch()
    assert batch.labels is not None
    assert system.discriminate(batch.images) is None
    assert system.discriminate(batch.images, Batch(batch.images)) is None
    logits = system.discriminate(batch.images, batch)
    assert logits is not None
    assert torch.equal(logits, system.discriminator(batch.images, torch.eye(3)[batch.labels]))
    other = system.discriminate(batch.images, conditions((batch.labels + 1) % 3))
    assert other is not None
    assert (logits != other).all()


def test_dead_units_decode_to_the_mean_training_image() -> None:
    system, images = build(), 1.9 * torch.rand(100, *COLOUR.shape) - 0.95
    system.prepare(images)
    nn.init.zeros_(system.generator.output.layers[0].weight)
    decoded = system.decode(torch.rand(4, NOISE_SIZE)).detach()
    torch.testing.assert_close(decoded, images.mean(0).expand(4, -1, -1, -1))


@pytest.mark.parametrize("steps", [0, 1, 1_000, 125_000, 10_000_000])
def test_schedule(steps: int) -> None:
    """The paper's rate, and the momentum of the GAN's code, whose epochs are 500 steps long here."""
    system = build(DIGITS, batch=100)
    optimizers = system.build_optimizers()
    for _ in range(2):
        system.schedule(optimizers, 100 * steps)
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    assert len(groups) == 2
    progress = min(max(steps / 500 - 1, 0) / 249, 1)
    for group in groups:
        assert group["lr"] == pytest.approx(max(0.1 / 1.00004**steps if steps < 1e6 else 0, 1e-6), rel=1e-9)
        assert group["momentum"] == pytest.approx(0.5 + 0.2 * progress, rel=1e-9)


def test_instance_noise_falls() -> None:
    system = build(instance_noise=0.4, instance_noise_images=100)
    optimizers = system.build_optimizers()
    for seen, left in ((0, 0.4), (25, 0.3), (100, 0.0), (1_000, 0.0)):
        system.schedule(optimizers, seen)
        assert float(system.augment.noise) == pytest.approx(left)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class_names": ()}, "cgan needs labels, this data has none: use --data FOLDER"),
    ],
)
def test_other_data_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        build(COLOUR.model_copy(update=changes))
    assert "\n" not in str(refused.value)


def test_packs_are_refused_in_one_line() -> None:
    with pytest.raises(ValidationError):
        CGAN.Config(pack=2)
    with pytest.raises(UserError, match="use --pack 1") as refused:
        validated(CGAN.Config, {"pack": 2})
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_samples_obey_the_label(tmp_path: Path) -> None:
    """800 small steps; in four seeds, 56 % to 90 % were read as what was asked for after 500 to 1,000."""
    quick: dict[str, Any] = {
        "generator_units": (100, 200, 400),
        "discriminator_units": (120, 50, 120),
        "maxout_pieces": (2, 2, 2),
        "dropout": 0.2,
        "instance_noise": 1.0,
        "precision": "fp32",
        "sample_every": 10_000,
        "quiet": True,
    }
    trained = ganforge.train("cgan", "mnist", run=tmp_path / "run", steps=800, **quick)
    labels = torch.arange(500) % 10
    read = load_classifier("mnist").classify(trained.sample(500, seed=1, given=conditions(labels))).argmax(1)
    assert float((read == labels).float().mean()) > 0.35
