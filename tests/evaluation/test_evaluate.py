"""Evaluating runs: protocols, floors, known truths, and what is refused."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command import draw_images, run
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

import ganforge
from ganforge.data.batch import Batch, as_images
from ganforge.data.dataset import Dataset, some_rows
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources import toys
from ganforge.data.sources.catalogue import locate
from ganforge.data.sources.stacked_mnist import stack_digits
from ganforge.data.split import in_memory
from ganforge.errors import UserError
from ganforge.evaluation.evaluate import Score, evaluate, score_run
from ganforge.evaluation.features.classifiers import classifier_of, load_classifier
from ganforge.evaluation.metrics.frechet import SMALLEST_FID_COUNT
from ganforge.evaluation.scores.self_reported import mean_measures
from ganforge.generation.sample import write_samples
from ganforge.reporting.evaluations import read_evaluations
from ganforge.runs.trained import Trained, load

SIMILAR = {"ms_ssim"}
"""Scores of images of 11 pixels or more."""
PATHS = {"perceptual_path_length"}
"""Scores of images with a reference classifier, of systems that decode latents without codes."""
NEIGHBOURS = {
    "precision",
    "recall",
    "density",
    "coverage",
    "one_nn_accuracy",
    "c2st_accuracy",
    "memorisation_ratio",
}
"""Scores of images with a reference classifier, from a hundred on."""
TRAINING: dict[str, Any] = {"steps": 2, "quiet": True, "precision": "fp32", "device": "cpu"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


def test_few_samples_leave_fid_out(images: Path, mnist: Dataset) -> None:
    said: list[str] = []
    scores = by_name(score_run(load(images), mnist, num_samples=100, seed=5, weights="raw", say=said.append))
    assert set(scores) == NEIGHBOURS | SIMILAR | PATHS | {
        "sampling_speed",
        "kid",
        "parzen_log_likelihood",
        "discriminator_on_held_out",
        "discriminator_on_generated",
    }
    for name, score in scores.items():
        assert {"weights": "raw", "seed": 5, "step": 2}.items() <= score.protocol.items(), name
    assert scores["kid"].protocol["generated"] == 100
    assert scores["kid"].protocol["reference"] == "mnist test, 100 images"
    assert "mnist classifier" in scores["kid"].protocol["features"]
    for name in ("kid", "ms_ssim"):
        assert scores[name].plus_minus is None
        assert "no ±" in scores[name].note
    for name in ("precision", "recall", "density", "coverage"):
        assert "training images score" in scores[name].note
        assert "100 images are few" in scores[name].note
    assert "biased downwards" in scores["parzen_log_likelihood"].note
    assert scores["parzen_log_likelihood"].protocol["reference"] == "mnist test, 10000 images"
    assert "sigma" in scores["parzen_log_likelihood"].protocol
    assert any("samples" in text for text in said)


def test_fid_needs_more_than_a_covariance_of_full_rank(images: Path, mnist: Dataset) -> None:
    """150 samples in 128 dimensions have one, and a distance biased by so much that it is not told."""
    assert SMALLEST_FID_COUNT == 2_048
    assert "fid" not in by_name(score_run(load(images), mnist, num_samples=150))


def test_few_held_out_images_leave_fid_to_the_training_ones(
    images: Path, mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.arange(SMALLEST_FID_COUNT)
    train = mnist.splits["train"].read(rows)
    splits = {"train": in_memory(train), "test": in_memory(mnist.splits["test"].read(rows[:100]))}
    trained = load(images)
    give(trained, as_images(train), monkeypatch)
    scores = by_name(score_run(trained, replace(mnist, splits=splits), num_samples=len(rows)))
    assert "fid" not in scores
    assert scores["fid_to_training"].value == pytest.approx(0, abs=1e-3)
    assert scores["fid_to_training"].protocol["reference"] == "mnist train, 2048 images"


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_counts_that_cannot_be_scored(images: Path, mnist: Dataset, count: int) -> None:
    with pytest.raises(UserError, match="2 or more"):
        score_run(load(images), mnist, num_samples=count)


@pytest.mark.parametrize("count", [2, 3])
def test_the_fewest_samples(images: Path, mnist: Dataset, count: int) -> None:
    names = set(by_name(score_run(load(images), mnist, num_samples=count)))
    assert "kid" in names
    assert not names & NEIGHBOURS


def test_real_images_in_place_of_samples_score_the_floor(
    images: Path, mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(images)
    chosen = some_rows(mnist.splits["train"], SMALLEST_FID_COUNT)
    give(trained, as_images(mnist.splits["train"].read(chosen)), monkeypatch)
    scores = by_name(score_run(trained, mnist, num_samples=SMALLEST_FID_COUNT))
    floor = scores["fid_floor"]
    assert scores["fid"].value == pytest.approx(floor.value, rel=1e-6)
    assert 0 < floor.value < 5
    assert floor.protocol["weights"] == "none"
    assert floor.protocol["reference"] == scores["fid"].protocol["reference"] == "mnist test, 2048 images"
    assert abs(scores["kid"].value) < 3 * (scores["kid"].plus_minus or 0)
    # 0 nats is what a uniform density over all images scores.
    assert scores["parzen_log_likelihood"].value > 0


def test_evaluate_writes_scores_report_and_neighbours(images: Path) -> None:
    scores = evaluate(images, num_samples=50)
    (stored, *_), _ = read_evaluations(images)
    assert TypeAdapter(list[Score]).validate_python(stored.scores) == scores
    assert all(isinstance(entry["protocol"], dict) and entry["protocol"] for entry in stored.scores)
    report = (images / "report.html").read_text(encoding="utf-8")
    assert "Parzen" in report or "parzen" in report
    assert (images / "neighbours.png").stat().st_size > 0
    assert not list(images.glob("*.tmp*"))


def test_evaluate_twice_says_the_same(points: Path) -> None:
    first, again, other = (evaluate(points, num_samples=500, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert {score.name: score.value for score in first} != {score.name: score.value for score in other}
    assert (points / "report.html").is_file()
    assert not (points / "neighbours.png").exists()


def test_a_quick_look_replaces_no_evaluation(tmp_path: Path) -> None:
    ganforge.train("gan", "ring", run=tmp_path / "run", batch=8, **TRAINING)
    for count, seed in ((500, 0), (100, 0), (100, 1), (500, 0)):
        evaluate(tmp_path / "run", num_samples=count, seed=seed)
    stored, _ = read_evaluations(tmp_path / "run")
    assert next((each.samples, each.seed) for each in stored) == (500, 0)
    assert sorted((each.samples, each.seed) for each in stored) == [(100, 0), (100, 1), (500, 0)]
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Of 3 evaluations this one is chosen by the newest checkpoint first" in report
    assert report.count("<details>") == 2


def test_data_that_changed_is_refused(images: Path, tmp_path: Path) -> None:
    config = json.loads((images / "config.json").read_text(encoding="utf-8"))
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_text(json.dumps(config | {"fingerprint": "0" * 64}), encoding="utf-8")
    shutil.copytree(images / "checkpoints", copy / "checkpoints")
    with pytest.raises(UserError, match="is other data than"):
        evaluate(copy, num_samples=10)
    assert not (copy / "evaluations").exists()


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        evaluate(tmp_path)


def break_weights(trained: Trained, child: str) -> None:
    for network in (trained.system.get_submodule(child), trained.raw.get_submodule(child)):
        for parameter in network.parameters():
            with torch.no_grad():
                parameter.fill_(torch.nan)


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_images_of_broken_weights_are_refused(images: Path, mnist: Dataset, weights: Any) -> None:
    """As 8 bits NaN is black or worse, so it has to be seen before."""
    trained = load(images)
    break_weights(trained, "generator")
    with pytest.raises(UserError, match="NaN"):
        score_run(trained, mnist, num_samples=50, weights=weights)


def test_points_of_broken_weights_are_refused(points: Path) -> None:
    trained = load(points)
    break_weights(trained, "generator")
    with pytest.raises(UserError, match="NaN"):
        score_run(trained, data_of(points), num_samples=50)


def test_a_broken_discriminator_is_refused(images: Path, mnist: Dataset) -> None:
    trained = load(images)
    for parameter in trained.system.get_submodule("discriminator").parameters():
        torch.nn.init.constant_(parameter, torch.nan)
    with pytest.raises(UserError, match="NaN"):
        score_run(trained, mnist, num_samples=50)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_true_samples_of_a_mixture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh draws of the truth: all modes, 1 - exp(-9/2) = 98.89 % within three standard deviations."""
    ganforge.train("gan", name, run=tmp_path / "run", batch=8, **TRAINING)
    trained, dataset = load(tmp_path / "run"), open_dataset(DataOptions(data=name))
    truth, _ = toys.draw(name, "test")
    give(trained, truth, monkeypatch)
    scores = by_name(score_run(trained, dataset, num_samples=10_000))
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
    scores = by_name(score_run(trained, dataset, num_samples=10_000))
    assert scores["largest_mean_error"].value < 5 * (4.25 / 10_000) ** 0.5
    assert scores["largest_covariance_error"].value < 5 * 100 * (2 / 10_000) ** 0.5
    assert scores["frechet_distance"].value < 0.02
    wrong = exact.sample((10_000,)) * torch.tensor([1.0, 1.5]) + 1
    give(trained, wrong.reshape(-1, 2, 1, 1), monkeypatch)
    scores = by_name(score_run(trained, dataset, num_samples=10_000))
    assert scores["largest_covariance_error"].value == pytest.approx(125, abs=10)
    assert scores["largest_mean_error"].value == pytest.approx(2.0, abs=0.15)


