"""Features of real images, kept on disk: they are most of the cost of evaluating on the same data again."""

import hashlib
import json
from typing import Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.data.dataset import Dataset, some_rows
from ganforge.evaluation.progress import Progress, Say
from ganforge.files.atomic import replace_file
from ganforge.files.download import cache_folder

CHUNK = 1_000
FORM = 2
"""Of the files; a higher number leaves those of earlier versions alone and unread."""


class FeatureExtractor(Protocol):
    """Turns images into features `[n, feature_size]`; `description` is printed next to every number of it.

    `identity` distinguishes an extractor, weights included, from any other; without one nothing is kept.
    """

    description: str
    identity: str
    feature_size: int

    def features(self, images: Tensor) -> Tensor:
        """Features float32 of `images` `[n, channels, height, width]` in [-1, 1]."""
        ...


def real_features(
    extractor: FeatureExtractor,
    dataset: Dataset,
    split: str,
    count: int | None = None,
    say: Say = lambda text: None,
) -> Tensor:
    """Features of `count` images of a split (`some_rows`), or of all: from the cache, else made and kept.

    On the CPU; `say` says how far it is. A file in the cache is named by the data's fingerprint and options,
    the split, the count and the identity of the extractor; a damaged one is made again, and a cache that
    cannot be written is not used.
    """
    images = dataset.splits[split]
    chosen = some_rows(images, count)
    count = len(chosen)
    path = cache_folder() / "features" / f"{_key(extractor, dataset, split, count)}.safetensors"
    kept = _read(path.read_bytes(), count) if extractor.identity and path.is_file() else None
    if kept is not None:
        return kept
    progress, parts = Progress(say, f"features of {split} images", count), list[Tensor]()
    for rows in chosen.split(CHUNK):
        parts.append(extractor.features(as_images(images.read(rows))).float().cpu())
        progress.at(sum(map(len, parts)))
    features = torch.cat(parts)
    if extractor.identity:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, _content(features))
        except OSError:  # a full or read-only disk: the features are here all the same
            pass
    return features


def _key(extractor: FeatureExtractor, dataset: Dataset, split: str, count: int) -> str:
    # Where the data lie does not matter; what is made of them does.
    options = dataset.options.model_dump(mode="json", exclude={"data", "sources"})
    parts = [FORM, extractor.identity, dataset.fingerprint, options, split, count]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content(features: Tensor) -> bytes:
    digest = hashlib.sha256(features.numpy().data.cast("B")).hexdigest()
    return safetensors.torch.save({f"features {digest}": features})


def _read(content: bytes, count: int) -> Tensor | None:
    """The features in a file, or None where it is damaged: their SHA-256 is part of their name."""
    try:
        ((name, features),) = safetensors.torch.load(content).items()
    except (SafetensorError, ValueError):
        return None
    digest = hashlib.sha256(features.contiguous().numpy().data.cast("B")).hexdigest()
    return features if name == f"features {digest}" and len(features) == count else None
