"""Judging a run: every number with the protocol that makes it comparable."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor

from ganforge import pictures
from ganforge.checkpoint import replace_file
from ganforge.data.batch import as_images, to_uint8
from ganforge.data.datasets import Dataset, open_dataset
from ganforge.data.images import Images
from ganforge.data.toys import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN
from ganforge.errors import UserError
from ganforge.metrics.frechet import Moments, frechet_distance
from ganforge.metrics.judges import Judge, judge_for
from ganforge.metrics.kernel import kernel_distance
from ganforge.metrics.modes import mode_coverage
from ganforge.metrics.neighbours import nearest
from ganforge.metrics.parzen import parzen
from ganforge.report import write_report
from ganforge.trained import Trained, Weights, load

CHUNK = 1_000
NUM_NEIGHBOURS = 20
SMALLEST_FID_COUNT = 2_048
MODE_SAMPLES = 2_500


class Score(BaseModel):
    """One number, its unit and its protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    unit: str = ""
    plus_minus: float | None = None
    protocol: dict[str, Any]
    note: str = ""


def evaluate(
    run: str | Path,
    *,
    num_samples: int = 10_000,
    seed: int = 0,
    weights: Weights = "ema",
    device: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> list[Score]:
    """Judge the run folder `run` with `num_samples` samples; store the scores in it and remake its report.

    Opens the data that the run was trained on. `say` is told what is being measured.
    Raises UserError where the run or its data cannot be opened.
    """
    trained = load(run, device)
    dataset = open_dataset(trained.run.config.data)
    if dataset.fingerprint != trained.run.config.fingerprint:
        raise UserError(
            f"{dataset.options.data} has changed since {trained.run.path} was trained: scores would mislead"
        )
    scores = judge(trained, dataset, num_samples=num_samples, seed=seed, weights=weights, say=say)
    if dataset.spec.values == "pixels":
        say("nearest training neighbours")
        _draw_neighbours(trained, dataset, seed, trained.settle(weights))
    stored = TypeAdapter(list[Score]).dump_json(scores, indent=1) + b"\n"
    replace_file(trained.run.path / "evaluation.json", stored)
    write_report(trained.run.path)
    return scores


def judge(
    trained: Trained,
    dataset: Dataset,
    *,
    num_samples: int = 10_000,
    seed: int = 0,
    weights: Weights = "ema",
    say: Callable[[str], None] = lambda text: None,
) -> list[Score]:
    """All scores that apply to this system and this data; writes nothing."""
    if num_samples < 2:
        raise UserError(f"--num-samples {num_samples}: expected 2 or more")
    weights = trained.settle(weights)
    protocol = {"weights": weights, "seed": seed, "step": trained.step}
    say(f"drawing {num_samples} samples")
    begun = time.monotonic()
    if dataset.spec.values == "points":
        samples = _finite(trained.sample(num_samples, seed=seed, weights=weights), "samples")
        scores = _judge_points(samples, dataset, protocol)
    else:
        drawn = trained.draw(num_samples, seed=seed, weights=weights)
        unrounded = torch.cat([_finite(part, "samples") for part in drawn])
        samples = to_uint8(unrounded)
        rate = num_samples / (time.monotonic() - begun)
        timing = protocol | {"generated": num_samples, "device": trained.system.device.type}
        scores = [Score(name="sampling_speed", value=rate, unit="images/s", protocol=timing)]
        scores += _judge_pictures(samples, dataset, protocol, say)
        if {"validation", "test"} <= dataset.splits.keys():
            say("Parzen log-likelihood")
            scores.append(_judge_parzen(unrounded, dataset, protocol))
    say("discriminator on held-out data")
    return scores + _judge_discriminator(trained, samples, dataset, protocol)


def _finite(values: Tensor, what: str) -> Tensor:
    """`values`; raises UserError where one is NaN or infinite, which as 8-bit pixels would pass unseen."""
    if not values.isfinite().all():
        raise UserError(f"{what} hold NaN or infinity: training has diverged, train anew with a smaller rate")
    return values


def _chunks(images: Images, count: int | None = None) -> Iterator[Tensor]:
    """Stored pixels or points of a split, a part at a time."""
    stop = len(images) if count is None else min(count, len(images))
    for first in range(0, stop, CHUNK):
        yield images.read(torch.arange(first, min(first + CHUNK, stop)))


def _held_out(dataset: Dataset) -> tuple[str, Images]:
    for name in ("test", "validation"):
        if name in dataset.splits:
            return name, dataset.splits[name]
    return "train (this data has no held-out split)", dataset.splits["train"]


def _features(judge_network: Judge, parts: Iterator[Tensor]) -> Tensor:
    return torch.cat([judge_network.features(as_images(part)) for part in parts])


def _judge_pictures(
    samples: Tensor, dataset: Dataset, protocol: dict[str, Any], say: Callable[[str], None]
) -> list[Score]:
    scores: list[Score] = []
    judge_network = judge_for(dataset.options.data, dataset.spec)
    if judge_network is not None:
        say("FID and KID")
        scores += _judge_features(judge_network, samples, dataset, protocol)
    return scores


def _judge_features(
    judge_network: Judge, samples: Tensor, dataset: Dataset, protocol: dict[str, Any]
) -> list[Score]:
    reference_name, reference = _held_out(dataset)
    real = _features(judge_network, _chunks(reference, len(samples)))
    fake = _features(judge_network, iter(samples.split(CHUNK)))
    train_count = min(len(real), len(dataset.splits["train"]))
    other_real = _features(judge_network, _chunks(dataset.splits["train"], train_count))
    protocol = protocol | {
        "features": judge_network.description,
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
        return scores
    every = {"real": real, "fake": fake, "train": other_real}
    moments = {name: Moments.of(features) for name, features in every.items()}
    floor = f"{dataset.options.data} train, {train_count} pictures, in place of samples"
    return [
        Score(name="fid", value=frechet_distance(moments["real"], moments["fake"]), protocol=protocol),
        Score(
            name="fid_of_real_data",
            value=frechet_distance(moments["real"], moments["train"]),
            protocol=protocol | {"generated": floor, "weights": "none"},
            note="the floor: two sets of real pictures",
        ),
        *scores,
    ]


def _judge_parzen(samples: Tensor, dataset: Dataset, protocol: dict[str, Any]) -> Score:
    """Section 5 of Goodfellow et al. 2014; `samples` in [-1, 1] as drawn: rounding them would cost nats."""

    def unit(parts: Iterator[Tensor]) -> Tensor:
        return torch.cat([part.flatten(1) for part in parts]).float() / 255

    result = parzen(
        (samples.clamp(-1, 1).flatten(1) + 1) / 2,
        unit(_chunks(dataset.splits["validation"], 1_000)),
        unit(_chunks(dataset.splits["test"])),
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


def _judge_points(samples: Tensor, dataset: Dataset, protocol: dict[str, Any]) -> list[Score]:
    points = samples.flatten(1)
    name, held_out = _held_out(dataset)
    reference = torch.cat(list(_chunks(held_out))).flatten(1)
    against = protocol | {
        "generated": len(points),
        "reference": f"{dataset.options.data} {name}, {len(reference)}",
    }
    scores = [
        Score(
            name="frechet_distance",
            value=frechet_distance(Moments.of(reference), Moments.of(points)),
            protocol=against | {"features": "the two coordinates"},
        )
    ]
    if dataset.mixture is not None:
        counted = points[:MODE_SAMPLES]
        coverage = mode_coverage(counted, dataset.mixture.means, dataset.mixture.std)
        rule = protocol | {
            "generated": len(counted),
            "high quality": "within 3 standard deviations of a mean",
        }
        scores += [
            Score(name="modes", value=coverage.modes, unit=f"of {coverage.num_modes}", protocol=rule),
            Score(name="high_quality", value=coverage.high_quality_percent, unit="%", protocol=rule),
            Score(name="reverse_kl", value=coverage.reverse_kl_nats, unit="nats", protocol=rule),
        ]
    if dataset.options.data == "gaussian":
        moments = Moments.of(points)
        mean_error = (moments.mean - GAUSSIAN_MEAN).abs().max()
        ratio = ((moments.covariance - GAUSSIAN_COVARIANCE) / GAUSSIAN_COVARIANCE).abs().max()
        exact = protocol | {"generated": len(points), "reference": "the exact mean and covariance"}
        scores += [
            Score(name="largest_mean_error", value=float(mean_error), protocol=exact),
            Score(name="largest_covariance_error", value=100 * float(ratio), unit="%", protocol=exact),
        ]
    return scores


def _judge_discriminator(
    trained: Trained, samples: Tensor, dataset: Dataset, protocol: dict[str, Any]
) -> list[Score]:
    """Mean D on held-out real and on generated data; 1/2 on both is the solution of the game."""
    name, reference = _held_out(dataset)

    def mean_probability(parts: Iterator[Tensor]) -> float | None:
        logits = [trained.discriminate(as_images(part)) for part in parts]
        found = [_finite(part, "discriminator logits") for part in logits if part is not None]
        return float(torch.sigmoid(torch.cat(found).double()).mean()) if found else None

    real = mean_probability(_chunks(reference, len(samples)))
    fake = mean_probability(iter(samples.split(CHUNK)))
    if real is None or fake is None:
        return []
    count = min(len(reference), len(samples))
    return [
        Score(
            name=f"discriminator_on_{kind}",
            value=value,
            protocol=protocol | {"data": data, "mode": "evaluation (running statistics, no dropout)"},
            note=f"{abs(value - 0.5):.3f} from 1/2",
        )
        for kind, value, data in (
            ("held_out", real, f"{dataset.options.data} {name}, {count}"),
            ("generated", fake, f"{len(samples)} samples"),
        )
    ]


def _draw_neighbours(trained: Trained, dataset: Dataset, seed: int, weights: Weights) -> None:
    """Figure 2 of Goodfellow et al. 2014: samples beside their nearest training pictures."""
    samples = trained.sample(NUM_NEIGHBOURS, seed=seed, weights=weights)
    train = dataset.splits["train"]
    references = (as_images(part).flatten(1) for part in _chunks(train))
    indices, _ = nearest(samples.flatten(1), references)
    picture = pictures.neighbours_grid(samples, as_images(train.read(indices)))
    about = {
        "run": trained.run.path.name,
        "step": str(trained.step),
        "seed": str(seed),
        "weights": weights,
    }
    pictures.save_png(picture, trained.run.path / "neighbours.png", about)
