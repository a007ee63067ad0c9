"""Scores of classes: whether samples are of the requested class, and whether codes found the classes."""

import torch
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.evaluation.features.classifiers import ReferenceClassifier
from ganforge.evaluation.metrics.clusters import many_to_one_error, one_to_one_error
from ganforge.evaluation.score import CHUNK, Evaluated, Protocol, Score, batches, stored_parts
from ganforge.system import HasCodes


def score_classes(evaluated: Evaluated) -> list[Score]:
    """How often the reference classifier takes a sample for the requested class; the worst class."""
    classifier, labels = evaluated.class_classifier, evaluated.labels
    if classifier is None or labels is None:
        return []
    right = (predictions(classifier, evaluated.samples) == labels).double()
    counts = labels.bincount()
    shares = labels.bincount(weights=right) / counts  # NaN where no sample was requested
    worst = int(torch.where(counts > 0, shares, 2.0).argmin())
    rule = evaluated.sample_protocol | {"generated": len(labels), "classifier": classifier.description}
    return [
        Score(name="class_accuracy", value=100 * float(right.mean()), unit="%", protocol=rule),
        Score(
            name="worst_class_accuracy",
            value=100 * float(shares[worst]),
            unit="%",
            protocol=rule | {"generated": int(counts[worst])},
            note=f"class {evaluated.dataset.spec.class_names[worst]}",
        ),
    ]


def predictions(classifier: ReferenceClassifier, images: Tensor) -> Tensor:
    """The classes int64 `[n]` that the reference classifier predicts for `images` uint8."""
    return torch.cat([classifier.classify(as_images(part)).argmax(1).cpu() for part in images.split(CHUNK)])


def mean_of_classes(
    name: str,
    predicted: Tensor,
    labels: Tensor,
    classifier: ReferenceClassifier | None,
    protocol: Protocol,
) -> Score:
    """How often `predicted` is the label, both int64 `[n]`: the mean over the classes, `[0, 100]`."""
    counts = labels.bincount()
    shares = labels.bincount(weights=(predicted == labels).double()) / counts
    share = float(shares[counts > 0].mean())
    by = {} if classifier is None else {"classifier": classifier.description}
    rule = protocol | by | {"images": len(labels), "classes": int((counts > 0).sum())}
    return Score(name=name, value=100 * share, unit="%", protocol=rule, note="mean over classes")


def score_translated_classes(evaluated: Evaluated) -> list[Score]:
    """How often a translation is taken for the class of its target, and these targets themselves.

    The stand-in for the FCN score of Isola et al. 2016, table 1, with its row of the ground truth.
    """
    classifier, labels = evaluated.class_classifier, evaluated.labels
    if classifier is None or labels is None or not evaluated.translated:
        return []
    name, reference = evaluated.reference
    predicted = predictions(classifier, evaluated.samples)
    scores = [mean_of_classes("category_accuracy", predicted, labels, classifier, evaluated.sample_protocol)]
    if reference.labels is not None:
        images = torch.cat(list(stored_parts(reference)))
        rule = {"data": f"{evaluated.dataset.options.data} {name}, {len(reference)} real images"}
        predicted = predictions(classifier, images)
        real = mean_of_classes("category_accuracy_real", predicted, reference.labels, classifier, rule)
        scores.append(real)
    return scores


def score_codes(evaluated: Evaluated) -> list[Score]:
    """How well the codes of a system that never saw labels tell the classes of held-out images apart."""
    trained, (name, reference) = evaluated.trained, evaluated.reference
    if reference.labels is None or trained is None or not isinstance(trained.system, HasCodes):
        return []
    parts = (batch.images for batch in batches(reference))
    categories = list(trained.call("categorise", parts, weights=evaluated.protocol["weights"]))
    if categories[0] is None:
        return []
    codes = torch.cat(categories)
    sizes = int(codes.max()) + 1, len(evaluated.dataset.spec.class_names)
    reference_text = f"{evaluated.dataset.options.data} {name}, {len(reference)} labelled images"
    rule = evaluated.protocol | {"reference": reference_text}
    return [
        Score(
            name="code_error",
            value=one_to_one_error(codes, reference.labels, *sizes),
            unit="%",
            protocol=rule | {"matching": "each code one class, each class one code, the best such"},
        ),
        Score(
            name="code_error_many_to_one",
            value=many_to_one_error(codes, reference.labels, *sizes),
            unit="%",
            protocol=rule | {"matching": "each code its most frequent class"},
        ),
    ]
