"""The index of a set of tar shards: where each image lies, its label and its captions; never an image."""

import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from ganforge.data.formats import SUFFIXES
from ganforge.data.sources.image_folder import ordered_names
from ganforge.data.sources.storage import MAX_FILE_BYTES, is_hidden, is_unsafe
from ganforge.errors import UserError, printable
from ganforge.files.reading import MOST_JSON_BYTES, parse_json

INDEX = "index.safetensors"
VERSION = 1
_ARRAYS = ("counts", "offsets", "sizes", "labels", "caption_ends", "captions")
_MOST_SIDE_BYTES = 2**20  # of a label or of captions
_LONGEST_LABEL = 255  # characters, as of a folder that is a class


@dataclass(frozen=True)
class Shard:
    """A tar of `num_bytes` bytes, and the split that its images belong to."""

    name: str
    split: str
    num_bytes: int


@dataclass(frozen=True)
class ShardIndex:
    """The images of `shards`, one shard after the other.

    `counts` int64 `[shards]` are their numbers of images; `offsets` and `sizes` int64 `[images]` say where
    in its shard the encoded image lies, in bytes. `labels` int64 `[images]` index `class_names`; None where
    an image has none. `captions` uint8 are all captions in UTF-8, a line each, those of an image up to its
    `caption_ends` int64 `[images]`; None where no image has any.
    """

    shards: tuple[Shard, ...]
    counts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    caption_ends: NDArray[np.int64] | None
    captions: NDArray[np.uint8] | None

    @property
    def shard_of(self) -> NDArray[np.int64]:
        """The number of the shard of each image, int64 `[images]`."""
        return np.repeat(np.arange(len(self.shards)), self.counts)

    def captions_of(self, images: Iterable[int]) -> list[list[str]]:
        """The captions of each of the `images`."""
        if self.captions is None or self.caption_ends is None:
            return []
        ends = self.caption_ends
        texts = (
            self.captions[ends[image - 1] if image else 0 : ends[image]].tobytes().decode("utf-8", "replace")
            for image in images
        )
        return [[line for line in text.split("\n") if line] for text in texts]

    def of_shards(self, kept: list[int]) -> "ShardIndex":
        """The index of the shards with these numbers, in ascending order."""
        rows = np.isin(self.shard_of, kept)
        chosen = replace(
            self,
            shards=tuple(self.shards[number] for number in kept),
            counts=self.counts[kept],
            offsets=self.offsets[rows],
            sizes=self.sizes[rows],
            labels=None if self.labels is None else self.labels[rows],
        )
        if self.captions is None or self.caption_ends is None:
            return chosen
        lengths = np.diff(self.caption_ends, prepend=0)
        return replace(
            chosen,
            caption_ends=np.cumsum(lengths[rows]),
            captions=self.captions[np.repeat(rows, lengths)],
        )

    def to_bytes(self) -> bytes:
        """The index as a safetensors file."""
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        shards = [[shard.name, shard.split, shard.num_bytes] for shard in self.shards]
        about = {"version": VERSION, "shards": shards, "classes": self.class_names}
        # One entry, because the library writes several in any order.
        return safetensors.numpy.save(arrays, {"index": json.dumps(about)})


def parse_index(content: bytes, shown: str) -> ShardIndex:
    """The index in `content`; raises UserError where it is none, or contradicts itself."""
    try:
        arrays = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        about = parse_json(parse_json(content[8 : 8 + length])["__metadata__"]["index"].encode())
        if about["version"] != VERSION:
            raise ValueError(f"version {printable(str(about['version']))[:20]}, expected {VERSION}")
        shards = tuple(Shard(str(n), str(s), int(b)) for n, s, b in about["shards"])
        classes = tuple(str(name) for name in about["classes"])
        optional = {name: arrays.get(name) for name in ("labels", "caption_ends", "captions")}
        index = ShardIndex(
            shards=shards,
            counts=arrays["counts"],
            offsets=arrays["offsets"],
            sizes=arrays["sizes"],
            class_names=classes,
            **optional,
        )
        _check(index)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = printable(" ".join(str(error).split()))[:150]
        raise UserError(
            f"{shown} is no index of shards ({reason}): remove it, and the shards are read again"
        ) from error
    return index


def _check(index: ShardIndex) -> None:
    """Raise ValueError where arrays have other sizes than others say, or lead out of their shard."""
    count = len(index.offsets)
    expected: dict[str, tuple[NDArray[Any] | None, int | None, Any]] = {
        "counts": (index.counts, len(index.shards), np.int64),
        "offsets": (index.offsets, count, np.int64),
        "sizes": (index.sizes, count, np.int64),
        "labels": (index.labels, count, np.int64),
        "caption_ends": (index.caption_ends, count, np.int64),
        "captions": (index.captions, None, np.uint8),
    }
    for name, (array, length, kind) in expected.items():
        if array is None:
            continue
        if array.ndim != 1 or array.dtype != kind or (length is not None and len(array) != length):
            raise ValueError(f"{name} has another shape or type than expected")
    if (index.counts < 0).any() or int(index.counts.sum()) != count:
        raise ValueError(f"{count} images where the shards have {int(index.counts.sum())}")
    ends = np.array([shard.num_bytes for shard in index.shards], np.int64)[index.shard_of]
    inside = (index.offsets >= 0) & (index.sizes >= 0) & (index.sizes <= MAX_FILE_BYTES)
    if not (inside & (index.offsets <= ends - index.sizes)).all():
        raise ValueError("an image outside of its shard")
    if index.labels is not None and not ((index.labels >= 0) & (index.labels < len(index.class_names))).all():
        raise ValueError("a label without a class")
    if (index.captions is None) != (index.caption_ends is None):
        raise ValueError("captions without their ends")
    if index.captions is not None and index.caption_ends is not None:
        ends = index.caption_ends
        if (np.diff(ends, prepend=0) < 0).any() or (count and int(ends[-1]) != len(index.captions)):
            raise ValueError("captions that do not end where the images do")
    if any(is_unsafe(shard.name) or "/" in shard.name for shard in index.shards):
        raise ValueError("a shard outside of its folder")


