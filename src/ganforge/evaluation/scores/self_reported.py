"""Scores that the system itself gives: its discriminator's opinion, and what else it measures."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import tee

import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images
from ganforge.errors import UserError
from ganforge.evaluation.score import CHUNK, Evaluated, Score, batches, finite
from ganforge.runs.trained import Trained, Weights
from ganforge.system import Discriminates, Measures

UNITS = {"_nats": "nats", "_bits_per_dim": "bits/dim", "_percent": "%"}
KEPT = "_bits_per_dim"  # in the score's name: the same in nats would have no other


def score_discriminator(evaluated: Evaluated) -> list[Score]:
    """Mean D on held-out real and on generated data; 1/2 on both is the solution of the game."""
    trained, samples = evaluated.trained, evaluated.samples
    if trained is None or not isinstance(trained.system, Discriminates) or not trained.has_discriminator:
        return []
    if not trained.system.logits_are_log_odds:
        return []
    name, reference = evaluated.reference

    def mean_probability(parts: Iterable[Batch]) -> float | None:
        pairs = ((part.images, part) for part in parts)
        logits = list(trained.call("discriminate", pairs, weights="raw"))
        if any(part is None for part in logits):
            return None
        return float(torch.sigmoid(finite(torch.cat(logits), "discriminator logits").double()).mean())

    real = mean_probability(batches(reference, len(samples)))
    fake = mean_probability(_sample_batches(samples, evaluated.conditions))
    if real is None or fake is None:
        return []
    count = min(len(reference), len(samples))
    return [
        Score(
            name=f"discriminator_on_{kind}",
            value=value,
            protocol=evaluated.sample_protocol
            | {"data": data, "mode": "evaluation (running statistics, no dropout)"},
            note=f"{abs(value - 0.5):.3f} from 1/2",
        )
        for kind, value, data in (
            ("held_out", real, f"{evaluated.dataset.options.data} {name}, {count}"),
            ("generated", fake, f"{len(samples)} samples"),
        )
    ]


def _sample_batches(samples: Tensor, given: Batch | None) -> Iterator[Batch]:
    for start in range(0, len(samples), CHUNK):
        rows = slice(start, start + CHUNK)
        images = as_images(samples[rows])
        yield Batch(images) if given is None else replace(given[rows], images=images)


def mean_measures(
    trained: Trained, parts: Iterable[Batch], seed: int = 0, weights: Weights = "ema"
) -> dict[str, float]:
    """The means over all images of `parts` of what the system measures."""
    sums: dict[str, float] = {}
    count, (own, others) = 0, tee(parts)
    for part, values in zip(own, trained.call("measure", others, seed=seed, weights=weights), strict=True):
        count += len(part.images)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(part.images)
    return {name: total / count for name, total in sums.items()}


def score_measures(evaluated: Evaluated) -> list[Score]:
    """A score for each entry of `Measures.measure` on as many held-out images or points as samples."""
    trained, protocol, count = evaluated.trained, evaluated.protocol, len(evaluated.samples)
    if trained is None or not isinstance(trained.system, Measures):
        return []
    name, reference = evaluated.reference
    values = mean_measures(trained, batches(reference, count), protocol["seed"], protocol["weights"])
    data = evaluated.dataset.options.data
    rule = protocol | {"reference": f"{data} {name}, {min(count, len(reference))}"}
    rule |= trained.system.measure_protocol
    scores = []
    for full_name, value in values.items():
        if not math.isfinite(value):
            raise UserError(
                f"{full_name} is {value}: training has diverged, train again with a smaller learning rate"
            )
        suffix = next((suffix for suffix in UNITS if full_name.endswith(suffix)), "")
        unit = UNITS.get(suffix, "")
        score_name = full_name if suffix == KEPT else full_name.removesuffix(suffix)
        scores.append(Score(name=score_name, value=value, unit=unit, protocol=rule))
    return scores
