"""Scores of a judge's features: distances of distributions, neighbourhoods, tests, memorising."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.data.dataset import Dataset, held_out, some_rows
from ganforge.evaluation.features.cache import FeatureNetwork, real_features
from ganforge.evaluation.features.classifiers import ReferenceClassifier
from ganforge.evaluation.metrics.by_class import by_class
from ganforge.evaluation.metrics.classifier_score import classifier_score
from ganforge.evaluation.metrics.distances import Neighbourhoods
from ganforge.evaluation.metrics.frechet import Moments, fewest_for_fid, frechet_distance
from ganforge.evaluation.metrics.frechet_infinity import NUM_SIZES, frechet_at_infinity
from ganforge.evaluation.metrics.kernel import kernel_distance
from ganforge.evaluation.metrics.manifold import density_coverage, precision_recall
from ganforge.evaluation.metrics.memorisation import memorisation
from ganforge.evaluation.metrics.two_sample import (
    HIDDEN_UNITS,
    NUM_STEPS,
    TwoSampleTest,
    classifier_test,
    nearest_neighbour_test,
)
from ganforge.evaluation.score import CHUNK, Protocol, Score

SMALLEST_COUNT = 100
"""Fewer samples or real images get no score of neighbourhoods, no test, and no distance within classes."""
NUM_SPLITS = 10
NUM_CLASS_SUBSETS = 10


@dataclass(frozen=True)
class _Sides:
    """Features `[n, d]` of samples, of held-out images, and of as many training images, with labels.

    `labels` and `real_labels` int64 `[n]` are there where the samples were asked for by class. `protocol` is
    that of a score which compares all samples with all these held-out images.
    """

    fake: Tensor
    real: Tensor
    train: Tensor
    labels: Tensor | None
    real_labels: Tensor | None
    has_held_out: bool
    dataset: Dataset
    protocol: Protocol

    @property
    def train_name(self) -> str:
        return f"{self.dataset.options.data} train, {len(self.train)} images"

    @property
    def fewest_for_fid(self) -> int:
        return fewest_for_fid(self.fake.shape[1])

    @property
    def allows_fid(self) -> bool:
        return min(len(self.fake), len(self.real)) >= self.fewest_for_fid


def score_distribution(
    judge: FeatureNetwork,
    samples: Tensor,
    labels: Tensor | None,
    dataset: Dataset,
    protocol: Protocol,
    fake: Tensor | None = None,
) -> list[Score]:
    """The scores of the features of `samples` uint8, asked for with `labels` int64 `[n]`, that apply.

    `fake` are these features, where they have been made already.
    """
    reference_name, reference = held_out(dataset)
    split = reference_name if reference_name in dataset.splits else "train"
    real = real_features(judge, dataset, split, len(samples))
    fake = _features(judge, iter(samples.split(CHUNK))) if fake is None else fake
    train_count = min(len(real), len(dataset.splits["train"]))
    sides = _Sides(
        fake=fake,
        real=real,
        train=real_features(judge, dataset, "train", train_count),
        labels=None if labels is None else labels.to(fake.device),
        real_labels=None
        if reference.labels is None
        else reference.labels[some_rows(reference, len(real))].to(real.device),
        has_held_out=reference is not dataset.splits["train"],
        dataset=dataset,
        protocol=protocol
        | {
            "features": judge.description,
            "generated": len(fake),
            "reference": f"{dataset.options.data} {reference_name}, {len(real)} images",
        },
    )
    scores = [*_frechet(sides, judge), _kernel(sides)]
    if min(len(real), len(fake)) >= SMALLEST_COUNT:
        scores += [*_within_classes(sides), *_neighbourhoods(sides), _classifier(sides), *_memorised(sides)]
    if isinstance(judge, ReferenceClassifier) and len(fake) >= NUM_SPLITS * SMALLEST_COUNT:
        scores.append(_classes_seen(judge, sides, protocol))
    return scores


def _features(judge: FeatureNetwork, parts: Iterator[Tensor]) -> Tensor:
    return torch.cat([judge.features(as_images(part)) for part in parts])


def _frechet(sides: _Sides, judge: FeatureNetwork) -> list[Score]:
    """FID, its extrapolation and its floor; or what can be said in their place."""
    if not sides.allows_fid:
        return _frechet_to_training(sides, judge)
    real, fake, train = (Moments.of(features) for features in (sides.real, sides.fake, sides.train))
    without_labels = {name: text for name, text in sides.protocol.items() if name != "labels"}
    scores = [
        Score(name="fid", value=frechet_distance(real, fake), protocol=sides.protocol),
        Score(
            name="fid_of_real_data",
            value=frechet_distance(real, train),
            protocol=without_labels
            | {"generated": f"{sides.train_name}, in place of samples", "weights": "none"},
            note="the floor: two sets of real images",
        ),
    ]
    smallest = max(sides.fewest_for_fid, len(sides.fake) // 10)
    if len(sides.fake) >= 2 * smallest:
        found = frechet_at_infinity(real, sides.fake, smallest)
        rule = f"{NUM_SIZES} random subsets of {smallest} to {len(sides.fake)} samples, subset seed 0"
        scores.append(
            Score(
                name="fid_infinity",
                value=found.value,
                plus_minus=found.half_width,
                protocol=sides.protocol | {"extrapolated from": rule},
                note="± half the 95 % interval of the line's intercept",
            )
        )
    return scores


def _frechet_to_training(sides: _Sides, judge: FeatureNetwork) -> list[Score]:
    """FID against all training images, as most papers have it, where held-out ones are too few."""
    train = sides.dataset.splits["train"]
    if min(len(sides.fake), len(train)) < sides.fewest_for_fid:
        return []
    real = real_features(judge, sides.dataset, "train")
    return [
        Score(
            name="fid_to_training",
            value=frechet_distance(Moments.of(real), Moments.of(sides.fake)),
            protocol=sides.protocol
            | {"reference": f"{sides.dataset.options.data} train, {len(real)} images"},
            note="held-out images are too few; copies of the training images score 0",
        )
    ]


def _kernel(sides: _Sides) -> Score:
    kernel = kernel_distance(sides.real, sides.fake)
    needed = f"no FID: it needs {sides.fewest_for_fid} samples and as many real images"
    return Score(
        name="kid",
        value=1_000 * kernel.mean,
        unit="x 10^-3",
        plus_minus=1_000 * kernel.std,
        protocol=sides.protocol | {"subsets": f"{kernel.num_subsets} of {kernel.subset_size}"},
        note="" if sides.allows_fid else needed,
    )


def _within_classes(sides: _Sides) -> list[Score]:
    """The mean over classes of FID, or of KID where a class has too few for that, of classes asked for."""
    if sides.labels is None or sides.real_labels is None:
        return []
    classes = len(sides.dataset.spec.class_names)
    counts = torch.stack([labels.bincount(minlength=classes) for labels in (sides.labels, sides.real_labels)])
    fewest = int(counts.min())
    if fewest < SMALLEST_COUNT:
        return []

    def frechet(real: Tensor, fake: Tensor) -> float:
        return frechet_distance(Moments.of(real), Moments.of(fake))

    def kernel(real: Tensor, fake: Tensor) -> float:
        return 1_000 * kernel_distance(real, fake, NUM_CLASS_SUBSETS, subset_size=fewest).mean

    is_frechet = fewest >= sides.fewest_for_fid
    distance = frechet if is_frechet else kernel
    values = by_class(distance, sides.real, sides.real_labels, sides.fake, sides.labels)
    worst = max(range(classes), key=values.__getitem__)
    rule: Protocol = {"classes": f"mean over {classes}, of {fewest} images or more"}
    if not is_frechet:
        rule |= {"subsets": f"{NUM_CLASS_SUBSETS} of {fewest}"}
    return [
        Score(
            name="fid_within_classes" if is_frechet else "kid_within_classes",
            value=sum(values) / classes,
            unit="" if is_frechet else "x 10^-3",
            protocol=sides.protocol | rule,
            note=f"worst: {values[worst]:.4g}, class {sides.dataset.spec.class_names[worst]}",
        )
    ]


def _evenly(sides: _Sides) -> tuple[Tensor, Tensor, Protocol]:
    """Equally many real features and fakes, the first ones, and the protocol of what compares them."""
    count = min(len(sides.real), len(sides.fake))
    return sides.real[:count], sides.fake[:count], sides.protocol | {"generated": count}


def _neighbourhoods(sides: _Sides) -> list[Score]:
    """Precision, recall, density, coverage, and the accuracy of the nearest neighbour."""
    real, fake, protocol = _evenly(sides)
    pairs = Neighbourhoods(real, fake)
    shares, spread, test = precision_recall(pairs), density_coverage(pairs), nearest_neighbour_test(pairs)
    first, second = protocol | {"k": shares.k}, protocol | {"k": spread.k}
    return [
        Score(name="precision", value=shares.precision, protocol=first),
        Score(name="recall", value=shares.recall, protocol=first),
        Score(name="density", value=spread.density, protocol=second),
        Score(
            name="coverage",
            value=spread.coverage,
            protocol=second,
            note=f"about {1 - 2.0**-spread.k:.3f} of perfect samples",
        ),
        _accuracy("nearest_neighbour_accuracy", test, protocol | {"judged by": "leave-one-out, k = 1"}),
    ]


def _classifier(sides: _Sides) -> Score:
    real, fake, protocol = _evenly(sides)
    rule = f"{HIDDEN_UNITS} hidden units, {NUM_STEPS} steps on one half, judged on the other, seed 0"
    return _accuracy("classifier_accuracy", classifier_test(real, fake), protocol | {"judged by": rule})


def _accuracy(name: str, test: TwoSampleTest, protocol: Protocol) -> Score:
    chance = 100 * (0.25 / test.num_judged) ** 0.5
    p_value = f"p = {test.p_value:.2g}" if test.p_value >= 1e-16 else "p < 1e-16"
    sides = f"of real {100 * test.real_accuracy:.4g}, of generated {100 * test.fake_accuracy:.4g} %"
    return Score(
        name=name,
        value=100 * test.accuracy,
        unit="%",
        protocol=protocol,
        note=f"chance: 50 ± {chance:.2g} %, {p_value}; {sides}",
    )


def _memorised(sides: _Sides) -> list[Score]:
    """Distances to training images over those to held-out ones, where there are as many of both."""
    if not sides.has_held_out or len(sides.train) != len(sides.real):
        return []
    found = memorisation(sides.fake, sides.train, sides.real)
    return [
        Score(
            name="memorisation_ratio",
            value=found.ratio,
            plus_minus=found.standard_error,
            protocol=sides.protocol | {"against": sides.train_name},
            note=f"{100 * found.share_nearer_to_training:.4g} % of samples are nearer to a training image",
        )
    ]


def _classes_seen(judge: ReferenceClassifier, sides: _Sides, protocol: Protocol) -> Score:
    """The Inception Score by the judge, and what the real images score."""
    found = classifier_score(judge.logits(sides.fake), NUM_SPLITS)
    note = f"at most {len(judge.class_names)}"
    if len(sides.real) == len(sides.fake):
        note += (
            f"; of the {len(sides.real)} real images {classifier_score(judge.logits(sides.real)).mean:.4g}"
        )
    return Score(
        name="classifier_score",
        value=found.mean,
        plus_minus=found.std,
        protocol=protocol
        | {"generated": len(sides.fake), "classifier": judge.description, "splits": found.num_splits},
        note=note,
    )