@dataclass
class _Image:
    """What a shard says of an image; `caption` has a line for each one."""

    offset: int
    size: int
    label: str | None = None
    caption: str = ""


class IndexBuilder:
    """Collects the images of shards, as they are read one after the other or written."""

    def __init__(self) -> None:
        self.shards: list[Shard] = []
        self._counts: list[int] = []
        self._places: list[NDArray[np.int64]] = []
        self._labels: list[str | None] = []
        self._captions: list[str] = []

    def add(self, shard: Shard, images: Iterable[_Image]) -> None:
        """Add a shard and its images, in order."""
        listed = list(images)
        self.shards.append(shard)
        self._counts.append(len(listed))
        self._places.append(np.array([(i.offset, i.size) for i in listed], np.int64).reshape(-1, 2))
        self._labels += [image.label for image in listed]
        self._captions += [image.caption for image in listed]

    def build(self, class_names: tuple[str, ...] = ()) -> ShardIndex:
        """The index; labels are numbers of `class_names`, or, where there are none, in their own order."""
        places = np.concatenate([np.zeros((0, 2), np.int64), *self._places])
        names = {label for label in self._labels if label is not None}
        labelled = bool(self._labels) and None not in self._labels and len(names | {*class_names}) > 1
        numbered = names <= {str(number) for number in range(len(class_names))}
        order: tuple[str, ...] = ()
        number: dict[str, int] = {}
        if labelled and class_names and numbered:
            order, number = class_names, {str(place): place for place in range(len(class_names))}
        elif labelled:
            order = ordered_names(names)
            number = {name: place for place, name in enumerate(order)}
        texts = [caption.encode("utf-8", "replace") for caption in self._captions]
        some = any(texts)
        return ShardIndex(
            tuple(self.shards),
            np.array(self._counts, np.int64),
            np.ascontiguousarray(places[:, 0]),
            np.ascontiguousarray(places[:, 1]),
            np.array([number[label or ""] for label in self._labels], np.int64) if labelled else None,
            order,
            np.cumsum([len(text) for text in texts], dtype=np.int64) if some else None,
            np.frombuffer(b"".join(texts), np.uint8) if some else None,
        )


def read_shard(file: BinaryIO, *, seekable: bool) -> Iterator[_Image]:
    """The images of a tar in WebDataset's form: files of one key, up to the first dot, belong together.

    `cls` is a label, `txt` has a caption in each line, `json` may have both. Raises `tarfile.TarError` or
    OSError where it is damaged.
    """
    key, image, sides = "", None, dict[str, bytes]()
    with tarfile.open(fileobj=file, mode="r:" if seekable else "r|") as archive:
        for member in archive:
            name = member.name
            if not member.isreg() or member.issparse() or is_hidden(name):
                continue
            folder, _, last = name.rpartition("/")
            stem, _, ending = last.partition(".")
            if f"{folder}/{stem}" != key:
                if image is not None:
                    yield _described(image, sides)
                key, image, sides = f"{folder}/{stem}", None, {}
            if f".{ending.lower()}".endswith(SUFFIXES) and image is None and member.size <= MAX_FILE_BYTES:
                image = _Image(member.offset_data, member.size)
            elif ending.lower() in ("cls", "txt", "json") and member.size <= _MOST_SIDE_BYTES:
                content = archive.extractfile(member)
                sides[ending.lower()] = b"" if content is None else content.read()
    if image is not None:
        yield _described(image, sides)


def _described(image: _Image, sides: dict[str, bytes]) -> _Image:
    about: Any = {}
    if "json" in sides and len(sides["json"]) <= MOST_JSON_BYTES:
        try:
            about = parse_json(sides["json"])
        except ValueError:
            about = {}
    about = about if isinstance(about, dict) else {}
    label = sides["cls"].decode("utf-8", "replace").strip() if "cls" in sides else about.get("label")
    texts: Any = next((about[name] for name in ("texts", "text", "captions", "caption") if name in about), [])
    lines = [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []
    lines = sides["txt"].decode("utf-8", "replace").splitlines() if "txt" in sides else lines
    captions = [" ".join(line.split()) for line in lines if isinstance(line, str)]
    name = str(label) if isinstance(label, str | int) else ""
    image.label = name if 0 < len(name) <= _LONGEST_LABEL else None
    image.caption = "".join(f"{caption}\n" for caption in captions if caption)
    return image
