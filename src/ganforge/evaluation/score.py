"""What is scored, and a score: one number with the protocol that makes it comparable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from ganforge.data.batch import Batch, as_images
from ganforge.data.dataset import Dataset, batch_of, held_out, some_rows
from ganforge.data.split import Split
from ganforge.errors import UserError
from ganforge.evaluation.features.cache import FeatureExtractor, real_features
from ganforge.evaluation.features.classifiers import ReferenceClassifier
from ganforge.evaluation.metrics.frechet import Moments, fewest_for_fid
from ganforge.evaluation.metrics.neighbours import Neighbourhoods
from ganforge.evaluation.progress import Progress, Say
from ganforge.runs.trained import Trained

CHUNK = 1_000
NUM_SAMPLES = 10_000


Protocol = dict[str, Any]


class Score(BaseModel):
    """One number, its unit and its protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    unit: str = ""
    plus_minus: float | None = None
    protocol: dict[str, Any]
    note: str = ""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Samples, what they are compared with, and how they were made: the argument of every score function.

    `samples` as data sets store them: pixels uint8 `[count, channels, height, width]`, or points; none of a
    text encoder. `conditions` are those they were drawn under, described by `condition_protocol`; `protocol`
    holds the weights, the seed and the step. `extractor` gives the features that are compared, `classifier`
    is the reference classifier of the data. `trained` is None for samples without a run, and while a run
    trains. `unrounded` are the samples as drawn, where the Parzen score needs them; `seconds` is what
    drawing them took, on `processes` processes. `explained`: notes may take computations of their own.
    `split` is what samples are compared with, in place of the held-out one; `memo` keeps what several
    evaluations of the same data share; `say` says how far a long computation is.
    """

    dataset: Dataset
    samples: Tensor
    protocol: Protocol
    condition_protocol: Protocol = field(default_factory=dict)
    trained: Trained | None = None
    conditions: Batch | None = None
    extractor: FeatureExtractor | None = None
    classifier: ReferenceClassifier | None = None
    sample_features: Tensor | None = None
    unrounded: Tensor | None = None
    seconds: float | None = None
    processes: int = 1
    kid_subsets: int = 100
    explained: bool = True
    mode_samples: int = 2_500
    split: str | None = None
    memo: dict[str, Any] = field(default_factory=dict)
    say: Say = lambda text: None

    @cached_property
    def sample_protocol(self) -> Protocol:
        """The protocol of a score of the samples."""
        return self.protocol | self.condition_protocol

    @cached_property
    def reference(self) -> tuple[str, Split]:
        """The split that the samples are compared with, and its name."""
        return held_out(self.dataset) if self.split is None else (self.split, self.dataset.splits[self.split])

    @property
    def compares_with_training(self) -> bool:
        """Whether the reference are the training images, for want of held-out ones."""
        return self.reference[1] is self.dataset.splits["train"]

    @property
    def labels(self) -> Tensor | None:
        """The requested classes int64 `[count]`, where samples were drawn by class."""
        return None if self.conditions is None else self.conditions.labels

    @property
    def needs(self) -> frozenset[str]:
        """What the system must be given to train; nothing where there is no run."""
        return frozenset() if self.trained is None else self.trained.system.needs

    @property
    def translated(self) -> bool:
        """Whether the samples were made from source images."""
        return self.conditions is not None and self.conditions.sources is not None

    @property
    def class_classifier(self) -> ReferenceClassifier | None:
        """The reference classifier, where its classes are those of the data."""
        known = self.classifier is not None and self.classifier.class_names == self.dataset.spec.class_names
        return self.classifier if known else None

    @cached_property
    def features(self) -> Tensor:
        """Features `[count, size]` of the samples."""
        if self.sample_features is not None:
            return self.sample_features
        assert self.extractor is not None
        progress, parts = Progress(self.say, "features of samples", len(self.samples)), list[Tensor]()
        for part in self.samples.split(CHUNK):
            parts.append(self.extractor.features(as_images(part)))
            progress.at(sum(map(len, parts)))
        return torch.cat(parts)

    @cached_property
    def real_features(self) -> Tensor:
        """Features of as many reference images, or of all where these are fewer."""
        assert self.extractor is not None
        name = self.reference[0] if self.reference[0] in self.dataset.splits else "train"
        return self._features_of(name, len(self.samples))

    @cached_property
    def train_features(self) -> Tensor:
        """Features of as many training images as there are reference images."""
        assert self.extractor is not None
        count = min(len(self.real_features), len(self.dataset.splits["train"]))
        return self._features_of("train", count)

    def _features_of(self, split: str, count: int) -> Tensor:
        assert self.extractor is not None
        key = f"{split} {count}"
        if key not in self.memo:
            self.memo[key] = real_features(self.extractor, self.dataset, split, count, self.say)
        features: Tensor = self.memo[key]
        return features

    @cached_property
    def real_moments(self) -> Moments:
        """The moments of `real_features`; they keep the root of the covariance, half the cost of a FID."""
        key = f"moments of {self.reference[0]} {len(self.real_features)}"
        if key not in self.memo:
            self.memo[key] = Moments.of(self.real_features)
        moments: Moments = self.memo[key]
        return moments

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """Those of equally many real and generated features, the first ones."""
        count = min(len(self.real_features), len(self.features))
        return Neighbourhoods(self.real_features[:count], self.features[:count])

    @cached_property
    def feature_protocol(self) -> Protocol:
        """The protocol of a score that compares the features of all samples with `real_features`."""
        assert self.extractor is not None
        return self.sample_protocol | {
            "features": self.extractor.description,
            "generated": len(self.samples),
            "reference": f"{self.dataset.options.data} {self.reference[0]}, {len(self.real_features)} images",
        }

    @property
    def fewest_for_fid(self) -> int:
        """The fewest samples, and real images, of which a FID is reported."""
        return fewest_for_fid(self.features.shape[1])

    @property
    def allows_fid(self) -> bool:
        """Whether there are as many."""
        return min(len(self.features), len(self.real_features)) >= self.fewest_for_fid


def finite(values: Tensor, what: str) -> Tensor:
    """`values`; raises UserError where one is NaN or infinite, which 8-bit pixels would hide."""
    if not values.isfinite().all():
        raise UserError(
            f"{what} hold NaN or infinity: training has diverged, train again with a smaller learning rate"
        )
    return values


def has_parzen(dataset: Dataset) -> bool:
    """Whether there are images to choose a window by, and others to score, two of each at least."""
    splits = dataset.splits
    return all(name in splits and len(splits[name]) > 1 for name in ("validation", "test"))


def rows_of(images: Split, count: int | None = None) -> Iterator[Tensor]:
    """The indices of `count` elements of a split, evenly spaced, or of all, a part at a time."""
    yield from some_rows(images, count).split(CHUNK)


def stored_parts(images: Split, count: int | None = None) -> Iterator[Tensor]:
    """The same elements as they are stored: pixels uint8, or points."""
    return (images.read(rows) for rows in rows_of(images, count))


def batches(images: Split, count: int | None = None) -> Iterator[Batch]:
    """The same elements as systems see them, with their labels and sources."""
    return (batch_of(images, rows) for rows in rows_of(images, count))
