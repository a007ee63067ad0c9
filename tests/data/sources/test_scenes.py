"""Scenes: held-out combinations held out, captions that say what is drawn, the same scenes each time."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from ganforge.data.check import check
from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.arrays import Arrays
from ganforge.data.sources.catalogue import locate
from ganforge.data.sources.scene_attributes import (
    BACKGROUND,
    BACKGROUNDS,
    COLOUR,
    COLOURS,
    FIRST,
    KIND,
    KINDS,
    NONE,
    PLACE,
    PLACES,
    SECOND,
    SIZES,
)
from ganforge.data.sources.scene_captions import CAPTIONS_PER_IMAGE, NUMBERS, describe_scenes
from ganforge.data.sources.scenes import draw_scenes, sorted_digits
from ganforge.errors import UserError

WORDS = {
    **{name: (name, NUMBERS[int(name)]) for name in KINDS[:10]},
    **{
        "circle": ("circle", "disc"),
        "square": ("square", "box"),
        "triangle": ("triangle",),
        "star": ("star",),
    },
    **{"red": ("red", "crimson"), "purple": ("purple", "violet"), "cyan": ("cyan", "turquoise")},
    **{"green": ("green",), "blue": ("blue",), "yellow": ("yellow",), "grey": ("grey", "gray")},
    **{"small": ("small", "little", "tiny"), "large": ("large", "big")},
    **{"left": ("left",), "right": ("right",), "centre": ("middle", "centre", "center")},
    **{"top": ("top", "upper", "above", "over"), "bottom": ("bottom", "lower", "below", "under")},
    **{"black": ("black",), "white": ("white",), "pink": ("pink",)},
}


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return open_dataset(DataOptions(data="scenes"))


def objects(attributes: Tensor) -> Tensor:
    """All objects `[n, 4]` of scenes."""
    both = torch.cat([attributes[:, FIRST:SECOND], attributes[:, SECOND:]])
    return both[both[:, KIND] != NONE]


def test_shape_and_splits(scenes: Dataset) -> None:
    assert scenes.spec.shape == (3, 32, 32)
    assert {name: len(split) for name, split in scenes.splits.items()} == {"train": 18_000, "test": 2_000}
    assert scenes.spec.class_names == KINDS
    assert scenes.scenes is not None
    for name, split in scenes.splits.items():
        assert split.labels is not None
        assert torch.equal(split.labels, scenes.scenes[name][:, FIRST + KIND])
        two = float((scenes.scenes[name][:, SECOND + KIND] != NONE).float().mean())
        assert 0.3 < two < 0.37


def test_combinations_of_the_test_split_never_occur_in_training(scenes: Dataset) -> None:
    assert scenes.scenes is not None
    seen = {
        name: {tuple(row) for row in objects(part)[:, [KIND, COLOUR, PLACE]].tolist()}
        for name, part in scenes.scenes.items()
    }
    assert not seen["train"] & seen["test"]
    total = len(KINDS) * len(COLOURS) * len(PLACES)
    assert len(seen["train"] | seen["test"]) == total
    assert 0.08 < len(seen["test"]) / total < 0.12
    for one, other in combinations(range(3), 2):  # what is new is the combination, not a pair
        pairs = [{(row[one], row[other]) for row in part} for part in seen.values()]
        assert len(pairs[0]) == max(len(pair) for pair in pairs)
        assert pairs[1] <= pairs[0]


def test_two_objects_differ_in_colour_and_are_in_order(scenes: Dataset) -> None:
    assert scenes.scenes is not None
    for part in scenes.scenes.values():
        two = part[part[:, SECOND + KIND] != NONE]
        assert bool((two[:, FIRST + COLOUR] != two[:, SECOND + COLOUR]).all())
        places = {tuple(row) for row in two[:, [FIRST + PLACE, SECOND + PLACE]].tolist()}
        assert places == {(0, 1), (2, 3)}


def names_of(scene: list[int]) -> set[str]:
    names = {BACKGROUNDS[scene[BACKGROUND]]}
    for start in (FIRST, SECOND):
        kind, colour, size, place = scene[start : start + 4]
        if kind != NONE:
            names |= {KINDS[kind], COLOURS[colour], SIZES[size], PLACES[place]}
    return names


def test_first_captions_name_everything_and_others_nothing_else(scenes: Dataset) -> None:
    assert scenes.scenes is not None
    captions = scenes.splits["test"].captions
    assert captions is not None
    left_out = 0
    for scene, texts in zip(scenes.scenes["test"].tolist(), captions, strict=True):
        assert len(texts) == CAPTIONS_PER_IMAGE
        names = names_of(scene)
        for number, text in enumerate(texts):
            words = set(text.replace(",", "").split())
            said = {name for name, synonyms in WORDS.items() if words & set(synonyms)}
            if "that" in words or "number" in words or "digit" in words or scene[SECOND + KIND] != NONE:
                said -= {
                    "1"
                } - names  # "left of a red one" and "number one" are ones; nothing else has the word
            missing = names - said
            if number == 0 and scene[SECOND + KIND] == NONE:
                assert not missing, (text, missing)
            elif number == 0:  # "above" says both places
                assert not missing - set(PLACES), (text, missing)
            left_out += bool(missing)
            assert not said - names - set(PLACES), (text, said - names)
    assert left_out > 3_000


def test_captions_are_said_in_many_ways(scenes: Dataset) -> None:
    captions = scenes.splits["train"].captions
    assert captions is not None
    assert len({text for texts in captions for text in texts}) > 50_000
    scene = np.array([[0, 8, 0, 1, 0, 13, 2, 0, 1]] * 300)
    texts = [text for own in describe_scenes(scene, np.random.default_rng(0)) for text in own]
    for words in (
        "an eight",
        "an 8",
        "a digit 8",
        "to the left of",
        "to the right of",
        "and",
        "crimson",
        "on black",
    ):
        assert any(words in text or f"{words[0]} big" in text for text in texts), words
    assert any(text.startswith("on a black background,") for text in texts)
    assert not any(" a 8" in f" {text}" or "  " in text or text != text.strip() for text in texts)


def test_the_scenes_are_the_same_each_time(scenes: Dataset) -> None:
    again = open_dataset(DataOptions(data="scenes"))
    assert again.fingerprint == scenes.fingerprint
    assert torch.equal(
        again.splits["test"].read(torch.arange(50)), scenes.splits["test"].read(torch.arange(50))
    )
    assert again.splits["test"].captions == scenes.splits["test"].captions
    # The published meaning of the name: a change of these breaks every comparison.
    assert scenes.splits["train"].captions is not None
    assert scenes.splits["train"].captions[1][0] == "at the bottom, a little yellow number one, on white"


def test_a_larger_side_draws_the_same_scenes_finer(scenes: Dataset) -> None:
    assert scenes.scenes is not None
    mnist = locate(DataOptions(data="mnist"))
    assert isinstance(mnist, Arrays)
    attributes, digits = scenes.scenes["test"][:100].numpy(), sorted_digits(mnist, "test")
    small, large = (
        torch.from_numpy(draw_scenes(attributes, digits, side, np.random.default_rng(1))).float()
        for side in (32, 64)
    )
    shrunk = torch.nn.functional.interpolate(large, size=(32, 32), mode="area")
    other = torch.from_numpy(draw_scenes(attributes, digits, 32, np.random.default_rng(2))).float()
    assert float((shrunk - small).abs().mean()) < 4
    assert float((other - small).abs().mean()) > 12


def test_options(scenes: Dataset) -> None:
    rectangle = {"size": "16x24", "fit": "stretch", "channels": "grey", "pairs": "edges"}
    other = open_dataset(DataOptions.model_validate({"data": "scenes"} | rectangle))
    assert other.spec.shape == other.spec.source_shape == (1, 16, 24)
    assert other.fingerprint != scenes.fingerprint
    assert other.splits["test"].captions == scenes.splits["test"].captions
    with pytest.raises(UserError, match="--label-column subcategory is for image files"):
        open_dataset(DataOptions(data="scenes", label_column="subcategory"))


def test_check() -> None:
    report = check(DataOptions(data="scenes", size=16))
    assert report.shape == (3, 16, 16)
    assert report.counts == {"train": 18_000, "test": 2_000}
    assert report.with_captions == 20_000
    assert not report.problems
    assert not report.warnings
    assert set(report.classes) == set(KINDS)
