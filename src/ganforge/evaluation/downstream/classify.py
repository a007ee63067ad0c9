"""Telling classes by p(x given y), and leaving alone what is of none."""

import torch
from torch import Tensor

from ganforge.data.dataset import Dataset, held_out, some_rows
from ganforge.data.split import Split
from ganforge.errors import UserError
from ganforge.evaluation.score import Protocol, Score, batches, finite
from ganforge.nn.losses import nats_of_any
from ganforge.runs.trained import Trained, Weights


def classify(
    trained: Trained,
    own: Dataset,
    other: Dataset | None = None,
    count: int = 1_000,
    reject: float = 5.0,
    weights: Weights = "ema",
) -> list[Score]:
    """The error of the class under which a held-out image is likeliest, with and without rejection.

    Rejected are images less likely than all but `reject` percent of as many training images, by
    -log p(x) with equal classes. Also: the share of held-out images that is rejected, and that of `other`,
    whose classes do not matter. All in percent. Raises UserError where the system has no p(x given y).
    """
    if not 0 < reject < 100:
        raise UserError(f"--reject {reject:g}: expected percent of the training images between 0 and 100")
    weights = trained.resolve_weights(weights)
    name, images = held_out(own)
    found = _class_nats(trained, images, count, weights)
    training = _class_nats(trained, own.splits["train"], count, weights)
    if images.labels is None:
        raise UserError(f"the {name} images of {own.options.data} have no labels to compare with")
    wrong = finite(found, "likelihoods").argmin(1) != images.labels[some_rows(images, count)]
    limit = nats_of_any(training).quantile(1 - reject / 100)
    kept = nats_of_any(found) <= limit
    values = {"error": wrong, "rejected": ~kept} | ({"error_of_accepted": wrong[kept]} if kept.any() else {})
    protocol: Protocol = {
        "weights": weights,
        "step": trained.step,
        "own": f"{own.options.data} {name}, {len(found)}",
        "rejection": f"-log p(x) above {100 - reject:g} % of {len(training)} training images",
    }
    scores = [_share(key, chosen, protocol) for key, chosen in values.items()]
    if other is not None:
        name, images = held_out(other)
        nats = _class_nats(trained, images, count, weights)
        protocol |= {"other": f"{other.options.data} {name}, {len(nats)}"}
        scores.append(_share("rejected_of_other", nats_of_any(nats) > limit, protocol))
    return scores


def _class_nats(trained: Trained, images: Split, count: int, weights: Weights) -> Tensor:
    parts = (batch.images for batch in batches(images, count))
    return torch.cat(list(trained.call("class_nats", parts, weights=weights)))


def _share(name: str, chosen: Tensor, protocol: Protocol) -> Score:
    """How many of `chosen` are true, in percent."""
    return Score(name=name, value=100 * float(chosen.double().mean()), unit="%", protocol=protocol)
