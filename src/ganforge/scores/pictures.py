"""Scores of pictures: distances of features, the Parzen log-likelihood, stacks of digits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.data.datasets import Dataset
from ganforge.metrics.frechet import Moments, frechet_distance
from ganforge.metrics.judges import Judge, load_judge
from ganforge.metrics.kernel import kernel_distance
from ganforge.metrics.modes import reverse_kl_nats, stack_modes
from ganforge.metrics.parzen import parzen
from ganforge.scores import CHUNK, Protocol, Score, held_out, stored_parts

SMALLEST_FID_COUNT = 2_048
STACK_SAMPLES = 26_000
"""What VEEGAN and PacGAN count the modes of stacked MNIST over."""


def _features(judge: Judge, parts: Iterator[Tensor]) -> Tensor:
    return torch.cat([judge.features(as_images(part)) for part in parts])


def judge_features(judge: Judge, samples: Tensor, dataset: Dataset, protocol: Protocol) -> list[Score]:
    """FID and KID of `samples` uint8 against the held-out split, and the floor of FID."""
    reference_name, reference = held_out(dataset)
    real = _features(judge, stored_parts(reference, len(samples)))
    fake = _features(judge, iter(samples.split(CHUNK)))
    train_count = min(len(real), len(dataset.splits["train"]))
    other_real = _features(judge, stored_parts(dataset.splits["train"], train_count))
    protocol = protocol | {
        "features": judge.description,
        "generated": len(fake),
        "reference": f"{dataset.options.data} {reference_name}, {len(real)} pictures",
    }
    why_no_fid = ""
    if min(len(fake), len(real)) < SMALLEST_FID_COUNT:
        why_no_fid = f"no FID: it needs {SMALLEST_FID_COUNT} samples and as many real pictures"
    kernel = kernel_distance(real, fake)
    subsets = protocol | {"subsets": f"{kernel.num_subsets} of {kernel.subset_size}"}
    scores = [
        Score(
            name="kid",
            value=1_000 * kernel.mean,
            unit="x 10^-3",
            plus_minus=1_000 * kernel.std,
            protocol=subsets,
            note=why_no_fid,
        )
    ]
    if why_no_fid:
        return [*_fid_to_training(judge, fake, dataset, protocol), *scores]
    every = {"real": real, "fake": fake, "train": other_real}
    moments = {name: Moments.of(features) for name, features in every.items()}
    without_labels = {name: text for name, text in protocol.items() if name != "labels"}
    floor = f"{dataset.options.data} train, {train_count} pictures, in place of samples"
    return [
        Score(name="fid", value=frechet_distance(moments["real"], moments["fake"]), protocol=protocol),
        Score(
            name="fid_of_real_data",
            value=frechet_distance(moments["real"], moments["train"]),
            protocol=without_labels | {"generated": floor, "weights": "none"},
            note="the floor: two sets of real pictures",
        ),
        *scores,
    ]


def _fid_to_training(judge: Judge, fake: Tensor, dataset: Dataset, protocol: Protocol) -> list[Score]:
    """FID against all training pictures, as most papers have it, where held-out ones are too few."""
    train = dataset.splits["train"]
    if min(len(fake), len(train)) < SMALLEST_FID_COUNT:
        return []
    real = _features(judge, stored_parts(train))
    return [
        Score(
            name="fid_to_training",
            value=frechet_distance(Moments.of(real), Moments.of(fake)),
            protocol=protocol | {"reference": f"{dataset.options.data} train, {len(real)} pictures"},
            note="held-out pictures are too few; copies of the training pictures score 0",
        )
    ]


def has_parzen(dataset: Dataset) -> bool:
    """Whether there are pictures to choose a window by, and others to score, two of each at least."""
    splits = dataset.splits
    return all(name in splits and len(splits[name]) > 1 for name in ("validation", "test"))


def judge_parzen(samples: Tensor, dataset: Dataset, protocol: Protocol) -> Score:
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
            "reference": f"{dataset.options.data} test, {len(dataset.splits['test'])} pictures",
            "sigma": f"{result.sigma:.4g} of 10 from 0.1 to 1, by the first 1,000 validation pictures",
            "pixels": "[0, 1], samples not rounded",
        },
    )


def judge_stacks(samples: Tensor, protocol: Protocol) -> list[Score]:
    """Which stacks of three digits the judge of MNIST reads in `samples` uint8 `[n, 3, height, width]`."""
    judge = load_judge("mnist")
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
