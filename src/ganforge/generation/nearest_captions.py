"""Which training captions are nearest to a prompt: what a text-to-image run can know of it."""

import math
import re
from collections.abc import Sequence

from ganforge.data.captions import plain
from ganforge.data.sources.entry import of
from ganforge.errors import printable

NEAR = 0.5  # of what the words of a prompt weigh: a caption with less is not near
SHOWN = 2
MOST_PROMPTS = 8
# They say nothing of an image; in other languages their frequency in the captions does the same.
_EMPTY = re.compile(r"an?|and|are|at|by|for|from|in|is|its?|of|on|or|that|the|this|to|with")


class KnownCaptions:
    """Captions that a run was trained on, found by the words that they share with a prompt.

    A word counts the more, the fewer captions have it (inverse document frequency). Words are compared, not
    embeddings: these place every text near some caption, also one whose words they never saw.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        self._captions = list(dict.fromkeys(map(plain, captions)))
        self._words = [_words(caption) for caption in self._captions]
        self._numbers: dict[str, list[int]] = {}
        for number, words in enumerate(self._words):
            for word in words:
                self._numbers.setdefault(word, []).append(number)

    def _weight(self, word: str) -> float:
        return math.log((1 + len(self._captions)) / (1 + len(self._numbers.get(word, ())))) + 0.1

    def describe(self, prompt: str) -> str:
        """A line: the captions closest to `prompt`, or that none is near, and words that no caption has."""
        text = plain(prompt)
        if text in self._captions:
            return f'"{printable(prompt)}" is a training caption'
        words = _words(text)
        unknown = [word for word in words if word not in self._numbers]
        closest, near = self._closest(words)
        if not closest:
            return (
                f'"{printable(prompt)}": no training caption has any of these words: samples will not show it'
            )
        listed = ", ".join(f'"{printable(self._captions[number])}"' for number in closest)
        line = f"closest: {listed}" if near else f"no training caption is near; closest: {listed}"
        missing = f"; no caption has {_listed(unknown)}" if unknown else ""
        return f'"{printable(prompt)}": {line}{missing}'

    def _closest(self, words: Sequence[str]) -> tuple[list[int], bool]:
        """The numbers of the closest captions, the best first, and whether the first is near."""
        common: dict[int, float] = {}
        for word in words:
            weight = self._weight(word)
            for number in self._numbers.get(word, ()):
                common[number] = common.get(number, 0.0) + weight
        total = sum(map(self._weight, words))

        def score(number: int) -> float:  # Dice's, so that a caption with little else comes first
            return 2 * common[number] / (total + sum(map(self._weight, self._words[number])))

        best = sorted(common, key=lambda number: (-score(number), number))[:SHOWN]
        return best, bool(best) and common[best[0]] >= NEAR * total


def _words(text: str) -> list[str]:
    """The words of a plain text, each once; of plurals the singular."""
    found = re.findall(r"\w+", text)
    words = [word for word in found if not _EMPTY.fullmatch(word)] or found
    return list(dict.fromkeys(map(_singular, words)))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _listed(words: Sequence[str]) -> str:
    quoted = [f'"{printable(word)}"' for word in words[:5]]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def describe_prompts(captions: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """A line for each of the first prompts; none where there are no captions."""
    if not captions:
        return []
    known = KnownCaptions(captions)
    lines = [known.describe(prompt) for prompt in prompts[:MOST_PROMPTS]]
    more = len(prompts) - MOST_PROMPTS
    return [*lines, f"and {of(more, 'more prompt')}"] if more > 0 else lines
