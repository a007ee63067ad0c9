"""Scores of images themselves: the Parzen log-likelihood, stacks of digits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.data.dataset import Dataset
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.evaluation.metrics.modes import reverse_kl_nats, stack_modes
from ganforge.evaluation.metrics.parzen import parzen
from ganforge.evaluation.score import CHUNK, Protocol, Score, stored_parts

STACK_SAMPLES = 26_000
"""What VEEGAN and PacGAN count the modes of stacked MNIST over."""


def has_parzen(dataset: Dataset) -> bool:
    """Whether there are images to choose a window by, and others to score, two of each at least."""
    splits = dataset.splits
    return all(name in splits and len(splits[name]) > 1 for name in ("validation", "test"))


def score_parzen(samples: Tensor, dataset: Dataset, protocol: Protocol) -> Score:
    """Section 5 of Goodfellow et al. 2014.

    `samples` in [-1, 1] as drawn, since rounding them would cost nats; they are overwritten.
    """

    def unit(parts: Iterator[Tensor]) -> Tensor:
        return torch.cat([part.flatten(1) for part in parts]).float() / 255

    result = parzen(
        samples.clamp_(-1, 1).add_(1).div_(2).flatten(1),
        unit(stored_parts(dataset.splits["validation"], 1_000)),
        unit(stored_parts(dataset.splits["test"])),
    )
    return Score(
        name="parzen_log_likelihood",
        value=result.mean_nats,
        unit="nats",
        plus_minus=result.standard_error_nats,
        protocol=protocol
        | {
            "generated": len(samples),
            "reference": f"{dataset.options.data} test, {len(dataset.splits['test'])} images",
            "sigma": f"{result.sigma:.4g} of 10 from 0.1 to 1, by 1,000 validation images",
            "pixels": "[0, 1], samples not rounded",
        },
    )


def score_stacks(samples: Tensor, protocol: Protocol) -> list[Score]:
    """Which stacks of three digits the judge of MNIST reads in `samples` uint8 `[n, 3, height, width]`."""
    judge = load_classifier("mnist")
    digits = torch.cat(
        [judge.classify(as_images(part.flatten(0, 1)[:, None])).argmax(1) for part in samples.split(CHUNK)]
    )
    counts = stack_modes(digits.reshape(-1, samples.shape[1]))
    rule = protocol | {"generated": len(samples), "classifier": judge.description}
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
