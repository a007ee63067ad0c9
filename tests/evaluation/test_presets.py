"""Published protocols: what they score, and which data they are of."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import to_float, to_uint8
from ganforge.errors import UserError
from ganforge.evaluation import presets
from ganforge.evaluation.features.untrained import RandomConvolutions
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.evaluation.presets import PRESETS
from ganforge.reporting.evaluations import read_evaluations

TINY = {"steps": 2, "batch": 8, "width": 4, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets")
    ganforge.train("dcgan", "mnist", run=folder / "run", **TINY)
    return folder / "run"


def test_parzen_is_that_of_the_paper(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = PRESETS["mnist-parzen"]
    assert (preset.num_samples, preset.split) == (10_000, "test")
    monkeypatch.setitem(presets.PRESETS, "mnist-parzen", replace(preset, num_samples=500))
    (score,) = ganforge.evaluate(digits, protocol="mnist-parzen")
    assert score.name == "parzen_log_likelihood"
    assert score.protocol["published protocol"] == "mnist-parzen"
    assert "adversarial nets 225 ± 2" in score.protocol["compares with"]
    assert "10000 images" in score.protocol["reference"]
    same = [score for score in ganforge.evaluate(digits, num_samples=500) if "parzen" in score.name]
    assert same[0].value == score.value


def test_fid_is_against_all_training_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same counts by smaller features, since those of Inception take minutes here."""
    monkeypatch.setattr("ganforge.evaluation.score.fewest_for_fid", lambda size: 40)
    preset = PRESETS["fid50k-full"]
    monkeypatch.setitem(presets.PRESETS, "fid50k-full", replace(preset, num_samples=48, features="random"))
    images = torch.randint(0, 256, (48, 3, 8, 8), dtype=torch.uint8)
    data = {"train": images, "test": images[:20]}
    trained = ganforge.train("dcgan", data, run=tmp_path / "run", **TINY)
    (score,) = ganforge.evaluate(tmp_path / "run", data=data, protocol="fid50k-full")
    assert score.protocol["reference"] == "python:tensor train, 48 images"
    # By hand: the same samples and images through the same network.
    extractor = RandomConvolutions(3, 8, 8)
    samples = to_float(to_uint8(trained.sample(48, seed=0).as_subclass(torch.Tensor)))
    moments = [Moments.of(extractor.features(part)) for part in (to_float(images), samples)]
    assert score.value == pytest.approx(frechet_distance(*moments), rel=1e-4)


def test_other_data_and_options_are_one_line(digits: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, line in {
        "cifar10-50k": "is of cifar10, the run's data is mnist",
        "stacked-mnist-26k": "is of stackedmnist",
        "mnist-parsen": "did you mean mnist-parzen?",
    }.items():
        assert main(["evaluate", str(digits), "--protocol", name]) == 2
        assert line in capfd.readouterr().err
    assert main(["evaluate", str(digits), "--protocol", "mnist-parzen", "--num-samples", "20"]) == 2
    assert "which has its own: leave one of them out" in capfd.readouterr().err


def test_a_protocol_is_not_the_evaluation_that_compare_chooses(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets.PRESETS, "mnist-parzen", replace(PRESETS["mnist-parzen"], num_samples=600))
    ganforge.evaluate(digits, num_samples=100)
    ganforge.evaluate(digits, protocol="mnist-parzen")
    stored, _ = read_evaluations(digits)
    assert not stored[0].partial
    assert [each.features for each in stored if each.partial][:1] == ["mnist-parzen"]


def test_every_preset_says_what_it_compares_with() -> None:
    assert PRESETS["cifar10-50k"].features == PRESETS["fid50k-full"].features == "inception"
    assert PRESETS["cifar10-10k-clean"].features == "inception-clean"
    for name, preset in PRESETS.items():
        assert preset.compares
        assert f"{preset.num_samples // 1000}k" in name or name == "mnist-parzen"
    with pytest.raises(UserError, match="unknown protocol"):
        presets.find_preset("x")
