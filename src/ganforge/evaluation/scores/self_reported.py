"""Scores that the system itself gives: its discriminator's opinion, and what else it measures."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images
from ganforge.errors import UserError
from ganforge.evaluation.score import CHUNK, Evaluated, Score, batches, finite

UNITS = {"_nats": "nats", "_bits_per_dim": "bits/dim", "_percent": "%"}
KEPT = "_bits_per_dim"  # in the score's name: the same in nats would have no other


def score_discriminator(evaluated: Evaluated) -> list[Score]:
    """Mean D on held-out real and on generated data; 1/2 on both is the solution of the game."""
    trained, samples = evaluated.trained, evaluated.samples
    if trained is None or not trained.system.logits_are_log_odds:
        return []
    name, reference = evaluated.reference

    def mean_probability(parts: Iterable[Batch]) -> float | None:
        outputs = []
        for part in parts:
            logits = trained.discriminate(part.images, part)
            if logits is None:
                return None
            outputs.append(finite(logits, "discriminator logits"))
        return float(torch.sigmoid(torch.cat(outputs).double()).mean())

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


def score_measures(evaluated: Evaluated) -> list[Score]:
    """A score for each entry of `System.measure` on as many held-out images or points as samples."""
    trained, protocol, count = evaluated.trained, evaluated.protocol, len(evaluated.samples)
    if trained is None:
        return []
    name, reference = evaluated.reference
    values = trained.measure(batches(reference, count), protocol["seed"], protocol["weights"])
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
