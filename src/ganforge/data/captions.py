"""Captions: texts as character codes, captions held out of training, and what a split holds of them."""

import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from ganforge.data.batch import Batch

# Of the code released with Reed et al. 2016 (`main_cls_int.lua`), its second hyphen left out.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{} "
MOST_CHARACTERS = 2_000  # of captions that are not English, the most frequent ones
NUM_FALLBACKS = 32  # codes that all other characters share, each character always the same one
LONGEST, SHORTEST = 201, 60  # characters: the paper's, and what its layers need for two steps at the end
HELD_OUT = 10  # of the training images with two captions or more, every tenth keeps one back


def num_codes(alphabet: str) -> int:
    """How many codes there are: 0 for nothing, the alphabet's characters, those shared by all others."""
    return 1 + len(alphabet) + NUM_FALLBACKS


def plain(text: str) -> str:
    """`text` in small letters, in Unicode's compatibility form, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def spec_of_captions(captions: Sequence[Sequence[str]] | None) -> tuple[str, int]:
    """The alphabet and length of codes for these captions, for each image some; "" and 0 if one has none.

    The paper's alphabet comes first, then what else occurs, the most frequent first.
    """
    if not captions or not all(captions):
        return "", 0
    counts: Counter[str] = Counter()
    longest = 0
    for texts in captions:
        for text in map(plain, texts):
            counts.update(text)
            longest = max(longest, len(text))
    others = sorted((c for c in counts if c not in ALPHABET), key=lambda c: (-counts[c], c))
    return ALPHABET + "".join(others[:MOST_CHARACTERS]), min(LONGEST, max(SHORTEST, longest))


def encode(texts: Sequence[str], alphabet: str, length: int) -> Tensor:
    """The codes int16 `[n, length]` of `texts`; what is longer is cut, what is shorter ends in zeros.

    A character that is not in the alphabet gets the code of its base letter (e for an accented e), or one of
    the codes that all others share.
    """
    index = {character: code for code, character in enumerate(alphabet, start=1)}
    codes = torch.zeros(len(texts), length, dtype=torch.int16)
    for row, text in enumerate(texts):
        found = [_code(character, index) for character in plain(text)[:length]]
        codes[row, : len(found)] = torch.tensor(found, dtype=torch.int16)
    return codes


def _code(character: str, index: dict[str, int]) -> int:
    if character in index:
        return index[character]
    base = unicodedata.normalize("NFKD", character)[0]
    if base in index:
        return index[base]
    return 1 + len(index) + zlib.crc32(character.encode("utf-8", "surrogatepass")) % NUM_FALLBACKS


def kept_captions(split: str, captions: Sequence[list[str]]) -> list[list[str]]:
    """For each image of a split the captions that training may see, of other splits than train all.

    An image without one, which only those splits have, gets an empty one.
    """
    held = dict(held_out_captions(captions)) if split == "train" else {}
    kept = [
        texts if row not in held else [text for number, text in enumerate(texts) if number != held[row]]
        for row, texts in enumerate(captions)
    ]
    return [texts or [""] for texts in kept]


def held_out_captions(captions: Sequence[list[str]]) -> list[tuple[int, int]]:
    """Which captions of training images no training sees: (image, number of its caption).

    One of every tenth image with two captions or more; a function of the captions alone.
    """
    found = []
    for row, texts in enumerate(captions):
        draw = zlib.crc32("\n".join(texts).encode("utf-8", "surrogatepass"))
        if len(texts) > 1 and draw % HELD_OUT == 0:
            found.append((row, draw // HELD_OUT % len(texts)))
    return found


@final
@dataclass(frozen=True)
class Texts:
    """The captions of a split in numbers, those of one image after those of another.

    `values` `[captions, ...]`: codes int16, or embeddings float32. `first` and `count` int64 `[images]` say
    which rows are an image's. A batch gets the mean of `average` of them, or of as many as there are.
    """

    values: Tensor
    first: Tensor
    count: Tensor
    average: int = 1

    @classmethod
    def of(cls, parts: Sequence[Tensor], average: int = 1) -> "Texts":
        """Those whose rows for each image are `parts`, none of them empty."""
        count = torch.tensor([len(part) for part in parts])
        return cls(torch.cat(list(parts)), count.cumsum(0) - count, count, average)

    def put_into(self, batch: Batch, indices: Tensor, draws: Tensor | None = None) -> Batch:
        """`batch` of the images `indices` int64 `[n]` with a caption of each.

        `draws` in [0, 1) `[n]` choose it; left out, it is the first. Several are this one and the next ones.
        """
        first, count = self.first[indices], self.count[indices]
        start = torch.zeros_like(count) if draws is None else (draws * count).long()
        if not self.values.is_floating_point():
            return replace(batch, captions=self.values[first + start].long())
        total, number = torch.zeros(len(indices), self.values.shape[1]), count.clamp(max=self.average)
        for step in range(self.average):
            more = self.values[first + (start + step) % count]
            total += torch.where((step < number)[:, None], more, 0)
        return replace(batch, embeddings=total / number[:, None])
