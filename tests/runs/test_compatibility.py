"""Runs of 0.1, made by the last commit that trained them, still load, resume and sample."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

import ganforge
from ganforge.evaluation.compare import read_evaluated
from ganforge.reporting.page import write_report
from ganforge.text.embeddings import describe

RUNS = Path(__file__).parent / "of_0_1"
EXTRA_STEPS = 2


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    """What 0.1 drew of each run by the seed 7, and its weights after two more steps."""
    return safetensors.torch.load_file(RUNS / "expected.safetensors")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(RUNS, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.parametrize("name", ["gan-gaussian", "dcgan-mnist", "gan_cls-emoji"])
def test_samples_are_those_of_0_1(runs: Path, expected: dict[str, Tensor], name: str) -> None:
    trained = ganforge.load(runs / name)
    given = describe(trained, ["a red apple"] * 4) if name == "gan_cls-emoji" else None
    samples = trained.sample(4, seed=7, given=given)
    torch.testing.assert_close(samples, expected[f"{name}.samples"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["gan-gaussian", "dcgan-mnist", "text_encoder-emoji", "gan_cls-emoji"])
def test_two_more_steps_are_those_of_0_1(runs: Path, expected: dict[str, Tensor], name: str) -> None:
    config = json.loads((runs / name / "config.json").read_text())
    options = {**config["train"], **config["config"], **config["data"]}
    options["captions_per_image"] = options.pop("captions_per_picture")
    data, steps = options.pop("data"), options.pop("steps") + EXTRA_STEPS
    ganforge.train(config["system"], data, run=runs / name, steps=steps, quiet=True, **options)
    (checkpoint,) = (runs / name / "checkpoints").glob(f"{steps:06d}")
    resumed = safetensors.torch.load_file(checkpoint / "system.safetensors")
    theirs = {
        key.split(".resumed.")[1]: value for key, value in expected.items() if f"{name}.resumed." in key
    }
    renamed = {
        key.replace("view.", "augment.").replace("pictures.", "image."): value
        for key, value in theirs.items()
    }
    assert resumed.keys() == renamed.keys()
    for key, value in resumed.items():
        torch.testing.assert_close(value, renamed[key], atol=1e-3, rtol=1e-3, msg=key)


def test_its_scores_and_log_are_read(runs: Path) -> None:
    shutil.copytree(runs / "dcgan-mnist", runs / "copy")
    first, second = read_evaluated([runs / "dcgan-mnist", runs / "copy"])
    assert "kid" in {score.name for score in first.scores}
    assert first.scores == second.scores
    write_report(runs / "dcgan-mnist")
    page = (runs / "dcgan-mnist" / "report.html").read_text(encoding="utf-8")
    assert "kid" in page
    assert "could not be read" not in page
