"""Real images that a training's samples are measured against."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ganforge.data.batch import Batch, as_images, conditions
from ganforge.data.dataset import Dataset, batch_of, held_out
from ganforge.evaluation.features.classifiers import ReferenceClassifier, classifier_of
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.runs.conditions import PREVIEW_COLUMNS
from ganforge.system import System, generates_images

NUM_REAL = 64
NUM_CLASSIFIED = 500
NUM_PAIRS = 16
# Of more images than these a search would see a part only, and miss the copies of the others.
MOST_REFERENCES = 10_000
# Copies are looked for among images of at most this side: a small copy is still a copy, and 64 samples
# against 10,000 digits take 0.06 s instead of 0.25 s.
LARGEST_SIDE = 16
CHUNK = 1_000


class Previews:
    """Some real images of a run's data, chosen once, and what they say about samples.

    `pairs` are held-out pairs for a system that translates sources, `captions` the embeddings and labels of
    training images for one conditioned on captions, each for a row of samples; else None.
    """

    def __init__(self, dataset: Dataset, seed: int, system: System | None = None) -> None:
        needs = frozenset[str]() if system is None else system.needs
        self.pairs = _held_out_pairs(dataset) if "sources" in needs else None
        self.captions = _captions(dataset, seed) if "embeddings" in needs else None
        if self.pairs is not None or (system is not None and not generates_images(system)):
            return
        self._dataset = dataset
        train = dataset.splits["train"]
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        real = batch_of(train, order[:NUM_REAL])
        self._real_distance = mean_distance(real.images)
        self._real_class_distance = mean_distance(real.images, real.labels)
        self._train = self._small_training_images()
        self._real_neighbour_distance = None if self._train is None else self._of_real(self._train, order)
        self._classifier = classifier_of(dataset)
        if self._classifier is not None:
            images = as_images(train.read(order[:NUM_CLASSIFIED]))
            real_counts, self._real_confidence = _classify(self._classifier, images)
            self._real_shares = real_counts / real_counts.sum()

    def measure(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        """What a line of the log says of the samples `images`; nothing where they are not finite.

        `sample_distance` is the mean L2 distance of all pairs of samples, `class_distance` that of those
        pairs with the same requested label; `neighbour_distance` the median of
        the samples' L2 distances to their nearest training images, all made small; `classifier_confidence` is
        the reference classifier's mean probability for its predictions; each next to that of real images.
        `classes` counts these predictions, `expected_classes` those of as many real images, or the requested
        `labels` int64 `[n]`. Of pairs only `sample_distance` is measured, the real one that of the
        targets, and `sample_l1`, the mean absolute difference to them.
        """
        if not images.isfinite().all():
            return {}
        if self.pairs is not None:
            return _measure_pairs(images, self.pairs.images)
        measured: dict[str, Any] = {"sample_distance": mean_distance(images)}
        measured["real_sample_distance"] = self._real_distance
        if labels is not None:
            measured["class_distance"] = mean_distance(images, labels)
            measured["real_class_distance"] = self._real_class_distance
        if self._train is not None:
            measured["neighbour_distance"] = _median_to_nearest(_small(images), self._train)
            measured["real_neighbour_distance"] = self._real_neighbour_distance
        if self._classifier is not None:
            counts, measured["classifier_confidence"] = _classify(self._classifier, images)
            measured["real_classifier_confidence"] = self._real_confidence
            expected = [round(len(images) * share, 2) for share in self._real_shares.tolist()]
            if labels is not None and self._classifier.class_names == self._dataset.spec.class_names:
                expected = labels.bincount(minlength=len(expected)).tolist()
            names = self._classifier.class_names
            measured["classes"] = dict(zip(names, counts.tolist(), strict=True))
            measured["expected_classes"] = dict(zip(names, expected, strict=True))
        return measured

    def recount(self, images: Tensor) -> dict[str, Any]:
        """The classes of other samples than those of the line before, counted for the same line."""
        if self._classifier is None or not images.isfinite().all():
            return {}
        counts, _ = _classify(self._classifier, images)
        return {"recounted_classes": dict(zip(self._classifier.class_names, counts.tolist(), strict=True))}

    def _small_training_images(self) -> Tensor | None:
        """All of them, where they are few and in memory; None otherwise, and for points."""
        train = self._dataset.splits["train"]
        few = 1 < len(train) <= MOST_REFERENCES and train.pixels is not None
        if self._dataset.spec.values != "pixels" or not few:
            return None
        chunks = torch.arange(len(train)).split(CHUNK)
        return torch.cat([_small(as_images(train.read(rows))) for rows in chunks])

    def _of_real(self, train: Tensor, order: Tensor) -> float:
        """The median distance of unseen images to the training images, or of some of these to the others."""
        for name in ("test", "validation"):
            if name in self._dataset.splits:
                split = self._dataset.splits[name]
                rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:NUM_REAL]
                return _median_to_nearest(_small(as_images(split.read(rows))), train)
        chosen, others = train[order[:NUM_REAL]], train[order[NUM_REAL:]]
        distances = torch.cdist(chosen.double(), chosen.double()).fill_diagonal_(math.inf).amin(1)
        if len(others):
            distances = torch.minimum(distances, nearest(chosen, others.split(CHUNK))[1])
        return float(distances.median())


def _held_out_pairs(dataset: Dataset) -> Batch:
    """The same pairs for every run of these data."""
    split = held_out(dataset)[1]
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    return batch_of(split, order[:NUM_PAIRS])


def _captions(dataset: Dataset, seed: int) -> Batch:
    """The first captions of `PREVIEW_COLUMNS` training images, each for a row of as many samples."""
    split = dataset.splits["train"]
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    batch = batch_of(split, order[:PREVIEW_COLUMNS].repeat_interleave(PREVIEW_COLUMNS))
    return conditions(batch.labels, embeddings=batch.embeddings)


def _measure_pairs(images: Tensor, targets: Tensor) -> dict[str, Any]:
    return {
        "sample_distance": mean_distance(images),
        "real_sample_distance": mean_distance(targets),
        "sample_l1": float((images - targets).abs().mean()),
    }


def mean_distance(images: Tensor, labels: Tensor | None = None) -> float | None:
    """The mean L2 distance of all pairs of `images` `[n, ...]`, of one label where there are `labels` `[n]`.

    None where there is no such pair.
    """
    distances = torch.pdist(images.flatten(1).double())
    if labels is not None:
        first, second = torch.triu_indices(len(images), len(images), 1)
        distances = distances[labels[first] == labels[second]]
    return float(distances.mean()) if len(distances) else None


def _classify(classifier: ReferenceClassifier, images: Tensor) -> tuple[Tensor, float]:
    """How many images the classifier predicts for each class, and its mean confidence."""
    probabilities = classifier.classify(images).softmax(1)
    counts = probabilities.argmax(1).bincount(minlength=len(classifier.class_names))
    return counts, float(probabilities.amax(1).mean())


def _small(images: Tensor) -> Tensor:
    """`images` averaged over squares so that no side is above `LARGEST_SIDE`, `[n, numbers]`."""
    factor = math.ceil(max(images.shape[2:]) / LARGEST_SIDE)
    return avg_pool2d(images, factor, ceil_mode=True).flatten(1)


def _median_to_nearest(images: Tensor, references: Tensor) -> float:
    return float(nearest(images, references.split(CHUNK))[1].median())
