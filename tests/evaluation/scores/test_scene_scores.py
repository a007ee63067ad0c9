"""Scores of scenes: what they are for real images in place of samples, and for samples that are wrong."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from ganforge.data.batch import Batch, to_float
from ganforge.data.captions import Texts
from ganforge.data.dataset import Dataset, with_splits
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.scene_attributes import KIND, NONE, SECOND
from ganforge.evaluation.score import Evaluated, Score
from ganforge.evaluation.scores.scenes import PER_CAPTION, real_scenes, score_scenes, variety
from ganforge.runs.trained import Trained


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    """Scenes whose embeddings are the numbers of their images."""
    dataset = open_dataset(DataOptions(data="scenes"))
    splits = {
        name: images.with_texts(Texts.of(list(torch.arange(float(len(images)))[:, None, None])))
        for name, images in dataset.splits.items()
    }
    return with_splits(dataset, splits)


class Drawn:
    """A run whose samples are those that `draw_images` makes of the rows of the test split."""

    def __init__(self, draw_images: Callable[[Tensor], Tensor]) -> None:
        self.draw_images = draw_images
        self.system = SimpleNamespace(needs=frozenset({"embeddings"}))

    def draw(self, count: int, given: Batch, **_: Any) -> Iterator[Tensor]:
        assert given.embeddings is not None
        assert len(given.embeddings) == count
        yield to_float(self.draw_images(given.embeddings[:, 0].long()))


def scores_of(
    dataset: Dataset, draw_images: Callable[[Tensor], Tensor], count: int = 400
) -> dict[str, Score]:
    trained = cast(Trained, Drawn(draw_images))
    samples = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    evaluated = Evaluated(dataset, samples, {"weights": "ema", "seed": 0, "step": 1}, trained=trained)
    return {score.name: score for score in score_scenes(evaluated)}


def test_real_images_are_right_but_all_alike(scenes: Dataset) -> None:
    """The held-out images themselves: as right as can be, and one image for each caption."""
    scores = scores_of(scenes, scenes.splits["test"].read)
    assert scores["attributes_right"].value == scores["attributes_right_real"].value > 98.5
    assert scores["attributes_right_one_object"].value > 98.5
    assert scores["attributes_right_two_objects"].value > 97
    assert scores["background_right"].value == 100
    assert scores["variety_within_caption"].value == 0
    assert "mnist classifier" in scores["attributes_right"].protocol["read"]
    assert scores["attributes_right"].protocol["images"] == 400
    assert all(0 <= scores[f"{name}_right"].value <= 100 for name in ("kind", "colour", "size", "place"))


def test_other_images_of_the_captions_vary_as_real_ones(scenes: Dataset) -> None:
    def draw_images(rows: Tensor) -> Tensor:
        if len(rows) % PER_CAPTION or len(rows.unique()) == len(rows):
            return scenes.splits["test"].read(rows)
        return real_scenes(scenes, "test", rows[::PER_CAPTION], seed=1)

    assert scores_of(scenes, draw_images, 80)["variety_within_caption"].value == pytest.approx(1, abs=0.05)


def test_images_of_other_captions_are_wrong(scenes: Dataset) -> None:
    def draw_images(rows: Tensor) -> Tensor:
        return scenes.splits["test"].read((rows + 1) % 2_000)

    scores = scores_of(scenes, draw_images)
    assert scores["attributes_right"].value < 1
    assert 15 < scores["background_right"].value < 35  # of four
    assert scores["kind_right"].value < 15


def test_what_is_left_out_is_wrong(scenes: Dataset) -> None:
    """A second object of a scene that has one, and none where there should be two."""
    assert scenes.scenes is not None
    one = scenes.scenes["test"][:, SECOND + KIND] == NONE

    def draw_images(rows: Tensor) -> Tensor:
        images = scenes.splits["test"].read(rows)
        return torch.where(one[rows, None, None, None], images, images[:, :, :1, :1])

    scores = scores_of(scenes, draw_images)
    assert scores["attributes_right_two_objects"].value == 0
    assert scores["attributes_right_one_object"].value > 98.5
    share = 100 * float(one[torch.arange(400) * 5].double().mean())
    assert scores["colour_right"].value == pytest.approx(share, abs=1)


def test_variety() -> None:
    alike = torch.full((2 * PER_CAPTION, 3, 4, 4), 7, dtype=torch.uint8)
    assert variety(alike) == 0
    halves = alike.clone()
    halves[::2] = 7 + 51  # half of each caption's images differ by 0.2
    pairs = PER_CAPTION / 2 * PER_CAPTION / 2 / (PER_CAPTION * (PER_CAPTION - 1) / 2)
    assert variety(halves) == pytest.approx(0.2 * pairs, rel=1e-4)


def test_other_runs_have_no_such_scores(scenes: Dataset) -> None:
    none = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    assert score_scenes(Evaluated(scenes, none, {"seed": 0})) == []
    trained = cast(Trained, SimpleNamespace(system=SimpleNamespace(needs=frozenset())))
    assert score_scenes(Evaluated(scenes, none, {"seed": 0}, trained=trained)) == []
