"""Scores of classes: whether samples are what was asked for, and whether codes found the classes."""

import torch
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.data.dataset import Dataset, held_out
from ganforge.evaluation.features.classifiers import ReferenceClassifier
from ganforge.evaluation.metrics.clusters import many_to_one_error, one_to_one_error
from ganforge.evaluation.score import CHUNK, Protocol, Score, batches, stored_parts
from ganforge.runs.trained import Trained, Weights
from ganforge.system import HasCodes


def score_labels(
    judge: ReferenceClassifier, samples: Tensor, labels: Tensor, dataset: Dataset, protocol: Protocol
) -> list[Score]:
    """How often the judge takes `samples` uint8 for the class `labels` int64 `[n]` that was asked for."""
    found = named(judge, samples)
    right = (found == labels).double()
    counts = labels.bincount()
    shares = labels.bincount(weights=right) / counts  # NaN where no sample was asked for
    worst = int(torch.where(counts > 0, shares, 2.0).argmin())
    rule = protocol | {"generated": len(samples), "classifier": judge.description}
    return [
        Score(name="label_agreement", value=100 * float(right.mean()), unit="%", protocol=rule),
        Score(
            name="label_agreement_of_worst_class",
            value=100 * float(shares[worst]),
            unit="%",
            protocol=rule | {"generated": int(counts[worst])},
            note=f"class {dataset.spec.class_names[worst]}",
        ),
    ]


def named(judge: ReferenceClassifier, images: Tensor) -> Tensor:
    """The classes int64 `[n]` that the judge gives `images` uint8."""
    return torch.cat([judge.classify(as_images(part)).argmax(1).cpu() for part in images.split(CHUNK)])


def mean_of_classes(
    name: str, found: Tensor, asked: Tensor, judge: ReferenceClassifier | None, protocol: Protocol
) -> Score:
    """How often `found` is what was `asked` for, int64 `[n]`: the mean over the classes, `[0, 100]`."""
    counts = asked.bincount()
    shares = asked.bincount(weights=(found == asked).double()) / counts
    share = float(shares[counts > 0].mean())
    said = {} if judge is None else {"classifier": judge.description}
    rule = protocol | said | {"images": len(asked), "classes": int((counts > 0).sum())}
    return Score(name=name, value=100 * share, unit="%", protocol=rule, note="mean over classes")


def score_translated_classes(
    judge: ReferenceClassifier, samples: Tensor, labels: Tensor, dataset: Dataset, protocol: Protocol
) -> list[Score]:
    """How often the judge takes translations uint8 for the class of their targets, and these themselves.

    The stand-in for the FCN score of Isola et al. 2016, table 1, with its row of the ground truth.
    """
    name, reference = held_out(dataset)
    scores = [mean_of_classes("category_agreement", named(judge, samples), labels, judge, protocol)]
    if reference.labels is not None:
        images = torch.cat(list(stored_parts(reference)))
        rule = {"data": f"{dataset.options.data} {name}, {len(reference)} real images"}
        real = named(judge, images)
        scores.append(mean_of_classes("category_agreement_of_real", real, reference.labels, judge, rule))
    return scores


def score_codes(trained: Trained, dataset: Dataset, weights: Weights, protocol: Protocol) -> list[Score]:
    """How well the codes of a system that never saw labels tell the classes of held-out images apart."""
    name, reference = held_out(dataset)
    if reference.labels is None or not isinstance(trained.system, HasCodes):
        return []
    parts = (batch.images for batch in batches(reference))
    categories = list(trained.call("categorise", parts, weights=weights))
    if categories[0] is None:
        return []
    codes = torch.cat(categories)
    sizes = int(codes.max()) + 1, len(dataset.spec.class_names)
    rule = protocol | {"reference": f"{dataset.options.data} {name}, {len(reference)} labelled images"}
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
