"""What a trained run gives of its system's abilities: `Trained.call`."""

import sys
from pathlib import Path

import pytest
import torch

import ganforge
from ganforge.data.batch import Batch
from ganforge.errors import UserError
from ganforge.runs.trained import Trained, load
from ganforge.systems.discovery import find


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    run = tmp_path_factory.mktemp("trained") / "run"
    few = {"steps": 2, "batch": 4, "quiet": True, "device": "cpu", "precision": "fp32"}
    ganforge.train("toy_systems:Coded", "mnist", run=run, **few)
    return load(run, system="toy_systems:Coded")


def test_results_are_those_of_the_method_part_by_part(trained: Trained) -> None:
    images = 2 * torch.rand(6, 1, 28, 28, dtype=torch.float64) - 1
    parts = list(images.split(4))
    categories = list(trained.call("categorise", parts))
    assert [len(part) for part in categories] == [4, 2]
    assert torch.equal(torch.cat(categories), (images.flatten(1)[:, 0] * 10).round().long() % 10)
    (measured,) = trained.call("measure", [Batch(images)])
    assert measured["plain"].dtype == torch.float32
    assert float(measured["plain"]) == pytest.approx(float(images.mean()), abs=1e-6)


def test_what_is_random_follows_the_seed_and_leaves_other_numbers_alone(trained: Trained) -> None:
    batch = Batch(torch.zeros(2, 1, 28, 28))

    def surprises(seed: int) -> list[float]:
        return [float(part["surprise_nats"]) for part in trained.call("measure", [batch, batch], seed=seed)]

    before = torch.get_rng_state()
    one = surprises(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert surprises(1) == one
    assert one[0] != one[1], "a stretch of random numbers for each part"
    assert surprises(2) != one


def test_a_tuple_is_the_arguments_of_one_part_and_weights_are_chosen(trained: Trained) -> None:
    latents = torch.ones(2, 3)
    (raw,), (average,) = (trained.call("decode", [(latents, None)], weights=w) for w in ("raw", "ema"))
    assert torch.equal(raw, trained.decode(latents, weights="raw"))
    assert torch.equal(average, trained.decode(latents, weights="ema"))
    assert not torch.equal(raw, average)


@pytest.mark.parametrize(("method", "able"), [("reconstruct", "vae"), ("complete", "pixelcnn or pixelrnn")])
def test_a_missing_ability_names_the_systems_that_have_it(method: str, able: str, trained: Trained) -> None:
    with pytest.raises(UserError, match=f"toy_systems:Coded gives no .*: use a run of .*{able}") as error:
        next(trained.call(method, [torch.zeros(1, 1, 28, 28)]))
    assert "\n" not in str(error.value)
    assert not trained.has_discriminator


def test_a_system_of_the_current_folder_leaves_the_import_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import toy_systems\n\n\nclass Mine(toy_systems.Toy):\n    pass\n"
    (tmp_path / "only_here.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", str(tmp_path))])
    before = list(sys.path)
    assert find("only_here:Mine").__name__ == "Mine"
    assert sys.path == before


OLD = """
import torch, toy_systems

class Old(toy_systems.Toy):
    def draw_latents(self, count):
        return torch.rand(count, 3)

class OldDecode(toy_systems.Toy):
    def decode(self, latents, given=None):
        return super().decode(latents, given)

class Forgetful(toy_systems.Toy):
    def draw_latents(self, count, generator=None):
        return torch.rand(count, 3)
"""


@pytest.fixture
def old_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "old_systems.py").write_text(OLD)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "signature"),
    [("Old", "draw_latents(self, count, gen"), ("OldDecode", "decode(self, latents, given=None, gen")],
)
def test_a_system_whose_methods_take_no_generator_is_rejected(
    old_systems: Path, kind: str, signature: str
) -> None:
    with pytest.raises(UserError) as error:
        ganforge.train(f"old_systems:{kind}", "mnist", run=old_systems / "run", steps=1, quiet=True)
    method = signature.partition("(")[0]
    assert str(error.value) == (
        f"{method} of old_systems:{kind} takes no generator: write `def {signature}erator=None)`, and "
        "torch.randn(..., generator=generator) where it draws"
    )
    assert not (old_systems / "run").exists()


def test_a_system_that_draws_from_torchs_own_numbers_is_rejected(old_systems: Path) -> None:
    """Its training would depend on how often it is looked at."""
    with pytest.raises(
        UserError, match="Forgetful was sampled with torch's own random numbers: pass"
    ) as error:
        ganforge.train("old_systems:Forgetful", "mnist", run=old_systems / "run", steps=1, quiet=True)
    assert "\n" not in str(error.value)
    assert not (old_systems / "run").exists()
