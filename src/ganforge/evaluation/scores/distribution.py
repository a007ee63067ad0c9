"""Scores of features: distances of distributions, neighbourhoods, two-sample tests, memorisation."""

import torch
from torch import Tensor

from ganforge.data.dataset import some_rows
from ganforge.evaluation.features.cache import real_features
from ganforge.evaluation.features.classifiers import ReferenceClassifier
from ganforge.evaluation.metrics.classifier_score import classifier_score
from ganforge.evaluation.metrics.frechet import (
    NUM_SIZES,
    Moments,
    by_class,
    frechet_at_infinity,
    frechet_distance,
)
from ganforge.evaluation.metrics.kernel import SUBSET_SIZE, kernel_distance
from ganforge.evaluation.metrics.neighbours import (
    Neighbourhoods,
    density_coverage,
    memorisation,
    precision_recall,
)
from ganforge.evaluation.metrics.two_sample import (
    HIDDEN_UNITS,
    NUM_STEPS,
    TwoSampleTest,
    classifier_test,
    nearest_neighbour_test,
)
from ganforge.evaluation.score import Evaluated, Protocol, Score

SMALLEST_COUNT = 100
"""Fewer samples or real images get no score of neighbourhoods, no test, and no distance within classes."""
PAPERS_COUNT = 10_000
"""Images of either side of which the papers give density and coverage; precision and recall have 50,000."""
NUM_SPLITS = 10
PART_SIZE = 1_000
"""Samples in a part of the Inception Score below which a note names its bias; the paper has 5,000."""
NUM_CLASS_SUBSETS = 10


def score_distribution(evaluated: Evaluated) -> list[Score]:
    """All scores of the features of samples that apply; none without an extractor."""
    return [
        *score_fid(evaluated),
        *score_fid_floor(evaluated),
        *score_fid_infinity(evaluated),
        *score_fid_to_training(evaluated),
        *score_kid(evaluated),
        *score_within_classes(evaluated),
        *score_precision_recall(evaluated),
        *score_two_sample_tests(evaluated),
        *score_memorisation(evaluated),
        *score_classifier(evaluated),
    ]


def score_fid(evaluated: Evaluated) -> list[Score]:
    """The Fréchet distance of the features of samples and of held-out images, where both are enough."""
    if evaluated.extractor is None or not evaluated.allows_fid:
        return []
    value = frechet_distance(evaluated.real_moments, Moments.of(evaluated.features))
    return [Score(name="fid", value=value, protocol=evaluated.feature_protocol)]


def score_fid_floor(evaluated: Evaluated) -> list[Score]:
    """The FID of training images in place of samples: what perfect samples would score.

    None where the reference are the training images themselves.
    """
    if evaluated.extractor is None or not evaluated.allows_fid or evaluated.compares_with_training:
        return []
    train = evaluated.train_features
    generated = f"{evaluated.dataset.options.data} train, {len(train)} images, in place of samples"
    rule = {name: text for name, text in evaluated.feature_protocol.items() if name != "labels"}
    return [
        Score(
            name="fid_floor",
            value=frechet_distance(evaluated.real_moments, Moments.of(train)),
            protocol=rule | {"generated": generated, "weights": "none"},
            note="the floor: two sets of real images",
        )
    ]


