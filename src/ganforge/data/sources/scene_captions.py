"""Captions of scenes, from a small grammar: synonyms, free word order, and details left out."""

import numpy as np
from numpy.typing import NDArray

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
    SIZE,
    SIZES,
)

CAPTIONS_PER_IMAGE = 5
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SYNONYMS = {
    "red": ("red", "red", "crimson"),
    "purple": ("purple", "purple", "violet"),
    "cyan": ("cyan", "turquoise"),
    "grey": ("grey", "gray"),
    "small": ("small", "little", "tiny"),
    "large": ("large", "big"),
    "circle": ("circle", "disc"),
    "square": ("square", "square", "box"),
    "left": ("on the left", "at the left", "on the left side"),
    "right": ("on the right", "at the right", "on the right side"),
    "top": ("at the top", "near the top", "in the upper half"),
    "bottom": ("at the bottom", "near the bottom", "in the lower half"),
    "centre": ("in the middle", "in the centre", "in the center"),
}
_RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "top": ("above", "over"),
    "bottom": ("below", "under"),
}
_BEHIND = ("on a {} background", "on {}", "with a {} background", "in front of a {} background")
_DRAWS = 20  # random numbers for each caption, more than it needs


class _Words:
    """Choices of one caption, from numbers in [0, 1) that are drawn for all captions at once."""

    def __init__(self, draws: list[float]) -> None:
        self._draws = iter(draws)

    def happens(self, probability: float) -> bool:
        return next(self._draws) < probability

    def one_of(self, options: tuple[str, ...]) -> str:
        return options[int(next(self._draws) * len(options))]

    def word(self, name: str) -> str:
        return self.one_of(_SYNONYMS.get(name, (name,)))


def describe_scenes(attributes: NDArray[np.int64], random: np.random.Generator) -> list[list[str]]:
    """For each of the scenes `attributes` int64 `[count, columns]` its captions, `CAPTIONS_PER_IMAGE`.

    The first names everything; each other leaves out the size, the place or the background at random.
    """
    draws = random.random((len(attributes), CAPTIONS_PER_IMAGE, _DRAWS)).tolist()
    return [
        [_caption(scene, _Words(own), complete=not number) for number, own in enumerate(draws_of)]
        for scene, draws_of in zip(attributes.tolist(), draws, strict=True)
    ]


def _caption(scene: list[int], words: _Words, complete: bool) -> str:
    sized, behind, placed = (complete or words.happens(2 / 3) for _ in range(3))
    ground = words.one_of(_BEHIND).format(words.word(BACKGROUNDS[scene[BACKGROUND]])) if behind else ""
    if scene[SECOND + KIND] != NONE:
        body = _two_objects(scene, words, sized)
    else:
        thing, place = _thing(scene[FIRST:SECOND], words, sized), _place(scene[FIRST + PLACE], words)
        body = f"{place}, {thing}" if words.happens(0.2) else f"{thing} {place}"
        body = body if placed else thing
    if not ground:
        return body
    return f"{ground}, {body}" if words.happens(0.25) else f"{body}, {ground}"


def _two_objects(scene: list[int], words: _Words, sized: bool) -> str:
    """Both with their places, or one by its place next to the other; either comes first."""
    objects = [scene[FIRST:SECOND], scene[SECOND:]]
    if words.happens(0.5):
        objects.reverse()
    one, other = (_thing(each, words, sized) for each in objects)
    place, other_place = (each[PLACE] for each in objects)
    if words.happens(0.4):
        return f"{one} {words.one_of(_RELATIONS[PLACES[place]])} {other}"
    return f"{one} {_place(place, words)} and {other} {_place(other_place, words)}"


def _place(number: int, words: _Words) -> str:
    return words.word(PLACES[number])


def _thing(each: list[int], words: _Words, sized: bool) -> str:
    """An object with its article, as "a small red three", "a red three, small" or "a small three in red"."""
    size = words.word(SIZES[each[SIZE]]) if sized else ""
    colour, kind = words.word(COLOURS[each[COLOUR]]), _kind(each[KIND], words)
    order = words.one_of(("before", "before", "before", "size last", "colour last"))
    if order == "size last" and size:
        return _with_article(f"{colour} {kind} that is {size}")
    if order == "colour last":
        return _with_article(f"{size} {kind} in {colour}".strip())
    return _with_article(f"{size} {colour} {kind}".strip())


def _kind(number: int, words: _Words) -> str:
    name = KINDS[number]
    if not name.isdigit():
        return words.word(name)
    word = NUMBERS[number]
    return words.one_of((name, word, word, f"digit {name}", f"number {word}"))


def _with_article(noun: str) -> str:
    return f"{'an' if noun.startswith(('eight', '8')) else 'a'} {noun}"
