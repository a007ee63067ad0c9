"""Scores of images themselves: the Parzen log-likelihood, stacks of digits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganforge.data.batch import as_images, conditions
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.evaluation.metrics.modes import reverse_kl_nats, stack_modes
from ganforge.evaluation.metrics.parzen import parzen
from ganforge.evaluation.score import CHUNK, Evaluated, Score, finite, has_parzen, stored_parts

PAPER_SAMPLES = 10_000
FEWEST_FOR_ERROR = 100
"""Test images below which their standard error is left out."""


def score_parzen(evaluated: Evaluated) -> list[Score]:
    """Section 5 of Goodfellow et al. 2014, of samples as drawn, since rounding them would cost nats."""
    trained, dataset, rule = evaluated.trained, evaluated.dataset, evaluated.sample_protocol
    if trained is None or evaluated.translated or not has_parzen(dataset):
        return []
    samples, count = evaluated.unrounded, len(evaluated.samples)
    if samples is None:  # Mirza and Osindero 2014, section 4.1: as many of each class
        classes = len(dataset.spec.class_names)
        even = conditions(torch.arange(count) % classes)
        drawn = trained.sample(count, seed=rule["seed"], weights=rule["weights"], given=even)
        samples = finite(drawn, "samples")
        rule = rule | {"labels": f"{count / classes:.10g} samples of each of {classes} classes"}

    def unit(parts: Iterator[Tensor]) -> Tensor:
        return torch.cat([part.flatten(1) for part in parts]).float() / 255

    result = parzen(
        samples.clamp(-1, 1).add_(1).div_(2).flatten(1),
        unit(stored_parts(dataset.splits["validation"], 1_000)),
        unit(stored_parts(dataset.splits["test"])),
    )
    tested, notes = len(dataset.splits["test"]), []
    if count < PAPER_SAMPLES:
        notes.append(f"{count} samples are few, papers use {PAPER_SAMPLES:,}: biased downwards")
    if tested < FEWEST_FOR_ERROR:
        notes.append(f"no ±: it needs {FEWEST_FOR_ERROR} test images")
    return [
        Score(
            name="parzen_log_likelihood",
            value=result.mean_nats,
            unit="nats",
            plus_minus=None if tested < FEWEST_FOR_ERROR else result.standard_error_nats,
            note="; ".join(notes),
            protocol=rule
            | {
                "generated": count,
                "reference": f"{dataset.options.data} test, {tested} images",
                "sigma": f"{result.sigma:.4g} of 10 from 0.1 to 1, by 1,000 validation images",
                "pixels": "[0, 1], samples not rounded",
            },
        )
    ]


def score_stacks(evaluated: Evaluated) -> list[Score]:
    """Which stacks of digits the reference classifier reads in samples `[n, digits, height, width]`."""
    stack, samples = evaluated.dataset.stack, evaluated.samples
    if stack is None:
        return []
    classifier = load_classifier(stack.data)
    digits = torch.cat(
        [
            classifier.classify(as_images(part.flatten(0, 1)[:, None])).argmax(1)
            for part in samples.split(CHUNK)
        ]
    )
    counts = stack_modes(digits.reshape(-1, samples.shape[1]))
    rule = evaluated.sample_protocol | {"generated": len(samples), "classifier": classifier.description}
    floor = (len(counts) - 1) / (2 * len(samples))
    return [
        Score(name="modes", value=int((counts > 0).sum()), unit=f"of {len(counts)}", protocol=rule),
        Score(
            name="reverse_kl",
            value=reverse_kl_nats(counts),
            unit="nats",
            protocol=rule,
            note=f"about {floor:.3f} of perfect samples",
        ),
    ]
