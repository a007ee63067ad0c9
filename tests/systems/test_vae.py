"""VAE: its bounds, their gradients, the estimate of -log p(x), its rates, its refusals, that it learns."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.likelihoods import gaussian_kl, importance_bound
from ganforge.systems import vae
from ganforge.systems.vae import VAE
from ganforge.training.plan import validated
from ganforge.training.update import OptimizerUpdate

MNIST = DataSpec(channels=1, height=28, width=28, num_images=50_000, binary=True)
BINARY = DataSpec(channels=1, height=3, width=4, num_images=1_000, binary=True)
GREY = BINARY.model_copy(update={"binary": False})
POINTS = DataSpec(channels=2, height=1, width=1, num_images=1_000, values="points")


def build(spec: DataSpec = BINARY, **fields: Any) -> VAE:
    torch.manual_seed(3)
    return VAE(VAE.Config(**({"hidden": (8,), "latent_size": 2} | fields)), spec).train()


def random_images(count: int, spec: DataSpec = BINARY) -> Tensor:
    return torch.where(torch.rand(count, *spec.shape) < 0.4, 1.0, -1.0)


def test_defaults_are_the_one_layer_network_of_burda_et_al() -> None:
    system = VAE(VAE.Config(), MNIST)
    encoder = 784 * 200 + 200 + 200 * 200 + 200 + 200 * 100 + 100
    decoder = 50 * 200 + 200 + 200 * 200 + 200 + 200 * 784 + 784
    assert sum(p.numel() for p in system.parameters()) == encoder + decoder
    assert VAE.Config().steps * VAE.Config().batch == 3_280 * MNIST.num_images


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_loss_sums_pixels_and_latents(beta: float) -> None:
    system, images = build(beta=beta), random_images(6)
    torch.manual_seed(5)
    metrics = system.train_step(Batch(images), OptimizerUpdate(system.build_optimizers(), "cpu"))

    twin = build(beta=beta)
    torch.manual_seed(5)
    mean, log_variance = twin.encoder(images)
    probabilities = torch.sigmoid(twin.decoder(mean + torch.exp(log_variance / 2) * torch.randn(6, 2)))
    white = (images.flatten(1) + 1) / 2
    log_probability = (white * probabilities.log() + (1 - white) * (1 - probabilities).log()).sum() / 6
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / 6
    torch.testing.assert_close(metrics["vae_loss"], (beta * kl - log_probability).detach())
    torch.testing.assert_close(metrics["kl_nats"], kl.detach())


@torch.no_grad()
def test_one_importance_sample_is_the_elbo_in_expectation() -> None:
    system, images = build(), random_images(4)
    mean, log_variance = system.encoder(images)
    log_weights = system.log_weights(images, mean, log_variance, 20_000)
    latents = mean + torch.exp(log_variance / 2) * torch.randn(20_000, 4, 2)
    reconstruction = system.likelihood.log_probability(system.decoder(latents), images.flatten(1)).mean(0)
    elbo = reconstruction - gaussian_kl(mean, log_variance)
    torch.testing.assert_close(log_weights.mean(0), elbo, atol=0.05, rtol=0)


@torch.no_grad()
def test_the_bound_grows_with_the_samples() -> None:
    system, images = build(), random_images(8)
    nn.init.normal_(system.get_parameter("decoder.layers.0.weight"), std=3)

    def bound(count: int) -> float:
        log_weights = system.log_weights(images, *system.encoder(images), 6_000)  # type: ignore[call-arg]  # the encoder's outputs are unpacked
        return float(torch.stack([importance_bound(part) for part in log_weights.split(count)]).mean())

    # Each of draws of its own: means of nested groups of the same ones would rise whatever the weights.
    bounds = [bound(count) for count in (1, 10, 6_000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] > bounds[0] + 0.1
    # More samples than that add next to nothing: it does not grow by the logarithm of their number.
    assert bound(3_000) == pytest.approx(bounds[-1], abs=0.05)


def test_the_gradient_of_iwae_is_that_of_normalised_weights() -> None:
    """Equation 14 of Burda et al. 2015."""
    system, images = build(objective="iwae", num_importance=5), random_images(3)

    def log_weights() -> Tensor:
        torch.manual_seed(7)
        return system.log_weights(images, *system.encoder(images), 5)  # type: ignore[call-arg]  # the encoder's outputs are unpacked

    weights = log_weights().softmax(0).detach()
    wanted = torch.autograd.grad((weights * log_weights()).sum(0).mean(), list(system.parameters()))
    found = torch.autograd.grad(importance_bound(log_weights()).mean(), list(system.parameters()))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class Linear:
    """A VAE whose decoder is A z + b with variance v: x is Gaussian, N(b, A A' + v)."""

    def __init__(self, exact: bool) -> None:
        self.system = build(POINTS, hidden=(), likelihood="gaussian")
        self.variance, matrix = 0.3, torch.tensor([[1.0, 0.5], [-0.4, 0.8]])
        bias = torch.tensor([0.5, -1.0])
        decoder, encoder = self.system.decoder.layers[0], self.system.encoder.body.get_submodule("layers.0")
        assert isinstance(decoder, nn.Linear)
        assert isinstance(encoder, nn.Linear)
        self.marginal = MultivariateNormal(bias, matrix @ matrix.T + self.variance * torch.eye(2))
        with torch.no_grad():
            decoder.weight.copy_(torch.cat([matrix, torch.zeros(2, 2)]))
            decoder.bias.copy_(torch.cat([bias, torch.full((2,), math.log(self.variance))]))
            # The true posterior has the precision I + A'A / v; the encoder keeps its diagonal.
            precision = torch.eye(2) + matrix.T @ matrix / self.variance
            posterior = torch.linalg.solve(precision, matrix.T / self.variance)
            diagonal = (1 if exact else 2) * precision.inverse().diagonal()
            # Encoders see (x + 1) / 2.
            encoder.weight.copy_(torch.cat([2 * posterior, torch.zeros(2, 2)]))
            encoder.bias.copy_(torch.cat([posterior @ (-1 - bias), diagonal.log()]))
        self.points = self.marginal.sample((64,))[:, :, None, None]


@pytest.mark.parametrize("exact", [True, False])
@torch.no_grad()
def test_the_estimate_is_the_exact_marginal_of_a_linear_model(exact: bool) -> None:
    linear = Linear(exact)
    expected = linear.marginal.log_prob(linear.points.flatten(1))
    found = linear.system.log_likelihood(linear.points, 20_000)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, atol=0.06, rtol=0)
    assert float(found.float().mean() - expected.mean()) == pytest.approx(0, abs=0.01)
    elbo = float(linear.system.measure(Batch(linear.points))["elbo_nats"])
    assert elbo < float(expected.mean())


