"""FastGAN: what is updated by what, reconstructions of real images alone, and margins of the hinge loss."""

from typing import Any

import pytest
import test_system_contract as contract
import torch
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.layers import spectral_norms
from ganforge.nn.losses import discriminator_hinge
from ganforge.systems.fastgan import FastGAN
from ganforge.training.update import OptimizerUpdate

SPEC = DataSpec(channels=3, height=16, width=16, num_images=100)
LARGE = SPEC.model_copy(update={"height": 192, "width": 192})
SMALL: dict[str, Any] = {"batch": 4, "width": 2, "latent_size": 6}
VARIANTS = {
    "packed": (SPEC, SMALL | {"pack": 2}),
    "two-outputs": (LARGE, SMALL | {"batch": 2}),
    "two-outputs-packed": (LARGE, SMALL | {"pack": 2}),
    "adaptive": (SPEC, SMALL | {"augment": "ada", "margin_noise": 0.0}),
}
LAWS = [
    contract.test_every_parameter_has_one_optimizer,
    contract.test_a_step_changes_each_optimizers_parameters_and_nothing_else,
    contract.test_metrics,
    contract.test_bf16_autocast,
    contract.test_samples,
    contract.test_discriminator_gives_one_logit_for_each_image,
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("test_"))
def test_contract(law: Any, variant: str) -> None:
    spec, fields = VARIANTS[variant]
    law(contract.Case(FastGAN, spec, fields))


def build(spec: DataSpec = SPEC, **fields: Any) -> FastGAN:
    torch.manual_seed(3)
    return FastGAN(FastGAN.Config(**(SMALL | fields)), spec).train()


