"""Scores of captions on the real emoji: what they are for a system that draws each caption's own image."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images, conditions
from ganforge.data.captions import Texts
from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.evaluation.features.classifiers import ReferenceClassifier, classifier_of
from ganforge.evaluation.score import Evaluated, Score
from ganforge.evaluation.scores.captions import score_captions
from ganforge.evaluation.scores.diversity import score_path_length
from ganforge.runs.conditions import captions_like
from ganforge.runs.trained import Trained
from ganforge.system import LatentSystem, SystemConfig, Update

COUNT = 300


class Perfect:
    """Draws the held-out images in order, and has no discriminator."""

    def __init__(self, dataset: Dataset) -> None:
        self._images = dataset.splits["test"]
        self.system = SimpleNamespace(needs=frozenset({"embeddings"}))

    has_discriminator = False

    def draw(self, count: int, **_: Any) -> Iterator[Tensor]:
        yield as_images(self._images.read(torch.arange(count)))


class OfCaption(LatentSystem):
    """One pixel, which says the caption alone, or with `gain` also the latent."""

    Config = SystemConfig
    needs = frozenset({"embeddings"})

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.config = SystemConfig()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        return {}

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(count, 2, generator=generator)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        assert given is not None
        assert given.embeddings is not None
        return (given.embeddings[:, :1] + self.gain * latents[:, :1])[:, :, None, None]


@pytest.mark.parametrize("gain", [0.0, 1.0])
def test_both_ends_of_a_path_have_the_same_caption(gain: float) -> None:
    system = OfCaption(gain)
    trained = SimpleNamespace(
        draw_latents=lambda n, *_: system.draw_latents(n), with_weights=lambda _: system
    )
    pixels = SimpleNamespace(exact_features=lambda images: images.flatten(1), description="pixels")
    evaluated = Evaluated(
        cast(Dataset, None),
        torch.empty(0),
        {"seed": 0, "weights": "ema"},
        trained=cast(Trained, trained),
        conditions=conditions(embeddings=torch.arange(7.0)[:, None]),
        classifier=cast(ReferenceClassifier, pixels),
    )
    torch.manual_seed(0)
    found = score_path_length(evaluated)
    assert found[0].name == "perceptual_path_length"
    assert (found[0].value == 0) == (
        gain == 0
    )  # the captions differ by 1 and more: 1e8 if they were mixed up
    assert found[0].value < 100


@pytest.fixture(scope="module")
def scores() -> dict[str, Score]:
    dataset = open_dataset(DataOptions(data="emoji", size=32))
    splits = {
        name: images.with_texts(Texts.of([torch.zeros(1, 2)] * len(images)))
        for name, images in dataset.splits.items()
    }
    dataset = replace(dataset, splits=splits)
    train = splits["train"]
    samples = train.read(captions_like(dataset.splits["train"], COUNT, 5)[1])
    found = score_captions(
        Evaluated(
            dataset,
            samples,
            {"seed": 5, "weights": "ema"},
            {"captions": "of emoji"},
            trained=cast(Trained, Perfect(dataset)),
            classifier=classifier_of(dataset),
        )
    )
    return {score.name: score for score in found}


@pytest.mark.slow
def test_copies_of_the_right_images_are_of_the_right_classes(scores: dict[str, Score]) -> None:
    assert scores["subcategory_accuracy"].value > 99  # the nearest training image is the image itself
    assert scores["category_accuracy"].value > scores["category_accuracy_real"].value
    assert scores["category_accuracy_held_out"].value == scores["category_accuracy_real"].value


@pytest.mark.slow
def test_real_images_have_figures_of_their_own(scores: dict[str, Score]) -> None:
    """Of images that the judge was not trained on, class by class: below its accuracy of 86.59 %."""
    assert 60 < scores["category_accuracy_real"].value < 86
    assert 30 < scores["subcategory_accuracy_real"].value < 60
    for name, score in scores.items():
        assert ("captions" in score.protocol) != name.endswith("_real")


@pytest.mark.parametrize("captions", [None, [[]] * 455])
def test_held_out_images_without_captions_are_left_out(captions: list[list[str]] | None) -> None:
    """Neither NaN nor what is drawn of an empty text."""
    dataset = open_dataset(DataOptions(data="emoji", size=8))
    splits = {
        name: images.with_texts(Texts.of([torch.zeros(1, 2)] * len(images)))
        for name, images in dataset.splits.items()
    }
    splits["test"].captions = captions
    system = SimpleNamespace(needs=frozenset({"embeddings"}))

    def call(method: str, pairs: list[tuple[Tensor, Batch]], weights: str) -> list[Tensor]:
        assert (method, weights) == ("discriminate", "raw")
        return [given.embeddings[:, 0] for _, given in pairs if given.embeddings is not None]

    logits = SimpleNamespace(call=call, has_discriminator=True, system=system)
    samples = splits["train"].read(torch.arange(10))
    found = score_captions(
        Evaluated(
            replace(dataset, splits=splits),
            samples,
            {"seed": 0, "weights": "ema"},
            trained=cast(Trained, logits),
        )
    )
    assert found == []  # all embeddings are equal, so no pair differs