def test_only_what_applies_is_scored(points: Path) -> None:
    scores = by_name(score_run(load(points), data_of(points), num_samples=200))
    name = points.name
    assert ("modes" in scores) == (name in ("ring", "grid"))
    assert ("largest_mean_error" in scores) == (name == "gaussian")
    assert "fid" not in scores
    assert all(score.protocol["step"] == 2 for score in scores.values())
    for score in ("discriminator_on_held_out", "discriminator_on_generated"):
        assert 0 < scores[score].value < 1


def test_without_an_average_scores_and_images_say_raw(tmp_path: Path) -> None:
    trained = ganforge.train(
        "gan", "gaussian", run=tmp_path / "run", steps=2, ema_half_life=0, quiet=True, device="cpu"
    )
    scores = ganforge.evaluate(tmp_path / "run", num_samples=100)
    assert {score.protocol["weights"] for score in scores} == {"raw"}
    assert trained.resolve_weights("ema") == "raw"


# --- conditional systems ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on MNIST of a system that takes labels."""
    run = tmp_path_factory.mktemp("runs") / "labelled"
    ganforge.train("toy_systems:Labelled", "mnist", run=run, batch=8, **TRAINING)
    return run


def give_digits(
    trained: Trained, mnist: Dataset, monkeypatch: pytest.MonkeyPatch, shown: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """Let `trained` hand out real digits of the classes `shown(labels)`; returns the labels asked for."""
    split = mnist.splits["test"]
    assert split.labels is not None
    members = [torch.nonzero(split.labels == number).flatten() for number in range(10)]
    asked: list[Tensor] = []

    def digits(labels: Tensor) -> Tensor:
        asked.append(labels)
        classes = shown(labels).tolist()
        rows = [members[number][index % len(members[number])] for index, number in enumerate(classes)]
        return as_images(split.read(torch.stack(rows)))

    monkeypatch.setattr(trained, "draw", lambda count, given, **_: digits(given.labels).split(250))
    monkeypatch.setattr(trained, "sample", lambda count, given, **_: digits(given.labels))
    return asked


def test_labels_are_requested_as_the_data_has_them_and_evenly_for_parzen(
    labelled: Path, mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(labelled, system="toy_systems:Labelled")
    asked = give_digits(trained, mnist, monkeypatch, lambda labels: labels)
    scores = by_name(score_run(trained, mnist, num_samples=500, seed=2))
    drawn, even = asked
    of_data = mnist.splits["test"].labels
    assert of_data is not None
    # Those of the very images that the samples are compared with, in another order.
    compared = of_data[some_rows(mnist.splits["test"], 500)]
    assert torch.equal(drawn.sort().values, compared.sort().values)
    assert not torch.equal(drawn, compared)
    assert even.bincount().tolist() == [50] * 10
    assert scores["kid"].protocol["labels"] == "those of mnist test, shuffled by the seed"
    assert scores["parzen_log_likelihood"].protocol["labels"] == "50 samples of each of 10 classes"
    other = give_digits(trained, mnist, monkeypatch, lambda labels: labels)
    score_run(trained, mnist, num_samples=500, seed=3)
    assert not torch.equal(other[0], drawn)


def test_class_accuracy_is_that_of_the_classifier_on_real_digits(
    labelled: Path, mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(labelled, system="toy_systems:Labelled")
    give_digits(trained, mnist, monkeypatch, lambda labels: labels)
    scores = by_name(score_run(trained, mnist, num_samples=1_000))
    assert scores["class_accuracy"].value > 99
    assert 97 < scores["worst_class_accuracy"].value <= scores["class_accuracy"].value
    assert "mnist classifier" in scores["class_accuracy"].protocol["classifier"]
    # One class shown as another: its share is lost, and it is the worst.
    give_digits(trained, mnist, monkeypatch, lambda labels: torch.where(labels == 4, 6, labels))
    scores = by_name(score_run(trained, mnist, num_samples=1_000))
    labels = mnist.splits["test"].labels
    assert labels is not None
    lost = 100 * float((labels[some_rows(mnist.splits["test"], 1_000)] == 4).double().mean())
    assert scores["class_accuracy"].value == pytest.approx(100 - lost, abs=1)
    assert scores["worst_class_accuracy"].value < 2
    assert scores["worst_class_accuracy"].note == "class 4"
    assert scores["worst_class_accuracy"].protocol["generated"] == round(10 * lost)


def test_conditional_discriminators_get_the_labels(labelled: Path, mnist: Dataset, tmp_path: Path) -> None:
    """The toy's is sure of its own samples only under the label they were asked for with."""
    scores = by_name(score_run(load(labelled, system="toy_systems:Labelled"), mnist, num_samples=300))
    assert scores["discriminator_on_generated"].value == pytest.approx(1, abs=1e-3)
    assert 0 <= scores["discriminator_on_held_out"].value < 0.2


def test_no_class_accuracy_without_a_classifier_of_these_classes(
    labelled: Path, mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(labelled, system="toy_systems:Labelled")
    renamed = mnist.spec.model_copy(update={"class_names": tuple("abcdefghij")})
    scores = by_name(score_run(trained, replace(mnist, spec=renamed), num_samples=100))
    assert "kid" in scores
    assert "class_accuracy" not in scores


def test_a_copy_of_the_data_at_another_path_and_size_has_the_classifier(tmp_path: Path) -> None:
    folder = Path(toys.__file__).parent / "builtin" / "mnist"
    for size in (None, 16):
        dataset = open_dataset(DataOptions(data=str(folder), size=size))
        assert classifier_of(dataset) is load_classifier("mnist")
    other = {file.name: file.read_bytes() for file in folder.iterdir()}
    other["train-labels-idx1-ubyte.gz"] = other["t10k-labels-idx1-ubyte.gz"]
    other["train-images-idx3-ubyte.gz"] = other["t10k-images-idx3-ubyte.gz"]
    for name, content in other.items():
        (tmp_path / name).write_bytes(content)
    assert classifier_of(open_dataset(DataOptions(data=str(tmp_path)))) is None


# --- codes and measures -------------------------------------------------------------------------------------


def test_codes_and_measures_of_a_system(
    mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ganforge.train("toy_systems:Coded", "mnist", run=tmp_path / "run", batch=8, **TRAINING)
    trained = load(tmp_path / "run", system="toy_systems:Coded")
    labels = mnist.splits["test"].labels
    assert labels is not None
    position = iter(range(0, 10_000, 1_000))

    def shuffled_classes(images: Tensor) -> Tensor:
        """The true class under another number, but that 7 shares the code of 1."""
        start = next(position)
        true = labels[start : start + len(images)]
        return (torch.where(true == 7, 1, true) * 3) % 10

    monkeypatch.setattr(trained.system, "categorise", shuffled_classes)
    scores = by_name(score_run(trained, mnist, num_samples=100))
    share_of_seven = 100 * float((labels == 7).double().mean())
    for name in ("code_error", "code_error_many_to_one"):
        assert scores[name].value == pytest.approx(share_of_seven)
        assert scores[name].protocol["reference"] == "mnist test, 10000 labelled images"
        assert scores[name].unit == "%"
    chosen = as_images(mnist.splits["test"].read(some_rows(mnist.splits["test"], 100)))
    assert scores["mean_brightness"].value == pytest.approx(50 * (chosen.mean().item() + 1), abs=1e-3)
    assert scores["mean_brightness"].unit == "%"
    assert scores["mean_brightness"].protocol["reference"] == "mnist test, 100"
    assert (scores["plain"].unit, scores["surprise"].unit) == ("", "nats")


def test_what_a_measure_draws_depends_on_the_seed_alone(mnist: Dataset, tmp_path: Path) -> None:
    ganforge.train("toy_systems:Coded", "mnist", run=tmp_path / "run", batch=8, **TRAINING)
    trained = load(tmp_path / "run", system="toy_systems:Coded")

    def measured(parts: list[int], seed: int) -> dict[str, float]:
        images = as_images(mnist.splits["test"].read(torch.arange(sum(parts))))
        return mean_measures(trained, [Batch(part) for part in images.split(parts)], seed)

    assert measured([30, 10], 1) == measured([30, 10], 1)
    assert measured([30, 10], 1)["surprise_nats"] != measured([30, 10], 2)["surprise_nats"]
    # A mean over images, not over parts.
    assert measured([30, 10], 1)["plain"] == pytest.approx(measured([40], 1)["plain"], abs=1e-6)


# --- stacked mnist ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stacks_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on stacked MNIST."""
    run = tmp_path_factory.mktemp("runs") / "stacks"
    ganforge.train("dcgan", "stacked-mnist", run=run, width=2, batch=8, **TRAINING)
    return run


def test_real_stacks_have_the_modes_of_their_digits(
    stacks_run: Path, mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, trained = data_of(stacks_run), load(stacks_run)
    count = 2_000
    give(trained, as_images(dataset.splits["test"].read(torch.arange(count))), monkeypatch)
    scores = by_name(score_run(trained, dataset, num_samples=count))
    assert "parzen_log_likelihood" not in scores
    digits = mnist.splits["test"].labels
    assert digits is not None
    triples = stack_digits(locate(DataOptions(data="mnist"))).triples["test"][:count]  # type: ignore[arg-type]
    true = {tuple(triple) for triple in digits[triples].tolist()}
    assert abs(scores["modes"].value - len(true)) < 0.01 * len(true)
    assert scores["modes"].unit == "of 1000"
    assert scores["modes"].protocol["generated"] == count
    # A perfect sampler's histogram of 2 a mode, not asymptotic: KL of a Poisson(2) from its mean is 0.29.
    assert scores["reverse_kl"].value == pytest.approx(0.29, abs=0.03)
    one = dataset.splits["test"].read(torch.zeros(count, dtype=torch.long))
    give(trained, as_images(one), monkeypatch)
    scores = by_name(score_run(trained, dataset, num_samples=count))
    assert scores["modes"].value == 1
    assert scores["reverse_kl"].value == pytest.approx(math.log(1_000))


@pytest.mark.parametrize(("asked", "expected"), [(None, 26_000), (300, 300)])
def test_stacks_are_counted_over_as_many_samples_as_in_the_papers(
    stacks_run: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, expected: int
) -> None:
    trained, counts = load(stacks_run), []

    def draw(count: int, **_: Any) -> Iterator[Tensor]:
        counts.append(count)
        raise UserError("enough")

    monkeypatch.setattr(trained, "draw", draw)
    with pytest.raises(UserError, match="enough"):
        score_run(trained, data_of(stacks_run), num_samples=asked)
    assert counts == [expected]


def test_a_single_test_image_has_no_parzen_score(tmp_path: Path) -> None:
    """Neither has a single validation image: two have a spread."""
    for number, (validation, test, expected) in enumerate([(3, 1, False), (1, 3, False), (2, 2, True)]):
        for split, count in (("train", 8), ("validation", validation), ("test", test)):
            draw_images(tmp_path / f"data{number}" / split, count=count)
        run = tmp_path / f"run{number}"
        ganforge.train("dcgan", str(tmp_path / f"data{number}"), run=run, width=2, batch=4, **TRAINING)
        names = {score.name for score in evaluate(run, num_samples=4)}
        assert ("parzen_log_likelihood" in names) == expected


@pytest.mark.parametrize("features", ["random", "pixels"])
def test_images_without_a_classifier_are_scored_by_a_floor(tmp_path: Path, features: str) -> None:
    folder = draw_images(tmp_path / "images", count=120, side=14)
    ganforge.train("dcgan", str(folder), run=tmp_path / "run", width=2, batch=8, **TRAINING)
    unasked = by_name(evaluate(tmp_path / "run", num_samples=110))
    scores = by_name(evaluate(tmp_path / "run", num_samples=110, features=features))
    assert set(unasked) == set(scores)
    assert "emoji classifier on unknown data" in unasked["kid"].protocol["features"]
    assert NEIGHBOURS - {"memorisation_ratio"} | {"kid"} <= set(scores)
    assert "a floor" in scores["kid"].protocol["features"]
    assert "no FID: it needs 2048" in scores["kid"].note


def test_every_door_gives_own_images_the_same_scores(tmp_path: Path) -> None:
    """A run, its samples as a folder, folder against folder and while training: one default extractor."""
    folder = draw_images(tmp_path / "images", count=120, side=14)
    options = {**TRAINING, "evaluate_every": 2, "evaluate_samples": 110}
    trained = ganforge.train("dcgan", str(folder), run=tmp_path / "run", width=2, batch=8, **options)
    write_samples(trained, tmp_path / "samples", count=110)
    doors = [
        by_name(ganforge.evaluate(tmp_path / "run", num_samples=110)),
        by_name(ganforge.evaluate(tmp_path / "run", samples=str(tmp_path / "samples"))),
        by_name(ganforge.evaluate(samples=str(tmp_path / "samples"), data=str(folder))),
    ]
    names = {
        "kid",
        "ms_ssim",
        "precision",
        "recall",
        "density",
        "coverage",
        "one_nn_accuracy",
        "c2st_accuracy",
    }
    first = doors[0]
    for scores in doors:
        assert names & set(first) == names & set(scores)
        assert "kid" in scores
        for name in names & set(scores):
            assert scores[name].value == pytest.approx(first[name].value, rel=1e-4, abs=1e-9), name
        assert scores["kid"].protocol["features"] == first["kid"].protocol["features"]
    (line,) = [line for line in trained.run.metrics("evaluation") if line["step"] == 2]
    assert line["kid"] == pytest.approx(first["kid"].value, rel=1e-4)
    assert first["kid"].protocol["features"] in line["protocol"]


def test_two_folders_need_no_run(tmp_path: Path) -> None:
    draw_images(tmp_path / "a" / "one", count=12, side=16)
    draw_images(tmp_path / "a" / "two", count=8, side=16)
    draw_images(tmp_path / "b", count=20, side=24)
    done = run("evaluate", "--samples", "a", "--data", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Too few images for a verdict: 20 samples, 20 real images" in done.stdout
    assert "--features inception" in done.stdout
    done = run("evaluate", "--samples", "a", "--data", "b", "--size", 16, "--json", cwd=tmp_path)
    (kid, *_) = [score for score in json.loads(done.stdout) if score["name"] == "kid"]
    assert kid["protocol"]["generated"] == 20
    assert "brought to 16x16" in kid["protocol"]["samples"]
    assert "no precision, recall, density, coverage and two-sample tests: 100 of each" in kid["note"]
    mistakes = {
        (): "needs a run folder, or two folders of images: --samples A --data B",
        ("--samples", "a"): "name a run, or --data FOLDER",
        ("--data", "b"): "needs a run folder, or two folders",
        ("--samples", "a", "--data", "ring"): "2-D points",
        ("--samples", "none", "--data", "b"): "none",
        ("--samples", "a", "--data", "b", "--size", "0"): "--size 0: expected 1 or more",
    }
    for words, message in mistakes.items():
        failed = run("evaluate", *words, cwd=tmp_path)
        assert (failed.returncode, failed.stderr.count("\n")) == (2, 1), failed.stderr
        assert message in failed.stderr


def test_any_folder_of_jpegs_can_be_scored(images: Path, mnist: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "jpegs"
    folder.mkdir()
    for row, pixels in enumerate(mnist.splits["test"].read(torch.arange(120, 240))):
        Image.fromarray(pixels[0].numpy()).convert("RGB").resize((40, 40)).save(folder / f"{row:03}.jpeg")
    before = sorted(images.iterdir())
    done = run("evaluate", images, "--samples", folder, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = {score["name"]: score for score in json.loads(done.stdout)}
    assert set(scores) == {"kid", "ms_ssim"} | NEIGHBOURS
    assert scores["coverage"]["value"] > 0.5
    assert "mnist classifier" in scores["kid"]["protocol"]["features"]
    assert "brought to 28x28" in scores["kid"]["protocol"]["samples"]
    assert sorted(images.iterdir()) == before
    few = run("evaluate", images, "--samples", folder, "--num-samples", 1, cwd=tmp_path)
    assert (few.returncode, few.stderr.count("\n")) == (2, 1)
    assert "expected 2 or more" in few.stderr