class Gradients:
    """In the place of the engine's update: the gradients that each loss has, and no step."""

    def __init__(self, system: FastGAN) -> None:
        self.system = system
        self.nonzero: dict[str, set[str]] = {}

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> None:
        self.system.zero_grad(set_to_none=True)
        loss.backward(retain_graph=True)
        parameters = self.system.named_parameters()
        self.nonzero[name] = {key for key, p in parameters if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("spec", [SPEC, LARGE], ids=["one-output", "two-outputs"])
def test_gradients_reach_the_network_of_the_loss_alone(spec: DataSpec) -> None:
    """Real images reach decoders in the discriminator's step; no loss of the generator reaches them."""
    system = build(spec)
    gradients = Gradients(system)
    system.train_step(contract.make_batch(spec, 4), gradients)
    of = {
        name: {f"{name}.{key}" for key, _ in getattr(system, name).named_parameters()}
        for name in ("discriminator", "generator")
    }
    assert gradients.nonzero["discriminator"] == of["discriminator"]
    assert gradients.nonzero["generator"] == of["generator"]


def test_only_real_images_are_reconstructed() -> None:
    """The decoders see one pass of three; what they are compared with is the discriminator's real input."""
    system = build(augment="none")
    decoded: list[Tensor] = []
    shown: list[Tensor] = []
    for decoder in (system.discriminator.decoder, system.discriminator.part_decoder):
        decoder.register_forward_pre_hook(lambda _, given: decoded.append(given[0]))
    system.discriminator.layers[0].register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    batch = contract.make_batch(SPEC, 4)
    system.train_step(batch, OptimizerUpdate(system.build_optimizers(), "cpu"))
    assert len(shown) == 3
    assert len(decoded) == 2
    assert torch.equal(shown[0], batch.images)
    assert torch.equal(shown[1], shown[2]), "the same fakes for both networks"


def test_the_reconstruction_loss_is_the_mean_absolute_difference_of_both() -> None:
    """Decoders of zeros are wrong by the mean absolute value: of the whole by every other pixel."""
    system = build(augment="none")
    for decoder in (system.discriminator.decoder, system.discriminator.part_decoder):
        decoder.register_forward_hook(lambda _, __, made: 0 * made)
    images = torch.full((4, 3, 16, 16), 0.25)
    images[..., ::2, ::2] = -0.5
    metrics = system.train_step(Batch(images), OptimizerUpdate(system.build_optimizers(), "cpu"))
    assert float(metrics["reconstruction_loss"]) == pytest.approx(0.5 + (0.5 + 3 * 0.25) / 4)


def test_decoders_are_trained_by_their_weight_alone() -> None:
    for weight, trained in ((0.0, False), (1.0, True)):
        system = build(reconstruction_weight=weight)
        gradients = Gradients(system)
        system.train_step(contract.make_batch(SPEC, 4), gradients)
        assert any("decoder" in name for name in gradients.nonzero["discriminator"]) == trained


def test_hinge_of_known_logits() -> None:
    real, fake = torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([-2.0, 0.0, 1.0])
    assert float(discriminator_hinge(real, fake)) == pytest.approx((2 + 0.5 + 0) / 3 + (0 + 1 + 2) / 3)
    torch.manual_seed(0)
    undecided = torch.zeros(100_000)
    assert float(discriminator_hinge(undecided, undecided, 0.2)) == pytest.approx(1.8, abs=2e-3)
    for gap in (0.8, 1.0):  # the bounds of a margin, which a logit is inside of or beyond
        loss = float(discriminator_hinge(undecided + gap, undecided - gap, 0.2))
        assert (loss > 0) == (gap == 0.8)
        assert loss <= 0.4
    spread = discriminator_hinge(torch.zeros(2), torch.zeros(2), 1.0)
    assert 0 < float(spread) < 2


def test_spectral_norms_hold_where_no_batch_norm_follows() -> None:
    system = build(LARGE)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    for seed in range(3):
        system.train_step(contract.make_batch(LARGE, 2, seed), update)
    norms = spectral_norms(system.discriminator)
    assert set(norms) >= {"layers.0.0", "head.3", "decoder.output", "gates.0.layers.1", "small_head"}
    assert "head.0" not in norms
    assert not spectral_norms(system.generator)
    assert all(0.8 < norm < 1.3 for norm in norms.values()), norms


def test_a_latent_has_one_image() -> None:
    """The noise of the generator is no second latent in sampling, whatever its strength."""
    system = build().eval()
    with torch.no_grad():
        for name, parameter in system.generator.named_parameters():
            if name.endswith("strength"):
                parameter.fill_(1.0)
        latents = system.draw_latents(3)
        images = system.decode(latents)
        assert torch.equal(images, system.decode(latents))
        assert torch.allclose(images[1:2], system.decode(latents[1:2]), atol=1e-5)


def test_features_need_single_images() -> None:
    images = torch.rand(4, 3, 16, 16)
    assert build().eval().features(images).shape == (4, 16 * (8 + 16))
    with pytest.raises(UserError, match="--pack"):
        build(pack=2).features(images)


def test_the_augmentation_is_the_papers_unless_another_is_given() -> None:
    assert FastGAN.Config().augment == "color,translation"
    assert FastGAN.Config(augment="translation, color").augment == "color,translation"
    assert FastGAN.Config(augment="none").augment == "none"


def test_a_cpu_gets_narrower_networks_and_a_gpu_the_papers() -> None:
    assert FastGAN.suggest(SPEC, "cuda") == {}
    fields = {name: value for name, (value, _) in FastGAN.suggest(SPEC).items()}
    assert fields["width"] < FastGAN.Config().width


def test_it_learns_one_image() -> None:
    """A blue square on yellow: 45 small steps bring all samples close to it."""
    image = torch.tensor([1.0, 1.0, -1.0]).view(3, 1, 1).repeat(1, 8, 8)
    image[:, 2:6, 2:6] = torch.tensor([-1.0, -1.0, 1.0]).view(3, 1, 1)
    spec = SPEC.model_copy(update={"height": 8, "width": 8})
    system = build(spec, batch=8, width=4, learning_rate=5e-3, augment="none")
    update = OptimizerUpdate(system.build_optimizers(), "cpu")

    def distance() -> float:
        with torch.no_grad():
            return float((system.decode(system.draw_latents(64)) - image).abs().mean())

    before = distance()
    for _ in range(45):
        system.train_step(Batch(image.expand(8, 3, 8, 8)), update)
    assert distance() < 0.3 * before
