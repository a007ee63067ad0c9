"""A loaded run in several threads: equal seeds give equal samples, and neither run nor torch changes."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganforge
from ganforge.data.batch import Batch, conditions
from ganforge.runs.checkpoint import load_newest
from ganforge.runs.trained import Trained, Weights, load

NUM_CALLS, NUM_THREADS, SEED, COUNT = 64, 8, 7, 4
OPTIONS: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 4, "batch": 8},
    "cgan": {"batch": 8, "ema_half_life": 50.0},
    "pix2pix": {"pairs": "edges", "width": 4, "discriminator_width": 4, "batch": 2, "ema_half_life": 50.0},
    "pixelcnn": {"levels": 2, "width": 4, "layers": 1, "batch": 2, "conditional": True},
    "vae": {"hidden": [16], "batch": 8, "ema_half_life": 50.0},
    "sngan": {"width": 4, "discriminator_width": 4, "batch": 2, "conditional": True},
}
SOURCES = 2 * torch.rand(COUNT, 1, 28, 28, generator=torch.Generator().manual_seed(0)) - 1


@pytest.fixture(scope="module", params=OPTIONS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    run = tmp_path_factory.mktemp("threads") / request.param
    few = {"steps": 3, "quiet": True, "device": "cpu", "precision": "fp32"}
    ganforge.train(request.param, "mnist", run=run, **few, **OPTIONS[request.param])
    return load(run, device="cpu")


@contextmanager
def hectic() -> Iterator[None]:
    """Threads that take turns a thousand times more often than they do in life."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def draw(trained: Trained, weights: Weights = "ema") -> Tensor:
    """By the way that a user of this kind of run takes; random labels are drawn too."""
    if trained.run.config.system == "pix2pix":
        return next(trained.call("translate", [SOURCES], seed=SEED, weights=weights))
    return trained.sample(COUNT, seed=SEED, weights=weights)


def in_threads(calls: list[Callable[[], Tensor]]) -> list[Tensor]:
    """The results of `calls`. All threads are there before the switching is hectic: coverage begins a trace
    in each, during which Python 3.11 may not switch, and an audit hook of another test makes it.
    """
    started = threading.Barrier(NUM_THREADS)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(lambda _: started.wait(60), range(NUM_THREADS)))
        with hectic():
            return list(pool.map(lambda call: call(), calls))


def weights_of(trained: Trained) -> dict[str, Tensor]:
    named = {f"{kind} {key}": t for kind, part in trained.tensors().items() for key, t in part.items()}
    return {name: tensor.clone() for name, tensor in named.items()}


def test_threads_draw_what_one_call_after_another_draws(trained: Trained) -> None:
    """Half of the calls with raw weights, while another thread seeds torch and draws from it."""
    expected: dict[Weights, Tensor] = {"ema": draw(trained, "ema"), "raw": draw(trained, "raw")}
    assert not torch.equal(expected["ema"], expected["raw"])
    before, done = weights_of(trained), threading.Event()

    def disturb() -> None:
        while not done.is_set():
            torch.manual_seed(1)
            torch.randn(10)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        kinds: list[Weights] = ["ema", "raw"] * (NUM_CALLS // 2)
        drawn = in_threads([lambda w=w: draw(trained, w) for w in kinds])  # type: ignore[misc]
    finally:
        done.set()
        disturber.join()
    different = [index for index, w in enumerate(kinds) if not torch.equal(drawn[index], expected[w])]
    assert not different
    assert not any(module.training for module in trained.raw.modules())
    after = weights_of(trained)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert torch.equal(draw(trained, "raw"), expected["raw"])


def test_threads_leave_the_random_numbers_of_torch_alone(trained: Trained) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drawn = in_threads([lambda: draw(trained)] * NUM_CALLS)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(drawn[0], other) for other in drawn)


def test_the_weights_are_those_of_the_checkpoint(trained: Trained) -> None:
    stored = load_newest(trained.run.checkpoints)
    assert stored is not None
    raw, public = trained.raw.state_dict(), trained.system.state_dict()
    for name, tensor in stored.tensors["system"].items():
        assert torch.equal(raw[name], tensor), name
        assert torch.equal(public[name], stored.tensors["average"].get(name, tensor)), name
    assert any(not torch.equal(raw[name], public[name]) for name in stored.tensors["average"])


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_the_public_networks_are_those_that_are_sampled(trained: Trained, weights: Weights) -> None:
    """A law for each kind: the network of `trained.system`, or of `trained.raw`, makes the samples."""
    system: Any = trained.raw if weights == "raw" else trained.system
    name, random = trained.run.config.system, torch.Generator().manual_seed(SEED)
    labels = torch.tensor([3, 1, 4, 1])
    given = None
    with torch.no_grad():
        if name == "pix2pix":
            expected = system.generator(SOURCES, random)
            given = Batch(torch.empty(COUNT, 0, 0, 0), sources=SOURCES)
        elif name == "pixelcnn":
            given = conditions(labels)
            expected = system.sample(COUNT, given, random)
        else:
            latents = trained.draw_latents(COUNT, SEED)
            if name == "vae":
                expected = system.likelihood.mean(system.decoder(latents)).unflatten(1, (1, 28, 28))
            elif name == "dcgan":
                expected = system.generator(latents)
            else:
                given = conditions(labels)
                hot = torch.nn.functional.one_hot(labels, 10).float() if name == "cgan" else labels
                expected = system.generator(latents, hot)
    assert torch.equal(trained.sample(COUNT, seed=SEED, weights=weights, given=given), expected)


def test_a_network_in_training_mode_is_said(tmp_path: Path) -> None:
    ganforge.train(
        "dcgan", "mnist", run=tmp_path / "run", steps=1, width=2, batch=4, quiet=True, device="cpu"
    )
    trained = load(tmp_path / "run", device="cpu")
    trained.system.get_submodule("generator").train()
    with pytest.raises(ganforge.UserError, match=r"call `trained\.system\.eval\(\)` first$"):
        trained.sample(2)
    trained.system.eval()
    assert trained.sample(2).shape == (2, 1, 28, 28)
