"""Stored evaluations: side by side under their protocols, none lost, the most trustworthy first."""

import json
from pathlib import Path
from typing import Any

import pytest

from ganforge.reporting.evaluations import evaluation_path, read_evaluations, store_evaluation

CLASSIFIER = "mnist classifier, 128 features, test accuracy 99.66 %, weights SHA-256 0a5845bd430b"
INCEPTION = "Inception-v3 of 2015-12-05, 2048 features, weights SHA-256 6726825d0af5"


def scores(
    value: float = 1.0, step: int = 500, samples: int = 10_000, weights: str = "ema", seed: int = 0,
    features: str = CLASSIFIER, reference: str = "mnist test, 10000 images",
) -> list[dict[str, Any]]:  # fmt: skip
    """Two scores of one evaluation."""
    protocol = {"weights": weights, "seed": seed, "step": step, "generated": samples}
    kid = protocol | {"features": features, "reference": reference}
    return [
        {"name": "ms_ssim", "value": 0.5, "protocol": protocol},
        {"name": "kid", "value": value, "protocol": kid},
    ]


def values(run: Path) -> list[float]:
    return [evaluation.scores[1]["value"] for evaluation in read_evaluations(run)[0]]


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 100}, {"seed": 1}, {"weights": "raw"}, {"step": 400}, {"features": INCEPTION},
        {"features": CLASSIFIER.replace("0a58", "ffff")}, {"reference": "mnist test, 100 images"},
    ],
)  # fmt: skip
def test_another_protocol_replaces_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    store_evaluation(tmp_path, scores(1))
    store_evaluation(tmp_path, scores(2, **change))
    assert sorted(values(tmp_path)) == [1, 2]


def test_the_same_protocol_again_replaces_its_file_wherever_the_data_lie(tmp_path: Path) -> None:
    store_evaluation(tmp_path, scores(1))
    store_evaluation(tmp_path, scores(2, reference="/elsewhere/mnist test, 10000 images"))
    assert values(tmp_path) == [2]
    assert len(list((tmp_path / "evaluations").iterdir())) == 1


def test_the_file_names_say_the_protocol(tmp_path: Path) -> None:
    name = evaluation_path(tmp_path, scores(step=6_000, seed=7)).name
    assert name.startswith("step-006000_ema_10000-samples_seed-7_mnist-classifier_")
    assert "inception-v3" in evaluation_path(tmp_path, scores(features=INCEPTION)).name
    assert evaluation_path(tmp_path, scores(1)) == evaluation_path(tmp_path, scores(2))


def test_the_most_trustworthy_comes_first(tmp_path: Path) -> None:
    """The newest checkpoint, then averaged weights, then most samples, then the newest evaluation."""
    store_evaluation(tmp_path, scores(5, step=400))
    store_evaluation(tmp_path, scores(3, samples=9_000, weights="ema"))
    store_evaluation(tmp_path, scores(4, samples=10_000, weights="raw"))
    store_evaluation(tmp_path, scores(2))
    store_evaluation(tmp_path, scores(1, features=INCEPTION))
    newest = evaluation_path(tmp_path, scores(features=INCEPTION))
    newest.write_text(newest.read_text().replace('"date": "2', '"date": "3'))
    assert values(tmp_path) == [1, 2, 3, 4, 5]


def test_an_evaluation_of_version_0_2_is_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(scores(1)))
    store_evaluation(tmp_path, scores(2, samples=100))
    assert values(tmp_path) == [1, 2]
    store_evaluation(tmp_path, scores(3))  # the same protocol, measured again
    assert values(tmp_path) == [3, 2]
    assert json.loads((tmp_path / "evaluation.json").read_text()) == scores(1)


def test_what_cannot_be_read_is_named_and_the_rest_is(tmp_path: Path) -> None:
    store_evaluation(tmp_path, scores(1))
    (tmp_path / "evaluations" / "torn.json").write_text('{"date": "2026')
    (tmp_path / "evaluations" / "half.json.tmp-77").write_text("{")
    (tmp_path / "evaluation.json").write_text("3")
    evaluations, unreadable = read_evaluations(tmp_path)
    assert len(evaluations) == 1
    assert [path.name for path in unreadable] == ["evaluation.json", "torn.json"]


def test_a_folder_without_any(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path) == ([], [])