@torch.no_grad()
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With noise that depends on its place alone, any division gives the same estimate."""
    system, images = build(), random_images(10)
    mean, log_variance = system.encoder(images)
    place = {"sample": 0}
    fixed = torch.randn(33, 2)

    def log_weights(part: Tensor, *parameters: Tensor) -> Tensor:
        _, _, count, *_ = parameters
        start = place["sample"] % 33
        place["sample"] += int(count)
        rows = fixed[start : start + int(count), None].expand(-1, len(part), -1)
        log_probability = system.likelihood.log_probability(system.decoder(rows), part.flatten(1))
        return log_probability

    monkeypatch.setattr(system, "log_weights", log_weights)
    whole = importance_bound(log_weights(images, mean, log_variance, torch.tensor(33)))
    for values in (1, 12 * 4, 12 * 25, 10**6):
        monkeypatch.setattr(vae, "_DECODED_AT_A_TIME", values)
        place["sample"] = 0
        torch.testing.assert_close(system.log_likelihood(images, 33).float(), whole)


@torch.no_grad()
def test_memory_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    system = build()
    monkeypatch.setattr(vae, "_DECODED_AT_A_TIME", 12 * 20)
    rows: list[int] = []
    system.decoder.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0][..., 0].numel()))
    system.log_likelihood(random_images(30), 1_000)
    assert max(rows) <= 20
    assert sum(rows) == 30 * 1_000


def test_measures() -> None:
    system = build(nll_samples=50)
    with torch.no_grad():
        measured = system.measure(Batch(random_images(200)))
        assert "nll_nats" not in build(nll_samples=0).measure(Batch(random_images(4)))
        grey = build(GREY, nll_samples=10).measure(Batch(random_images(4)))
    assert set(measured) == {"elbo_nats", "reconstruction_nats", "kl_nats", "nll_nats"}
    parts = measured["reconstruction_nats"] + measured["kl_nats"]
    torch.testing.assert_close(measured["elbo_nats"], -parts)
    assert float(measured["nll_nats"]) < float(parts), "a tighter bound"
    assert float(grey["nll_bits_per_dim"]) == pytest.approx(float(grey["nll_nats"]) / 12 / math.log(2))
    assert system.measure_protocol == {"likelihood": "bernoulli", "nll_samples": 50}
    assert build().measure_protocol["nll_samples"] == 5_000
    assert build(GREY).measure_protocol["nll_samples"] == 500


def test_variances_are_clamped() -> None:
    system = build()
    nn.init.constant_(system.get_parameter("encoder.body.layers.2.bias"), 1e4)
    _, log_variance = system.encoder(random_images(3))
    assert float(log_variance.detach().max()) == 10


@pytest.mark.parametrize(
    ("share", "stage"), [(0, 0), (1 / 3280, 1), (4.1 / 3280, 2), (0.33, 6), (0.34, 7), (1, 7)]
)
def test_stages_of_the_rate(share: float, stage: int) -> None:
    system = build(steps=32_800, batch=10)
    optimizers = system.build_optimizers()
    for _ in range(2):
        system.schedule(optimizers, round(share * 328_000))
    assert optimizers["vae"].param_groups[0]["lr"] == pytest.approx(1e-3 * 10 ** (-stage / 7))
    build(steps=32_800, batch=10, learning_rate_decay="linear").schedule(optimizers, 82_000)
    assert optimizers["vae"].param_groups[0]["lr"] == pytest.approx(0.75e-3)
    build(learning_rate_decay="none").schedule(optimizers, 10**9)
    assert optimizers["vae"].param_groups[0]["lr"] == pytest.approx(0.75e-3), "left as it is"


def test_samples_are_means() -> None:
    system, latents = build(), torch.randn(5, 2)
    expected = 2 * torch.sigmoid(system.decoder(latents)) - 1
    torch.testing.assert_close(system.decode(latents).flatten(1), expected)
    assert system.posterior_mean(random_images(5)).shape == (5, 2)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "logistic"])
def test_convolutions_decode_as_many_dimensions(likelihood: str) -> None:
    spec = DataSpec(channels=1, height=8, width=8, num_images=100, binary=True)
    system = build(spec, network="convolutional", width=4, likelihood=likelihood)
    system.prepare(random_images(20, spec))
    images = random_images(3, spec)
    assert system.log_weights(images, *system.encoder(images), 4).shape == (4, 3)  # type: ignore[call-arg]  # the encoder's outputs are unpacked
    assert system.decode(system.draw_latents(6)).shape == (6, 1, 8, 8)


@pytest.mark.parametrize(("spec", "name"), [(BINARY, "bernoulli"), (GREY, "logistic"), (POINTS, "gaussian")])
def test_the_data_chooses_the_likelihood(spec: DataSpec, name: str) -> None:
    assert VAE.suggest(spec)["likelihood"][0] == name
    assert build(spec).likelihood_name == name


@pytest.mark.parametrize(
    ("spec", "fields", "said"),
    [
        (GREY, {"likelihood": "bernoulli"}, "--binarise dynamic"),
        (POINTS, {"likelihood": "logistic"}, "--likelihood gaussian"),
        (BINARY, {"network": "convolutional"}, "--network mlp"),
    ],
)
def test_refusals(spec: DataSpec, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        build(spec, **fields)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"num_importance": 5}, "--objective iwae"), ({"objective": "iwae", "beta": 2}, "--objective elbo")],
)
def test_options_of_the_other_objective_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError):
        VAE.Config(**fields)
    with pytest.raises(UserError, match=said) as refused:
        validated(VAE.Config, fields)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_it_approaches_the_entropy(objective: str) -> None:
    """Three rows of four equal pixels, each row white with odds of 1/2: log 8 = 2.08 nats, where pixels
    that know nothing of one another cost 12 log 2 = 8.32."""
    fields = {} if objective == "elbo" else {"objective": "iwae", "num_importance": 5}
    system = build(hidden=(16,), latent_size=3, learning_rate=2e-2, learning_rate_decay="none", **fields)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")

    def rows(count: int) -> Tensor:
        return torch.where(torch.rand(count, 1, 3, 1) < 0.5, 1.0, -1.0).expand(-1, -1, -1, 4).contiguous()

    for _ in range(500):
        system.train_step(Batch(rows(64)), update)
    with torch.no_grad():
        nll = -float(system.log_likelihood(rows(200), 200).mean())
    assert math.log(8) - 0.2 < nll < math.log(8) + 0.8
