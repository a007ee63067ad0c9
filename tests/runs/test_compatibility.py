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
MOVED_OTHERWISE = 0.01
"""How far from where 0.1 took a weight it may end, in parts of that way."""


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


def weights_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of two dimensions or more, named as in this version.

    Biases are left out: one before a batch norm has no gradient but rounding, which Adam magnifies.
    """
    return {
        key.replace("view.", "augment.").replace("pictures.", "image."): value.double()
        for key, value in tensors.items()
        if value.is_floating_point() and value.ndim > 1
    }


def weights_in(run: Path, step: int) -> dict[str, Tensor]:
    """Those of a checkpoint."""
    return weights_of(safetensors.torch.load_file(run / "checkpoints" / f"{step:06d}" / "system.safetensors"))


@pytest.mark.parametrize("name", ["gan-gaussian", "dcgan-mnist", "text_encoder-emoji", "gan_cls-emoji"])
def test_two_more_steps_are_those_of_0_1(runs: Path, expected: dict[str, Tensor], name: str) -> None:
    """Each weight moves as 0.1 moved it, up to a hundredth of the way.

    Lost optimizer states or a rate of 1.2 times change each by a tenth of the way and more, other random
    numbers some of them; another instruction set by less than a thousandth.
    """
    config = json.loads((runs / name / "config.json").read_text())
    options = {**config["train"], **config["config"], **config["data"]}
    options["captions_per_image"] = options.pop("captions_per_picture")
    data, steps = options.pop("data"), options.pop("steps")
    before = weights_in(runs / name, steps)
    more = steps + EXTRA_STEPS
    ganforge.train(config["system"], data, run=runs / name, steps=more, quiet=True, **options)
    resumed = weights_in(runs / name, more)
    key = f"{name}.resumed."
    theirs = weights_of(
        {each.removeprefix(key): value for each, value in expected.items() if each.startswith(key)}
    )
    assert resumed.keys() == theirs.keys()
    wrong = {
        key: float((resumed[key] - value).norm() / (value - before[key]).norm())
        for key, value in theirs.items()
    }
    assert max(wrong.values()) < MOVED_OTHERWISE, wrong


def test_its_scores_and_log_are_read(runs: Path) -> None:
    shutil.copytree(runs / "dcgan-mnist", runs / "copy")
    first, second = read_evaluated([runs / "dcgan-mnist", runs / "copy"])
    assert "kid" in {score.name for score in first.scores}
    assert first.scores == second.scores
    write_report(runs / "dcgan-mnist")
    page = (runs / "dcgan-mnist" / "report.html").read_text(encoding="utf-8")
    assert "kid" in page
    assert "could not be read" not in page
