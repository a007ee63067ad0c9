"""The runs that come with the package: at once, without a network, small; and that for captions listens."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import to_uint8
from ganforge.data.open import open_dataset
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.scores.labels import mean_of_classes, predictions
from ganforge.reporting.evaluations import read_evaluations
from ganforge.runs.pretrained import SAMPLES, packaged, packaged_runs
from ganforge.text.embeddings import describe

NAME = "gan-cls-emoji"


def test_a_sentence_is_drawn_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket", None)  # nothing is fetched
    words = ["--text", "a red apple", "--text", "snowman", "--count", "2", "--seed", "1"]
    for out in ("first.png", "second.png"):
        assert main(["sample", f"pretrained:{NAME}", *words, "--out", out]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "second.png"]
    first, second = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("first", "second"))
    assert (first == second).all()


def test_they_are_small() -> None:
    sizes = {
        name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        for name, path in packaged_runs().items()
    }
    assert sizes[NAME] < 12e6
    assert sum(sizes.values()) < 30e6


@pytest.mark.parametrize("name", sorted(packaged_runs().keys() - {"srgan-photos"}))
def test_each_draws_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without downloads, and with an image of what it makes."""
    monkeypatch.setattr("socket.socket", None)
    out = tmp_path / "samples.png"
    assert main(["sample", f"pretrained:{name}", "--count", "4", "--out", str(out)]) == 0
    assert np.asarray(Image.open(out)).std() > 20
    with Image.open(packaged(name) / SAMPLES) as image:
        assert image.size > (200, 200)
    stored, unreadable = read_evaluations(packaged(name))
    assert stored
    assert not unreadable


def test_sentences_make_a_difference() -> None:
    trained = ganforge.load(f"pretrained:{NAME}")
    apple, heart = (trained.sample(4, seed=1, given=describe(trained, [text] * 4))
                    for text in ("red apple", "purple heart"))  # fmt: skip
    assert float((apple - heart).abs().mean()) > 0.1


def test_the_reference_classifier_finds_the_categories_of_captions() -> None:
    trained = ganforge.load(f"pretrained:{NAME}")
    dataset = open_dataset(trained.run.config.data.model_copy(update={"text_encoder": None}))
    train, classifier = dataset.splits["train"], classifier_of(dataset)
    assert train.labels is not None
    assert classifier is not None
    rows = torch.arange(0, len(train), 8)
    texts = [(train.captions or ())[row][0] for row in rows.tolist()]
    drawn = trained.sample(len(rows), seed=0, given=describe(trained, texts))
    score = mean_of_classes("", predictions(classifier, to_uint8(drawn)), train.labels[rows], classifier, {})
    assert score.value > 60  # 10 by guessing
