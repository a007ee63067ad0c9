"""Evaluations on a schedule, and the best checkpoint: what is logged, kept, resumed and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command import files_of, metrics_of, run

import ganforge
from ganforge.data.batch import as_images
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources import toys
from ganforge.errors import UserError
from ganforge.evaluation.evaluate import score_run
from ganforge.runs.checkpoint import load_checkpoint, load_newest
from ganforge.runs.options import HIGHER_IS_BETTER, TrainOptions
from ganforge.runs.trained import load
from ganforge.training import validation as evaluation
from ganforge.training.previews import Previews

SMALL: dict[str, Any] = {
    "batch": 8,
    "width": 2,
    "quiet": True,
    "precision": "fp32",
    "device": "cpu",
    "evaluate_every": 4,
    "evaluate_samples": 120,
}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return metrics_of(path, "evaluation")


def test_scores_are_those_of_ganforge_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "NUM_SUBSETS", 100)
    trained = ganforge.train("dcgan", "mnist", run=tmp_path / "run", steps=6, seed=3, **SMALL)
    (line,) = lines_of(tmp_path / "run")
    assert line["step"] == 4
    assert "120 samples, ema weights, seed 3, against mnist test, 120; mnist classifier" in line["protocol"]
    ganforge.train("dcgan", "mnist", run=tmp_path / "same", steps=4, seed=3, **SMALL)
    scores = score_run(
        load(tmp_path / "same"), open_dataset(DataOptions(data="mnist")), num_samples=120, seed=3
    )
    found = {score.name: score.value for score in scores}
    for name in ("kid", "precision", "recall", "coverage"):
        assert line[name] == pytest.approx(found[name], rel=1e-5), name
    assert trained.step == 6


def test_evaluating_changes_nothing_of_the_training(tmp_path: Path) -> None:
    for name, every in (("with", 2), ("without", 0)):
        options = SMALL | {"evaluate_every": every}
        ganforge.train("dcgan", "mnist", run=tmp_path / name, steps=5, **options)
    states = [load_checkpoint(tmp_path / name / "checkpoints" / "000005") for name in ("with", "without")]
    for file, tensors in states[0].tensors.items():
        assert all(torch.equal(tensor, states[1].tensors[file][key]) for key, tensor in tensors.items())


@pytest.mark.parametrize("metric", ["kid", "coverage"])
def test_the_best_by_the_chosen_metric_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    values = iter([3.0, 1.0, 2.0, 5.0, 5.0])
    steps: list[int] = []

    def measure(self: evaluation.Evaluation, training: Any) -> dict[str, Any]:
        steps.append(training.step)
        return {metric: next(values), "protocol": "told"}

    monkeypatch.setattr(evaluation.Evaluation, "measure", measure)
    options = SMALL | {"evaluate_every": 1, "keep_best": metric}
    ganforge.train("dcgan", "mnist", run=tmp_path / "run", steps=5, **options)
    assert steps == [1, 2, 3, 4, 5]
    best = load_newest(tmp_path / "run" / "checkpoints" / "best")
    assert best is not None
    expected = (4, 5.0) if HIGHER_IS_BETTER[metric] else (2, 1.0)
    assert (best.state["step"], best.state["value"]) == expected
    kept = [line["best_so_far"] for line in lines_of(tmp_path / "run")]
    assert kept == (
        [True, False, False, True, False] if expected[0] == 4 else [True, True, False, False, False]
    )
    assert load(tmp_path / "run", checkpoint="best").step == expected[0]
    assert load(tmp_path / "run").step == 5
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert f"</b> at step {expected[0]}" in page
    assert "--checkpoint best" in page


def test_a_resumed_run_keeps_the_same_best_and_log(tmp_path: Path) -> None:
    common = ["train", "dcgan", "--data", "mnist", "--width", 2, "--batch", 8, "--checkpoint-every", 3]
    common += ["--evaluate-every", 2, "--evaluate-samples", 100, "--keep-best", "kid"]
    for folder, stops in (("whole", [9]), ("parts", [3, 5, 9])):
        for steps in stops:
            done = run(*common, "--run", folder, "--steps", steps, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    best = [files_of(tmp_path / name / "checkpoints" / "best") for name in ("whole", "parts")]
    assert best[0] == best[1]
    assert lines_of(tmp_path / "whole") == lines_of(tmp_path / "parts")
    assert [line["step"] for line in lines_of(tmp_path / "parts")] == [2, 4, 6, 8]
    states = [
        json.loads((tmp_path / name / "checkpoints" / "000009" / "state.json").read_bytes())
        for name in ("whole", "parts")
    ]
    assert states[0] == states[1]
    sampled = run("sample", "parts", "--checkpoint", "best", "--count", 4, cwd=tmp_path)
    assert sampled.returncode == 0, sampled.stderr


@pytest.mark.parametrize(
    ("data", "system", "metric", "names"),
    [
        ("ring", "gan", "modes", {"frechet_distance", "modes", "high_quality"}),
        ("mnist", "pixelcnn", "nll_nats", {"nll_nats", "nll_bits_per_dim", "kid"}),
    ],
)
def test_points_and_likelihoods(tmp_path: Path, data: str, system: str, metric: Any, names: set[str]) -> None:
    small = {"width": 2, "layers": 1, "binarise": "static"} if system == "pixelcnn" else {}
    options = {**SMALL, "evaluate_every": 1, "evaluate_samples": 4, "keep_best": metric} | small
    if system == "gan":
        del options["width"]
    ganforge.train(system, data, run=tmp_path / "run", steps=1, **options)
    (line,) = lines_of(tmp_path / "run")
    assert names <= line.keys()
    assert line["best_so_far"] is True


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="add --evaluate-every"):
        TrainOptions(keep_best="kid")
    with pytest.raises(UserError, match=r"FID needs 2048 samples.*here 120 can be compared"):
        ganforge.train("dcgan", "mnist", run=tmp_path / "few", steps=4, keep_best="fid", **SMALL)
    with pytest.raises(UserError, match="--keep-best modes: this run has kid, precision"):
        ganforge.train("dcgan", "mnist", run=tmp_path / "modes", steps=4, keep_best="modes", **SMALL)
    ganforge.train("dcgan", "mnist", run=tmp_path / "none", steps=1, **SMALL)
    with pytest.raises(UserError, match="has kept no best checkpoint: train it with --evaluate-every"):
        load(tmp_path / "none", checkpoint="best")


def test_a_copy_of_mnist_is_previewed_with_its_classifier() -> None:
    folder = Path(toys.__file__).parent / "builtin" / "mnist"
    copy = open_dataset(DataOptions(data=str(folder)))
    measured = Previews(copy, 0).measure(as_images(copy.splits["test"].read(torch.arange(50))))
    assert sum(measured["classes"].values()) == 50
    assert measured["classifier_confidence"] > 0.9


def test_the_error_of_codes_is_logged_and_kept_best(tmp_path: Path) -> None:
    options = SMALL | {"dense_units": 8, "evaluate_every": 2, "keep_best": "code_error"}
    options["evaluate_samples"] = 10_000  # the test split: what `ganforge evaluate` classifies
    trained = ganforge.train("infogan", "mnist", run=tmp_path / "run", steps=4, **options)
    lines = lines_of(tmp_path / "run")
    assert [line["step"] for line in lines] == [2, 4]
    best = min(line["code_error"] for line in lines)
    state = load_newest(tmp_path / "run" / "checkpoints" / "best", [])
    assert state is not None
    assert state.state["value"] == best
    scores = score_run(trained, open_dataset(DataOptions(data="mnist")), num_samples=120, seed=3)
    (found,) = [score.value for score in scores if score.name == "code_error"]
    assert lines[-1]["code_error"] == pytest.approx(found, abs=0.02)  # of 10,000 a borderline case or two