def score_fid_infinity(evaluated: Evaluated) -> list[Score]:
    """The FID extrapolated to infinitely many samples."""
    if evaluated.extractor is None or not evaluated.allows_fid:
        return []
    count = len(evaluated.features)
    smallest = max(evaluated.fewest_for_fid, count // 10)
    if count < 2 * smallest:
        return []
    line = frechet_at_infinity(evaluated.real_moments, evaluated.features, smallest)
    rule = f"{NUM_SIZES} random subsets of {smallest} to {count} samples, subset seed 0"
    return [
        Score(
            name="fid_infinity",
            value=line.value,
            plus_minus=line.half_width,
            protocol=evaluated.feature_protocol | {"extrapolated from": rule},
            note="± half the 95 % interval of the line's intercept",
        )
    ]


def score_fid_to_training(evaluated: Evaluated) -> list[Score]:
    """FID against all training images, as in most papers, where held-out ones are too few."""
    train = evaluated.dataset.splits["train"]
    if evaluated.extractor is None or evaluated.allows_fid:
        return []
    if min(len(evaluated.features), len(train)) < evaluated.fewest_for_fid:
        return []
    real = real_features(evaluated.extractor, evaluated.dataset, "train")
    reference = f"{evaluated.dataset.options.data} train, {len(real)} images"
    return [
        Score(
            name="fid_to_training",
            value=frechet_distance(Moments.of(real), Moments.of(evaluated.features)),
            protocol=evaluated.feature_protocol | {"reference": reference},
            note="held-out images are too few; copies of the training images score 0",
        )
    ]


def score_kid(evaluated: Evaluated) -> list[Score]:
    """The kernel distance, times 1,000, of two images of either side at least."""
    if evaluated.extractor is None or min(len(evaluated.real_features), len(evaluated.features)) < 2:
        return []
    kernel = kernel_distance(evaluated.real_features, evaluated.features, evaluated.kid_subsets)
    notes = []
    if not evaluated.allows_fid:
        notes.append(f"no FID: it needs {evaluated.fewest_for_fid} samples and as many real images")
    if not _has_neighbourhoods(evaluated):
        notes.append(
            f"no precision, recall, density, coverage and two-sample tests: {SMALLEST_COUNT} of each"
        )
    if kernel.std is None:
        notes.append(f"no ±: subsets of {kernel.subset_size} would overlap below {2 * SUBSET_SIZE:,} of each")
    return [
        Score(
            name="kid",
            value=1_000 * kernel.mean,
            unit="x 10^-3",
            plus_minus=None if kernel.std is None else 1_000 * kernel.std,
            protocol=evaluated.feature_protocol
            | {"subsets": f"{kernel.num_subsets} of {kernel.subset_size}"},
            note="; ".join(notes),
        )
    ]


def _has_neighbourhoods(evaluated: Evaluated) -> bool:
    if evaluated.extractor is None:
        return False
    return min(len(evaluated.real_features), len(evaluated.features)) >= SMALLEST_COUNT


def _equal_protocol(evaluated: Evaluated) -> Protocol:
    """The protocol of what compares equally many real and generated features, the first ones."""
    count = min(len(evaluated.real_features), len(evaluated.features))
    return evaluated.feature_protocol | {"generated": count}


def score_within_classes(evaluated: Evaluated) -> list[Score]:
    """The mean over requested classes of FID, or of KID where a class has too few images for that."""
    labels, reference = evaluated.labels, evaluated.reference[1].labels
    if labels is None or reference is None or not _has_neighbourhoods(evaluated):
        return []
    labels = labels.to(evaluated.features.device)
    real_labels = reference[some_rows(evaluated.reference[1], len(evaluated.real_features))]
    real_labels = real_labels.to(evaluated.real_features.device)
    names = evaluated.dataset.spec.class_names
    counts = torch.stack([numbers.bincount(minlength=len(names)) for numbers in (labels, real_labels)])
    fewest = int(counts.min())
    if fewest < SMALLEST_COUNT:
        return []

    def frechet(real: Tensor, fake: Tensor) -> float:
        return frechet_distance(Moments.of(real), Moments.of(fake))

    def kernel(real: Tensor, fake: Tensor) -> float:
        return 1_000 * kernel_distance(real, fake, NUM_CLASS_SUBSETS, subset_size=fewest).mean

    is_frechet = fewest >= evaluated.fewest_for_fid
    distance = frechet if is_frechet else kernel
    values = by_class(distance, evaluated.real_features, real_labels, evaluated.features, labels)
    worst = max(range(len(names)), key=values.__getitem__)
    rule: Protocol = {"classes": f"mean over {len(names)}, of {fewest} images or more"}
    if not is_frechet:
        rule |= {"subsets": f"{NUM_CLASS_SUBSETS} of {fewest}"}
    return [
        Score(
            name="fid_within_classes" if is_frechet else "kid_within_classes",
            value=sum(values) / len(names),
            unit="" if is_frechet else "x 10^-3",
            protocol=evaluated.feature_protocol | rule,
            note=f"worst: {values[worst]:.4g}, class {names[worst]}",
        )
    ]


def score_precision_recall(evaluated: Evaluated) -> list[Score]:
    """Precision, recall, density and coverage."""
    if not _has_neighbourhoods(evaluated):
        return []
    shares = precision_recall(evaluated.neighbourhoods)
    spread = density_coverage(evaluated.neighbourhoods)
    protocol = _equal_protocol(evaluated)
    first, second = protocol | {"k": shares.k}, protocol | {"k": spread.k}
    few = _few_neighbours(evaluated)
    perfect = f"about {1 - 2.0**-spread.k:.3f} of perfect samples"
    return [
        Score(name="precision", value=shares.precision, protocol=first, note=few.get("precision", "")),
        Score(name="recall", value=shares.recall, protocol=first, note=few.get("recall", "")),
        Score(name="density", value=spread.density, protocol=second, note=few.get("density", "")),
        Score(name="coverage", value=spread.coverage, protocol=second, note=few.get("coverage", perfect)),
    ]


def _few_neighbours(evaluated: Evaluated) -> dict[str, str]:
    """Notes, by score, where the images are fewer than in the papers: what training images would score.

    Neighbourhoods of few features are wide, so precision and recall come out too high, and all four vary.
    """
    count = _equal_protocol(evaluated)["generated"]
    if count >= PAPERS_COUNT or not evaluated.explained:
        return {}
    note = f"{count} images are few, papers use {PAPERS_COUNT:,} or more: compare only with equal numbers"
    train = evaluated.train_features
    if evaluated.compares_with_training or len(train) < count:
        return dict.fromkeys(("precision", "recall", "density", "coverage"), note)
    pairs = Neighbourhoods(evaluated.real_features[:count], train[:count])
    shares, spread = precision_recall(pairs), density_coverage(pairs)
    real = {"precision": shares.precision, "recall": shares.recall}
    real |= {"density": spread.density, "coverage": spread.coverage}
    return {name: f"training images score {value:.3g}; {note}" for name, value in real.items()}


def score_two_sample_tests(evaluated: Evaluated) -> list[Score]:
    """The accuracy of the nearest neighbour (1-NN), and of a classifier that learns real from generated."""
    if not _has_neighbourhoods(evaluated):
        return []
    protocol = _equal_protocol(evaluated)
    count = protocol["generated"]
    test = classifier_test(evaluated.real_features[:count], evaluated.features[:count])
    rule = f"{HIDDEN_UNITS} hidden units, {NUM_STEPS} steps on one half, tested on the other, seed 0"
    return [
        _accuracy(
            "one_nn_accuracy",
            nearest_neighbour_test(evaluated.neighbourhoods),
            protocol | {"classified by": "leave-one-out, k = 1"},
        ),
        _accuracy("c2st_accuracy", test, protocol | {"classified by": rule}),
    ]


def _accuracy(name: str, test: TwoSampleTest, protocol: Protocol) -> Score:
    chance = 100 * (0.25 / test.num_tested) ** 0.5
    p_value = f"p = {test.p_value:.2g}" if test.p_value >= 1e-16 else "p < 1e-16"
    sides = f"of real {100 * test.real_accuracy:.4g}, of generated {100 * test.fake_accuracy:.4g} %"
    return Score(
        name=name,
        value=100 * test.accuracy,
        unit="%",
        protocol=protocol,
        note=f"chance: 50 ± {chance:.2g} %, {p_value}; {sides}",
    )


def score_memorisation(evaluated: Evaluated) -> list[Score]:
    """Distances to training images over those to held-out ones, where there are as many of both.

    Left out where every sample is a copy of a held-out image, so that there are no distances.
    """
    if not _has_neighbourhoods(evaluated) or evaluated.compares_with_training:
        return []
    real, train = evaluated.real_features, evaluated.train_features
    if len(train) != len(real):
        return []
    result = memorisation(evaluated.features, train, real)
    if result is None:
        return []
    against = f"{evaluated.dataset.options.data} train, {len(train)} images"
    return [
        Score(
            name="memorisation_ratio",
            value=result.ratio,
            plus_minus=result.standard_error,
            protocol=evaluated.feature_protocol | {"against": against},
            note=f"{100 * result.share_nearer_to_training:.4g} % of samples are nearer to a training image",
        )
    ]


def score_classifier(evaluated: Evaluated) -> list[Score]:
    """The Inception Score by the reference classifier, and that of the real images."""
    classifier = evaluated.extractor
    if not isinstance(classifier, ReferenceClassifier):
        return []
    if len(evaluated.samples) < NUM_SPLITS * SMALLEST_COUNT:
        return []
    features, real = evaluated.features, evaluated.real_features
    result = classifier_score(classifier.logits(features), NUM_SPLITS)
    note = f"at most {len(classifier.class_names)}"
    if len(real) == len(features):
        of_real = classifier_score(classifier.logits(real)).mean
        note += f"; of the {len(real)} real images {of_real:.4g}"
    if len(features) < NUM_SPLITS * PART_SIZE:
        note += f"; parts of {len(features) // NUM_SPLITS} samples are few (paper: 5,000): biased downwards"
    rule = {
        "generated": len(features),
        "classifier": classifier.description,
        "splits": result.num_splits,
    }
    return [
        Score(
            name="classifier_score",
            value=result.mean,
            plus_minus=result.std,
            protocol=evaluated.sample_protocol | rule,
            note=note,
        )
    ]
