"""Outlier detection: how well each score that a system gives an image separates other data from its own."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.data.dataset import Dataset, held_out
from ganforge.errors import UserError
from ganforge.evaluation.score import Score, batches, finite
from ganforge.runs.trained import Trained, Weights
from ganforge.system import Discriminates, ScoresOutliers


def outliers(
    trained: Trained,
    own: Dataset,
    other: Dataset,
    count: int = 1_000,
    weights: Weights = "ema",
    seed: int = 0,
) -> list[Score]:
    """The area under the ROC curve of every `System.outlier_scores`: held-out own images against others.

    1/2 is chance, 1 is perfect; below 1/2 the others look *more* like the data than the data do, as is known
    of likelihoods (Nalisnick et al. 2019, arXiv 1810.09136). Where the system scores by label, the labels of
    `other` count as its own classes of these numbers. Raises UserError where the system has no such score.
    """
    weights = trained.resolve_weights(weights)
    names, values = [], []
    for dataset in (own, other):
        name, images = held_out(dataset)
        names.append(f"{dataset.options.data} {name}, {min(count, len(images))}")
        parts = (_known(batch, len(own.spec.class_names)) for batch in batches(images, count))
        values.append(outlier_scores(trained, parts, seed, weights))
    if not values[0]:
        raise UserError(
            f"{trained.run.config.system} scores no single images: use a run of dcgan, vae or pixelcnn"
        )
    if not values[1]:
        raise UserError(
            f"{trained.run.config.system} scores images with labels of its {len(own.spec.class_names)} "
            f"classes, which {other.options.data} lacks: name other data, or use a run without labels"
        )
    protocol = {"weights": weights, "step": trained.step, "own": names[0], "other": names[1]}
    return [
        Score(
            name=f"auroc_{key}",
            value=area_under_roc(finite(values[0][key], key), finite(values[1][key], key)),
            protocol=protocol,
        )
        for key in values[0]
    ]


def outlier_scores(
    trained: Trained, parts: Iterable[Batch], seed: int, weights: Weights
) -> dict[str, Tensor]:
    """The system's own scores of all images of `parts`, or minus the logits of its discriminator."""
    if isinstance(trained.system, Discriminates) and not isinstance(trained.system, ScoresOutliers):
        pairs = ((part.images, part) for part in parts)
        logits = list(trained.call("discriminate", pairs, seed=seed, weights=weights))
        return {} if any(part is None for part in logits) else {"discriminator": -torch.cat(logits)}
    scores = list(trained.call("outlier_scores", parts, seed=seed, weights=weights))
    return {name: torch.cat([part[name] for part in scores]) for name in scores[0]}


def _known(batch: Batch, num_classes: int) -> Batch:
    """`batch`, without its labels where the run has no such classes."""
    labels = batch.labels
    return batch if labels is None or int(labels.max()) < num_classes else replace(batch, labels=None)


def area_under_roc(low: Tensor, high: Tensor) -> float:
    """The probability that a random one of `high` is above a random one of `low`, ties counted half."""
    ordered = low.sort().values
    below = torch.searchsorted(ordered, high, right=False)
    not_above = torch.searchsorted(ordered, high, right=True)
    return float((below + not_above).double().mean() / (2 * len(low)))
