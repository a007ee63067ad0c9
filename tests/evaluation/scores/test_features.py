"""Scores of a classifier's features of digits: what is reported of how many, and what real digits score."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ganforge.data.batch import conditions
from ganforge.data.dataset import Dataset, some_rows
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.split import in_memory
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.evaluation.score import Evaluated, Score
from ganforge.evaluation.scores.distribution import score_distribution

COUNT = 1_500


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return open_dataset(DataOptions(data="mnist"))


@pytest.fixture(scope="module")
def digits(mnist: Dataset) -> tuple[Tensor, Tensor]:
    """Test digits that follow the first ones, the reference; the later half has other writers."""
    split = mnist.splits["test"]
    assert split.labels is not None
    rows = torch.arange(COUNT, 2 * COUNT)
    return split.read(rows), split.labels[rows]


def scores_of(samples: Tensor, labels: Tensor | None, dataset: Dataset) -> dict[str, Score]:
    evaluated = Evaluated(
        dataset,
        samples,
        {"weights": "ema", "seed": 5},
        conditions=None if labels is None else conditions(labels),
        extractor=load_classifier("mnist"),
    )
    found = score_distribution(evaluated)
    assert len({score.name for score in found}) == len(found)
    return {score.name: score for score in found}


def test_real_digits_in_place_of_samples(mnist: Dataset, digits: tuple[Tensor, Tensor]) -> None:
    scores = scores_of(*digits, mnist)
    assert set(scores) == {
        "kid",
        "kid_within_classes",
        "precision",
        "recall",
        "density",
        "coverage",
        "one_nn_accuracy",
        "c2st_accuracy",
        "memorisation_ratio",
        "classifier_score",
    }
    assert scores["precision"].value == pytest.approx(scores["recall"].value, abs=0.15)
    assert scores["recall"].value > 0.6
    assert scores["density"].value == pytest.approx(1, abs=0.25)
    assert scores["coverage"].value == pytest.approx(1 - 2**-5, abs=0.1)
    assert scores["one_nn_accuracy"].value == pytest.approx(50, abs=7)
    assert scores["c2st_accuracy"].value == pytest.approx(50, abs=9)
    assert scores["memorisation_ratio"].value == pytest.approx(1, abs=0.25)
    assert 9 < scores["classifier_score"].value <= 10
    assert abs(scores["kid_within_classes"].value) < 100
    for score in scores.values():
        assert score.protocol["generated"] == COUNT
        assert {"weights": "ema", "seed": 5}.items() <= score.protocol.items()
        assert "mnist classifier" in score.protocol.get("features", score.protocol.get("classifier"))
    assert (scores["recall"].protocol["k"], scores["coverage"].protocol["k"]) == (3, 5)
    assert scores["memorisation_ratio"].protocol["against"] == f"mnist train, {COUNT} images"
    assert "seed 0" in scores["c2st_accuracy"].protocol["classified by"]
    assert "chance: 50 ±" in scores["c2st_accuracy"].note
    assert f"of the {COUNT} real images 9." in scores["classifier_score"].note


def test_one_class_collapsed_and_training_digits_copied(
    mnist: Dataset, digits: tuple[Tensor, Tensor]
) -> None:
    samples, labels = digits
    collapsed = samples.clone()
    collapsed[labels == 4] = samples[labels == 4][:1]
    within = scores_of(collapsed, labels, mnist)["kid_within_classes"]
    assert within.note.endswith("class 4")
    copies = scores_of(mnist.splits["train"].read(some_rows(mnist.splits["train"], COUNT)), None, mnist)
    assert copies["memorisation_ratio"].value == 0
    assert "100 % of samples are nearer to a training image" in copies["memorisation_ratio"].note
    assert "kid_within_classes" not in copies


def test_only_what_applies_is_scored(mnist: Dataset, digits: tuple[Tensor, Tensor]) -> None:
    samples, labels = digits
    few = scores_of(samples[:150], labels[:150], mnist)
    assert not {"classifier_score", "fid", "fid_infinity", "kid_within_classes"} & set(few)
    # As many real images as samples are compared, both ways; and without a held-out split nothing can
    # be said of memorising.
    train = in_memory(mnist.splits["train"].read(torch.arange(120)))
    scores = scores_of(samples[:150], None, replace(mnist, splits={"train": train}))
    assert scores["precision"].protocol["generated"] == 120
    assert scores["kid"].protocol["generated"] == 150
    assert "memorisation_ratio" not in scores
    assert set(scores_of(samples[:99], None, mnist)) == {"kid"}


@pytest.mark.slow
def test_fid_at_infinity_is_below_fid(mnist: Dataset) -> None:
    samples = mnist.splits["test"].read(torch.arange(5_000, 10_000))
    scores = scores_of(samples, None, mnist)
    found = scores["fid_infinity"]
    assert found.value < scores["fid"].value
    assert found.plus_minus is not None
    assert found.protocol["extrapolated from"] == "15 random subsets of 2048 to 5000 samples, subset seed 0"
