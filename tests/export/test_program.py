"""What is exported: the latents as described, and the network itself."""

import numpy as np
import pytest
import torch
from test_system_contract import case_of
from untrained import untrained

from ganforge.errors import UserError
from ganforge.export import program
from ganforge.export.onnx_sample import Model
from ganforge.export.program import check_equal, describe_inputs, differences, network_of
from ganforge.nn.networks.lstm import diagonal_scan, lstm_step, plain_diagonal_scan, plain_lstm_step
from ganforge.system import LatentSystem
from ganforge.systems.discovery import available, find

LATENT = [name for name in available() if issubclass(find(name), LatentSystem)]
OPTIONS = [
    *((name, {}) for name in LATENT),
    *(("gan", {"latent_distribution": kind}) for kind in ("uniform", "spherical")),
    ("infogan", {"latent_distribution": "gaussian", "gaussian_codes": 2, "categorical_codes": (3, 4)}),
]


@pytest.mark.parametrize(("name", "fields"), OPTIONS, ids=lambda value: str(value))
def test_a_script_draws_latents_as_the_system_does(name: str, fields: dict) -> None:
    system = case_of(name, "embeddings" if "embeddings" in find(name).needs else "colour").build(**fields)
    if name == "autoencoder":  # a fitted Gaussian that is none of the standard ones
        system.latent_mean.copy_(torch.arange(len(system.latent_mean)) / 10)
        system.latent_square.copy_(
            torch.outer(system.latent_mean, system.latent_mean) + 0.3 + torch.eye(len(system.latent_mean))
        )
    model = Model.__new__(Model)
    model.about = {"latents": [program._part(part) for part in system.prior]}
    count = 4_000
    ours = system.draw_latents(count, torch.Generator().manual_seed(0)).numpy()
    theirs = model.latents(count, np.random.default_rng(0))
    assert theirs.dtype == np.float32
    assert theirs.shape == ours.shape
    scale = ours.std(axis=0).max()
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 0.12 * scale
    assert np.abs(np.cov(ours.T) - np.cov(theirs.T)).max() < 0.15 * scale**2
    assert (
        np.abs(np.quantile(ours, [0, 0.05, 1], axis=0) - np.quantile(theirs, [0, 0.05, 1], axis=0))[1].max()
        < 0.2 * scale
    )
    lengths = [np.linalg.norm(each, axis=1) for each in (ours, theirs)]
    assert abs(lengths[0].std() - lengths[1].std()) < 0.1 * scale


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("dcgan", {}, "6 numbers, standard normal"),
        ("gan", {"latent_distribution": "spherical", "latent_size": 4}, "scaled to the length 2"),
        ("infogan", {}, "uniform from -1 to 1, then one 1 at random among 10 numbers, the others 0"),
        ("autoencoder", {}, "with `mean` and `root` from the metadata"),
    ],
)
def test_latents_are_described_in_words(tmp_path, name: str, fields: dict, said: str) -> None:
    network = network_of(untrained(tmp_path / "run", name, **fields))
    assert said in describe_inputs(network)["latents"]


def test_plain_recurrences_are_those_of_the_training() -> None:
    torch.manual_seed(0)
    gates, weight = torch.randn(2, 5, 4, 3, 8), torch.randn(2, 4, 8)
    assert torch.allclose(plain_diagonal_scan(gates, weight), diagonal_scan(gates, weight), atol=1e-6)
    wide = torch.randn(2, 3, 6, 3, 8)
    assert torch.allclose(plain_diagonal_scan(wide, weight), diagonal_scan(wide, weight), atol=1e-6)
    sums, cell = torch.randn(3, 8), torch.randn(3, 2)
    for ours, theirs in zip(plain_lstm_step(sums, cell), lstm_step(sums, cell), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_changed_weight_is_a_difference(tmp_path) -> None:
    network = network_of(untrained(tmp_path / "run", "dcgan"))
    found = differences(network, lambda inputs: network.module(*inputs).detach())
    assert found == {1: 0.0, 7: 0.0}
    found = differences(network, lambda inputs: 1.01 * network.module(*inputs).detach())
    with pytest.raises(UserError, match=r"above 0\.0001"):
        check_equal(found, "the copy")
    found = differences(network, lambda inputs: network.module(*inputs).detach() * torch.nan)
    with pytest.raises(UserError, match="inf"):
        check_equal(found, "the copy")
    found = differences(network, lambda inputs: network.module(*inputs).detach()[:, :1])
    assert set(found.values()) == {float("inf")}


def test_an_encoder_of_captions_cannot_be_exported(tmp_path) -> None:
    with pytest.raises(UserError, match="makes no images"):
        network_of(untrained(tmp_path / "run", "text_encoder"))


def test_a_prior_that_is_not_that_of_the_latents_is_seen(tmp_path, monkeypatch) -> None:
    trained = untrained(tmp_path / "run", "dcgan")
    monkeypatch.setattr(type(trained.system), "prior", find("wgan").prior)  # type: ignore[attr-defined]
    network_of(trained)
    monkeypatch.setattr(type(trained.system), "prior", ())
    with pytest.raises(UserError, match="prior of dcgan has 0 numbers"):
        network_of(trained)
