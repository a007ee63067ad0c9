"""AC-GAN: its losses, where the labels go, what it refuses, and that its samples obey the label."""

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import ganforge
from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.errors import UserError
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.system import networks
from ganforge.systems.acgan import ACGAN
from ganforge.training.plan import validated
from ganforge.training.update import OptimizerUpdate

SPEC = DataSpec(channels=3, height=16, width=16, num_images=100, class_names=("a", "b", "c"))
SMALL: dict[str, Any] = {"batch": 6, "width": 4, "discriminator_width": 2, "latent_size": 5}


def build(spec: DataSpec = SPEC, **fields: Any) -> ACGAN:
    torch.manual_seed(3)
    return ACGAN(ACGAN.Config(**(SMALL | fields)), spec).train()


def make_batch(spec: DataSpec = SPEC, count: int = 6) -> Batch:
    labels = torch.randint(len(spec.class_names), (count,))
    return Batch(2 * torch.rand(count, *spec.shape) - 1, labels)


class Losses:
    """An update that only takes down what it is asked to minimise."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Tensor]] = []

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        self.asked.append((name, loss))
        return None


def test_defaults_are_the_cifar_networks() -> None:
    spec = DataSpec(channels=3, height=32, width=32, num_images=50_000, class_names=tuple("0123456789"))
    system = ACGAN(ACGAN.Config(), spec)
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks(system).items()}
    assert counts == {
        "generator": 111 * 384 * 16 + 25 * (384 * 192 + 192 * 96 + 96 * 3) + 3 + 2 * 288,
        "discriminator": 9 * (48 + 512 + 2_048 + 8_192 + 32_768 + 131_072) + 16 + 2 * 992 + 8_193 * 11,
    }


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_losses_of_uniform_logits(classes: int) -> None:
    """With dead heads D is 1/2 and every class as likely: log 4, log 2 and the logarithm of the classes."""
    spec = SPEC.model_copy(update={"class_names": tuple("0123456789"[:classes])})
    system, losses = build(spec), Losses()
    for parameter in system.discriminator.heads.parameters():
        nn.init.zeros_(parameter)
    metrics = system.train_step(make_batch(spec), losses)
    nats = math.log(classes)
    assert float(metrics["discriminator_loss"]) == pytest.approx(math.log(4), rel=1e-6)
    assert float(metrics["generator_loss"]) == pytest.approx(math.log(2), rel=1e-6)
    assert float(metrics["real_class_loss"]) == pytest.approx(nats, rel=1e-6)
    assert float(metrics["fake_class_loss"]) == pytest.approx(nats, rel=1e-6)
    asked = {name: float(loss.detach()) for name, loss in losses.asked}
    assert asked == {
        "discriminator": pytest.approx(math.log(4) + 2 * nats, rel=1e-6),
        "generator": pytest.approx(math.log(2) + nats, rel=1e-6),
    }


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_step_against_the_equations(smoothing: float) -> None:
    """L_S and L_C written out in probabilities, with real and generated images in passes of their own."""
    system = build(dropout=0.0, label_smoothing=smoothing)
    nn.init.normal_(system.discriminator.heads.weight)
    twin, batch, losses = copy.deepcopy(system), make_batch(), Losses()
    assert batch.labels is not None
    torch.manual_seed(5)
    metrics = system.train_step(batch, losses)
    torch.manual_seed(5)
    fakes = twin.generator(torch.randn(6, 5), torch.eye(3)[batch.labels])

    def judge(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D(image), -log P(its class), and whether that is the likeliest."""
        logits, class_logits = twin.discriminator(images)
        classes = class_logits.double().exp()
        classes = classes / classes.sum(1, keepdim=True)
        of_label = classes[torch.arange(6), batch.labels]
        return torch.sigmoid(logits.double()), -of_label.log().mean(), of_label == classes.amax(1)

    real, real_class_loss, real_right = judge(batch.images)
    fake, fake_class_loss, fake_right = judge(fakes)
    source = -((1 - smoothing) * real.log() + smoothing * (1 - real).log() + (1 - fake).log()).mean()
    expected = {
        "discriminator": source + real_class_loss + fake_class_loss,
        "generator": -fake.log().mean() + fake_class_loss,
    }
    assert [name for name, _ in losses.asked] == ["discriminator", "generator"]
    for name, loss in losses.asked:
        torch.testing.assert_close(loss.double(), expected[name], rtol=1e-5, atol=0)
        gradients = torch.autograd.grad(loss, list(getattr(system, name).parameters()), retain_graph=True)
        twins = list(getattr(twin, name).parameters())
        wanted = torch.autograd.grad(expected[name], twins, retain_graph=True)
        left, right = (torch.cat([g.flatten() for g in parts]) for parts in (gradients, wanted))
        assert float((left - right).norm() / right.norm()) < 1e-4, name
    found_metrics = {name: float(value) for name, value in metrics.items()}
    assert found_metrics == pytest.approx(
        {
            "discriminator_loss": float(source.detach()),
            "generator_loss": -float(fake.log().mean().detach()),
            "real_probability": float(real.mean().detach()),
            "fake_probability": float(fake.mean().detach()),
            "real_class_loss": float(real_class_loss.detach()),
            "fake_class_loss": float(fake_class_loss.detach()),
            "real_class_accuracy": float(real_right.float().mean()),
            "fake_class_accuracy": float(fake_right.float().mean()),
        },
        rel=1e-5,
    )


