"""Scores of translations, whose targets are known: how near they are to them, pixel by pixel."""

import torch

from ganforge.data.dataset import repeated_rows
from ganforge.evaluation.metrics.similarity import psnr
from ganforge.evaluation.score import CHUNK, Evaluated, Score

MOST_DECIBELS = 100.0


def score_translation(evaluated: Evaluated) -> list[Score]:
    """Mean absolute difference and PSNR of translations to the held-out images, which take turns."""
    samples, dataset = evaluated.samples, evaluated.dataset
    if not evaluated.translated or dataset.spec.enlarges:
        return []
    name, reference = evaluated.reference
    sums = torch.zeros(2, dtype=torch.float64)
    turns = repeated_rows(reference, len(samples)).split(CHUNK)
    for part, rows in zip(samples.split(CHUNK), turns, strict=True):
        targets = reference.read(rows)
        difference = (part.double() - targets.double()).flatten(1) / 255
        sums[0] += 2 * difference.abs().mean(1).sum()  # in [-1, 1], as the loss has it
        sums[1] += psnr(part, targets).clamp(max=MOST_DECIBELS).sum()
    mean_difference, decibels = (sums / len(samples)).tolist()
    rule = evaluated.sample_protocol | {
        "generated": len(samples),
        "reference": f"{dataset.options.data} {name}, the target of each source; 8-bit pixels",
    }
    return [
        Score(name="l1", value=mean_difference, protocol=rule | {"pixels": "[-1, 1]"}),
        Score(
            name="psnr",
            value=decibels,
            unit="dB",
            protocol=rule | {"mean": f"of images, each over all channels, at most {MOST_DECIBELS:.0f} dB"},
        ),
    ]
