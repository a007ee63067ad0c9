"""Judging runs: protocols, floors, known truths, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

import ganforge
from ganforge.data import toys
from ganforge.data.batch import as_images
from ganforge.data.datasets import Dataset, open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluate import SMALLEST_FID_COUNT, Score, evaluate, judge
from ganforge.trained import Trained, load

TRAINING: dict[str, Any] = {"steps": 2, "quiet": True, "precision": "fp32", "device": "cpu"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on MNIST."""
    run = tmp_path_factory.mktemp("runs") / "digits"
    ganforge.train("dcgan", "mnist", run=run, width=2, batch=8, **TRAINING)
    return run


@pytest.fixture(scope="module", params=["ring", "grid", "gaussian", "moons"])
def points(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on 2-D points."""
    run = tmp_path_factory.mktemp("runs") / request.param
    ganforge.train("gan", request.param, run=run, batch=8, **TRAINING)
    return run


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return open_dataset(DataOptions(data="mnist"))


def data_of(run: Path) -> Dataset:
    return open_dataset(load(run).run.config.data)


def by_name(scores: list[Score]) -> dict[str, Score]:
    assert len({score.name for score in scores}) == len(scores)
    return {score.name: score for score in scores}


def give(trained: Trained, samples: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `trained` hand out these samples instead of its own."""

    def draw(count: int, **_: Any) -> Iterator[Tensor]:
        assert count <= len(samples)
        yield from samples[:count].split(250)

    monkeypatch.setattr(trained, "draw", draw)
    monkeypatch.setattr(trained, "sample", lambda count, **_: samples[:count])


def test_few_samples_leave_fid_out(pictures: Path, mnist: Dataset) -> None:
    said: list[str] = []
    scores = by_name(judge(load(pictures), mnist, num_samples=100, seed=5, weights="raw", say=said.append))
    assert set(scores) == {
        "sampling_speed",
        "kid",
        "parzen_log_likelihood",
        "discriminator_on_held_out",
        "discriminator_on_generated",
    }
    for name, score in scores.items():
        assert {"weights": "raw", "seed": 5, "step": 2}.items() <= score.protocol.items(), name
    assert scores["kid"].protocol["generated"] == 100
    assert scores["kid"].protocol["reference"] == "mnist test, 100 pictures"
    assert "mnist judge" in scores["kid"].protocol["features"]
    assert scores["kid"].plus_minus is not None
    assert scores["parzen_log_likelihood"].protocol["reference"] == "mnist test, 10000 pictures"
    assert "sigma" in scores["parzen_log_likelihood"].protocol
    assert any("samples" in text for text in said)


def test_fid_needs_more_than_a_covariance_of_full_rank(pictures: Path, mnist: Dataset) -> None:
    """150 samples in 128 dimensions have one, and a distance biased by so much that it is not told."""
    assert SMALLEST_FID_COUNT == 2_048
    assert "fid" not in by_name(judge(load(pictures), mnist, num_samples=150))


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_counts_that_cannot_be_judged(pictures: Path, mnist: Dataset, count: int) -> None:
    with pytest.raises(UserError, match="2 or more"):
        judge(load(pictures), mnist, num_samples=count)


@pytest.mark.parametrize("count", [2, 3])
def test_the_fewest_samples(pictures: Path, mnist: Dataset, count: int) -> None:
    assert "kid" in by_name(judge(load(pictures), mnist, num_samples=count))


def test_real_pictures_in_place_of_samples_score_the_floor(
    pictures: Path, mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(pictures)
    train = as_images(mnist.splits["train"].read(torch.arange(SMALLEST_FID_COUNT)))
    give(trained, train, monkeypatch)
    scores = by_name(judge(trained, mnist, num_samples=SMALLEST_FID_COUNT))
    floor = scores["fid_of_real_data"]
    assert scores["fid"].value == pytest.approx(floor.value, rel=1e-6)
    assert 0 < floor.value < 5
    assert floor.protocol["weights"] == "none"
    assert floor.protocol["reference"] == scores["fid"].protocol["reference"] == "mnist test, 2048 pictures"
    assert abs(scores["kid"].value) < 3 * (scores["kid"].plus_minus or 0)
    # 0 nats is what a uniform density over all pictures scores.
    assert scores["parzen_log_likelihood"].value > 0


def test_evaluate_writes_scores_report_and_neighbours(pictures: Path) -> None:
    scores = evaluate(pictures, num_samples=50)
    stored = (pictures / "evaluation.json").read_bytes()
    assert TypeAdapter(list[Score]).validate_json(stored) == scores
    assert all(isinstance(entry["protocol"], dict) and entry["protocol"] for entry in json.loads(stored))
    report = (pictures / "report.html").read_text(encoding="utf-8")
    assert "Parzen" in report or "parzen" in report
    assert (pictures / "neighbours.png").stat().st_size > 0
    assert not list(pictures.glob("*.tmp*"))


def test_evaluate_twice_says_the_same(points: Path) -> None:
    first, again, other = (evaluate(points, num_samples=500, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert {score.name: score.value for score in first} != {score.name: score.value for score in other}
    assert (points / "report.html").is_file()
    assert not (points / "neighbours.png").exists()


def test_data_that_changed_is_refused(pictures: Path, tmp_path: Path) -> None:
    config = json.loads((pictures / "config.json").read_text(encoding="utf-8"))
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_text(json.dumps(config | {"fingerprint": "0" * 64}), encoding="utf-8")
    (copy / "checkpoints").symlink_to(pictures / "checkpoints")
    with pytest.raises(UserError, match="has changed"):
        evaluate(copy, num_samples=10)
    assert not (copy / "evaluation.json").exists()


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        evaluate(tmp_path)


def break_weights(trained: Trained, child: str) -> None:
    for network in (trained.system.get_submodule(child), *trained._average.networks.values()):
        for parameter in network.parameters():
            with torch.no_grad():
                parameter.fill_(torch.nan)


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_pictures_of_broken_weights_are_refused(pictures: Path, mnist: Dataset, weights: Any) -> None:
    """As 8 bits NaN is black or worse, so it has to be seen before."""
    trained = load(pictures)
    break_weights(trained, "generator")
    with pytest.raises(UserError, match="NaN"):
        judge(trained, mnist, num_samples=50, weights=weights)


def test_points_of_broken_weights_are_refused(points: Path) -> None:
    trained = load(points)
    break_weights(trained, "generator")
    with pytest.raises(UserError, match="NaN"):
        judge(trained, data_of(points), num_samples=50)


def test_a_broken_discriminator_is_refused(pictures: Path, mnist: Dataset) -> None:
    trained = load(pictures)
    for parameter in trained.system.get_submodule("discriminator").parameters():
        torch.nn.init.constant_(parameter, torch.nan)
    with pytest.raises(UserError, match="NaN"):
        judge(trained, mnist, num_samples=50)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_true_samples_of_a_mixture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh draws of the truth: all modes, 1 - exp(-9/2) = 98.89 % within three standard deviations."""
    ganforge.train("gan", name, run=tmp_path / "run", batch=8, **TRAINING)
    trained, dataset = load(tmp_path / "run"), open_dataset(DataOptions(data=name))
    truth, _ = toys.draw(name, "test")
    give(trained, truth, monkeypatch)
    scores = by_name(judge(trained, dataset, num_samples=10_000))
    modes = {"ring": 8, "grid": 25}[name]
    assert scores["modes"].value == modes
    assert scores["modes"].unit == f"of {modes}"
    # Five standard errors of a share of 2500.
    assert abs(scores["high_quality"].value - 98.89) < 5 * 100 * (0.9889 * 0.0111 / 2_500) ** 0.5
    assert 0 <= scores["reverse_kl"].value < 2.5 * modes / (2 * 2_500)
    assert scores["modes"].protocol["generated"] == 2_500
    assert scores["frechet_distance"].value == pytest.approx(0, abs=1e-9)


def test_true_samples_of_the_gaussian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ganforge.train("gan", "gaussian", run=tmp_path / "run", batch=8, **TRAINING)
    trained, dataset = load(tmp_path / "run"), open_dataset(DataOptions(data="gaussian"))
    exact = torch.distributions.MultivariateNormal(toys.GAUSSIAN_MEAN, toys.GAUSSIAN_COVARIANCE)
    give(trained, exact.sample((10_000,)).reshape(-1, 2, 1, 1), monkeypatch)
    scores = by_name(judge(trained, dataset, num_samples=10_000))
    assert scores["largest_mean_error"].value < 5 * (4.25 / 10_000) ** 0.5
    assert scores["largest_covariance_error"].value < 5 * 100 * (2 / 10_000) ** 0.5
    assert scores["frechet_distance"].value < 0.02
    wrong = exact.sample((10_000,)) * torch.tensor([1.0, 1.5]) + 1
    give(trained, wrong.reshape(-1, 2, 1, 1), monkeypatch)
    scores = by_name(judge(trained, dataset, num_samples=10_000))
    assert scores["largest_covariance_error"].value == pytest.approx(125, abs=10)
    assert scores["largest_mean_error"].value == pytest.approx(2.0, abs=0.15)


def test_only_what_applies_is_scored(points: Path) -> None:
    scores = by_name(judge(load(points), data_of(points), num_samples=200))
    name = points.name
    assert ("modes" in scores) == (name in ("ring", "grid"))
    assert ("largest_mean_error" in scores) == (name == "gaussian")
    assert "fid" not in scores
    assert all(score.protocol["step"] == 2 for score in scores.values())
    for score in ("discriminator_on_held_out", "discriminator_on_generated"):
        assert 0 < scores[score].value < 1


def test_without_an_average_scores_and_pictures_say_raw(tmp_path: Path) -> None:
    trained = ganforge.train(
        "gan", "gaussian", run=tmp_path / "run", steps=2, ema_half_life=0, quiet=True, device="cpu"
    )
    scores = ganforge.evaluate(tmp_path / "run", num_samples=100)
    assert {score.protocol["weights"] for score in scores} == {"raw"}
    assert trained.settle("ema") == "raw"
