"""InfoGAN's own rules: the bound, the codes, who is updated by what."""

import copy
import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.systems.infogan import InfoGAN, InfoGANConfig, categorical_information, gaussian_log_likelihood

DIGITS = DataSpec(channels=1, height=28, width=28, num_images=1000)


def build(**fields: object) -> InfoGAN:
    torch.manual_seed(0)
    small = {"width": 8, "dense_units": 16, "batch": 6}
    return InfoGAN(InfoGANConfig.model_validate(small | fields), DIGITS)


def test_the_paper_has_74_inputs() -> None:
    system = InfoGAN(InfoGANConfig(), DIGITS)
    latents = system.draw_latents(500)
    assert latents.shape == (500, 74)
    assert torch.equal(latents[:, 62:72].sum(1), torch.ones(500))
    assert set(latents[:, 62:72].unique().tolist()) == {0, 1}
    assert float(latents[:, 72:].abs().max()) <= 1
    assert float(latents[:, 72:].max()) > 0.9
    assert float(latents[:, 72:].min()) < -0.9


def test_bound_of_a_perfect_and_of_an_ignorant_reader() -> None:
    codes = torch.eye(10)[torch.randint(10, (64,))]
    assert float(categorical_information(1e3 * codes, codes, (10,))) == pytest.approx(math.log(10), rel=1e-5)
    assert float(categorical_information(torch.zeros(64, 10), codes, (10,))) == pytest.approx(0, abs=1e-5)
    both = torch.cat([codes, codes], 1)
    assert float(categorical_information(1e3 * both, both, (10, 10))) == pytest.approx(
        2 * math.log(10), rel=1e-5
    )


def test_gaussian_likelihood() -> None:
    codes, means, log_stds = torch.randn(9, 2), torch.randn(9, 2), torch.randn(9, 2)
    expected = torch.distributions.Normal(means, log_stds.exp()).log_prob(codes).sum(1).mean()
    assert torch.allclose(gaussian_log_likelihood(codes, means, log_stds), expected, rtol=1e-5)


def test_set_code_changes_its_place_only() -> None:
    system = build(categorical_codes=(3, 4), uniform_codes=1, gaussian_codes=1)
    latents = system.draw_latents(5)
    before = latents.clone()
    noise = system.config.latent_size
    places = {0: (noise, 3), 1: (noise + 3, 4), 2: (noise + 7, 1), 3: (noise + 8, 1)}
    for index, value in ((0, 2.0), (1, 3.0), (2, -1.5), (3, 3.5)):
        changed = system.set_code(latents, index, torch.full((5,), value))
        start, size = places[index]
        untouched = [column for column in range(latents.shape[1]) if not start <= column < start + size]
        assert torch.equal(changed[:, untouched], before[:, untouched])
        part = changed[:, start : start + size]
        assert part.argmax(1).tolist() == [int(value)] * 5 if index < 2 else part.unique().tolist() == [value]
    assert torch.equal(latents, before)


@pytest.mark.parametrize(
    ("index", "value", "said"),
    [(0, 10.0, "--code 0=10: expected a whole number from 0 to 9"), (0, 1.5, "whole number"),
     (1, 2.5, "--code 1=2.5: expected -2 to 2"), (3, 0.0, "--code 3: expected a code from 0 to 2"),
     (1, math.nan, "expected -2 to 2")],
)  # fmt: skip
def test_codes_out_of_range(index: int, value: float, said: str) -> None:
    system = build()
    with pytest.raises(UserError, match=said):
        system.set_code(system.draw_latents(2), index, torch.full((2,), value))


def test_refusals() -> None:
    with pytest.raises(ValidationError, match="use --pack 1"):
        InfoGANConfig(pack=2)
    with pytest.raises(ValidationError, match="needs a code"):
        InfoGANConfig(categorical_codes=(), uniform_codes=0)


def test_the_information_reaches_both_networks() -> None:
    """The step's gradients are those of a twin that is differentiated by hand."""
    system = build()
    twin = copy.deepcopy(system)
    images, found = torch.rand(6, 1, 28, 28) * 2 - 1, {}

    def update(name: str, loss: Tensor, watch: Tensor | None = None) -> None:
        parameters = [p for o in [optimizers[name]] for group in o.param_groups for p in group["params"]]
        found[name] = torch.autograd.grad(loss, parameters, retain_graph=True)

    optimizers = system.build_optimizers()
    torch.manual_seed(3)
    system.train_step(Batch(images), update)

    torch.manual_seed(3)
    latents = twin.draw_latents(6)
    fakes = twin.generator(latents)
    softplus, read = torch.nn.functional.softplus, twin.recogniser

    def information(features: Tensor) -> Tensor:
        outputs, codes = read(features), latents[:, 62:]
        category = math.log(10) + (codes[:, :10] * torch.log_softmax(outputs[:, :10], 1)).sum(1).mean()
        normal = torch.distributions.Normal(outputs[:, 10:], 1.0)
        return category + 2 * math.log(2) + normal.log_prob(codes[:, 10:]).sum(1).mean()

    real_logits, _ = twin.discriminator(images)
    fake_logits, features = twin.discriminator(fakes.detach())
    loss = softplus(-real_logits).mean() + softplus(fake_logits).mean() - information(features)
    weights = [*twin.discriminator.parameters(), *twin.recogniser.parameters()]
    for got, wanted in zip(found["discriminator"], torch.autograd.grad(loss, weights), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-6)
    logits, features = twin.discriminator(fakes)
    loss = softplus(-logits).mean() - information(features)
    for got, wanted in zip(
        found["generator"], torch.autograd.grad(loss, list(twin.generator.parameters())), strict=True
    ):
        assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-6)


def test_categorise_and_measure() -> None:
    system = build().eval()
    images = torch.rand(4, 1, 28, 28)
    codes = system.categorise(images)
    assert codes is not None
    assert codes.shape == (4,)
    assert int(codes.max()) < 10
    assert build(categorical_codes=()).categorise(images) is None
    with torch.no_grad():
        measured = system.measure(Batch(images))
    assert set(measured) == {"categorical_information_nats", "continuous_information_nats"}
    assert float(measured["categorical_information_nats"]) <= math.log(10)