def test_real_and_fake_go_in_passes_of_their_own_and_the_generator_gets_the_labels() -> None:
    system, batch = build(), make_batch()
    assert batch.labels is not None
    judged: list[Tensor] = []
    classes: list[Tensor] = []
    system.discriminator.register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0].detach()))
    system.generator.register_forward_pre_hook(lambda _, inputs: classes.append(inputs[1]))
    system.train_step(batch, OptimizerUpdate(system.build_optimizers(), "cpu"))
    assert [len(images) for images in judged] == [6, 6, 6]
    assert torch.equal(judged[0], batch.images)
    assert torch.equal(judged[1], judged[2]), "the same fakes for both networks"
    assert len(classes) == 1
    assert torch.equal(classes[0], torch.eye(3)[batch.labels])


def test_decoding_with_and_without_labels() -> None:
    system = build().eval()
    latents, labels = torch.randn(30, 5), torch.arange(30) % 3
    expected = system.generator(latents, torch.eye(3)[labels])
    assert torch.equal(system.decode(latents, conditions(labels)), expected)
    choices = torch.stack([system.generator(latents, one.expand(30, 3)) for one in torch.eye(3)])
    drawn = system.decode(latents)
    found = (choices - drawn).flatten(2).abs().amax(2).argmin(0)
    torch.testing.assert_close(choices[found, torch.arange(30)], drawn)
    assert set(found.tolist()) == {0, 1, 2}, "every class is drawn"


def test_discriminating_needs_no_labels() -> None:
    system, batch = build().eval(), make_batch()
    logits = system.discriminate(batch.images)
    assert torch.equal(logits, system.discriminator(batch.images)[0])
    assert torch.equal(logits, system.discriminate(batch.images, batch))


def test_latents_are_standard_gaussian() -> None:
    latents = build().draw_latents(20_000)
    assert latents.shape == (20_000, 5)
    torch.testing.assert_close(torch.cov(latents.T), torch.eye(5), atol=0.05, rtol=0)
    assert float(latents.mean(0).abs().max()) < 0.04


def test_adam() -> None:
    optimizers = build().build_optimizers()
    assert set(optimizers) == {"discriminator", "generator"}
    for optimizer in optimizers.values():
        assert [(g["lr"], g["betas"]) for g in optimizer.param_groups] == [(2e-4, (0.5, 0.999))]


def test_options_reach_the_discriminator() -> None:
    network = build(dropout=0.3, activation_noise=0.2, discriminator_width=3).discriminator
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} == {0.3}
    assert {module.std for module in network.layers if hasattr(module, "std")} == {0.2}
    assert network.layers[0].out_channels == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class_names": ()}, "acgan needs labels, this data has none: use --data FOLDER"),
        ({"height": 30, "width": 30}, "30x30 (height x width) does not allow: use --size 32"),
        ({"height": 26, "width": 38}, "26x38 (height x width) does not allow: use --size "),
    ],
)
def test_other_data_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        build(SPEC.model_copy(update=changes))
    assert "\n" not in str(refused.value)


def test_packs_are_refused_in_one_line() -> None:
    with pytest.raises(ValidationError):
        ACGAN.Config(pack=2)
    with pytest.raises(UserError, match="use --pack 1") as refused:
        validated(ACGAN.Config, {"pack": 2})
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_samples_obey_the_label(tmp_path: Path) -> None:
    """300 small steps: the digits are still rough, but half of them are read as what was asked for."""
    quick: dict[str, Any] = {
        "width": 16,
        "discriminator_width": 4,
        "batch": 32,
        "learning_rate": 1e-3,
        "dropout": 0.2,
        "precision": "fp32",
        "sample_every": 10_000,
        "quiet": True,
    }
    trained = ganforge.train("acgan", "mnist", run=tmp_path / "run", steps=300, **quick)
    labels = torch.arange(500) % 10
    read = load_classifier("mnist").classify(trained.sample(500, seed=1, given=conditions(labels))).argmax(1)
    assert float((read == labels).float().mean()) > 0.3
