"""Captions: texts as character codes, captions held out of training, and the captions of a split."""

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
LONGEST, SHORTEST = 201, 60  # characters: the paper's, and the least its layers need for two recurrent steps
HELD_OUT = 10  # of the training images with two captions or more, every tenth keeps one back


def num_codes(alphabet: str) -> int:
    """The number of codes: 0 for padding, the alphabet's characters, those shared by all others."""
    return 1 + len(alphabet) + NUM_FALLBACKS


def plain(text: str) -> str:
    """`text` in lower case, in Unicode's compatibility form, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def spec_of_captions(captions: Sequence[Sequence[str]] | None) -> tuple[str, int]:
    """The alphabet and code length for the captions of each image; "" and 0 if an image has none.

    The paper's alphabet comes first, then other characters, the most frequent first.
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
    """The codes int16 `[n, length]` of `texts`, cut or padded with zeros.

    A character that is not in the alphabet gets the code of its base letter (e for an accented e), or one of
    the codes that all others share.
    """
    index = {character: code for code, character in enumerate(alphabet, start=1)}
    codes = torch.zeros(len(texts), length, dtype=torch.int16)
    for row, text in enumerate(texts):
        numbers = [_code(character, index) for character in plain(text)[:length]]
        codes[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.int16)
    return codes


def _code(character: str, index: dict[str, int]) -> int:
    if character in index:
        return index[character]
    base = unicodedata.normalize("NFKD", character)[0]
    if base in index:
        return index[base]
    return 1 + len(index) + zlib.crc32(character.encode("utf-8", "surrogatepass")) % NUM_FALLBACKS


def kept_captions(split: str, captions: Sequence[list[str]]) -> list[list[str]]:
    """For each image of the training split the captions used in training; of other splits all.

    An image without a caption, which only other splits have, gets an empty one.
    """
    held = dict(held_out_captions(captions)) if split == "train" else {}
    kept = [
        texts if row not in held else [text for number, text in enumerate(texts) if number != held[row]]
        for row, texts in enumerate(captions)
    ]
    return [texts or [""] for texts in kept]


def held_out_captions(captions: Sequence[list[str]]) -> list[tuple[int, int]]:
    """Captions of training images that are held out of training: (image, number of its caption).

    One of every tenth image with two captions or more; a function of the captions alone.
    """
    held = []
    for row, texts in enumerate(captions):
        draw = zlib.crc32("\n".join(texts).encode("utf-8", "surrogatepass"))
        if len(texts) > 1 and draw % HELD_OUT == 0:
            held.append((row, draw // HELD_OUT % len(texts)))
    return held


@final
@dataclass(frozen=True)
class Texts:
    """The captions of a split as codes or embeddings, grouped by image.

    `values` `[captions, ...]`: codes int16, or embeddings float32. `first` and `count` int64 `[images]` are
    the rows of each image. A batch gets the mean of `average` of them, or of as many as there are.
    """

    values: Tensor
    first: Tensor
    count: Tensor
    average: int = 1

    @classmethod
    def of(cls, parts: Sequence[Tensor], average: int = 1) -> "Texts":
        """The texts whose rows for each image are `parts`, none of them empty."""
        count = torch.tensor([len(part) for part in parts])
        return cls(torch.cat(list(parts)), count.cumsum(0) - count, count, average)

    def put_into(self, batch: Batch, indices: Tensor, draws: Tensor | None = None) -> Batch:
        """`batch` of the images `indices` int64 `[n]` with a caption of each.

        `draws` in [0, 1) `[n]` choose the caption; left out, it is the first. An average takes the next ones
        too.
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
