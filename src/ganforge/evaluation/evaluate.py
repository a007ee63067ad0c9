"""Evaluating a run: every number with the protocol that makes it comparable."""

import shlex
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images, to_uint8
from ganforge.data.dataset import Dataset, held_out
from ganforge.data.own import OwnData
from ganforge.distributed import Shard, shared
from ganforge.errors import UserError, printable
from ganforge.evaluation.features.cache import FeatureExtractor
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.features.select import feature_extractor
from ganforge.evaluation.folders import evaluate_images
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.evaluation.presets import find_preset
from ganforge.evaluation.progress import Progress
from ganforge.evaluation.saved_statistics import features_for, score_statistics
from ganforge.evaluation.score import (
    NUM_SAMPLES,
    Evaluated,
    Protocol,
    finite,
    has_parzen,
    stored_parts,
)
from ganforge.evaluation.score import Score as Score
from ganforge.evaluation.scores.captions import caption_conditions, score_captions
from ganforge.evaluation.scores.distribution import score_distribution
from ganforge.evaluation.scores.diversity import score_path_length, score_similarity
from ganforge.evaluation.scores.labels import score_classes, score_codes, score_translated_classes
from ganforge.evaluation.scores.pixels import score_parzen, score_stacks
from ganforge.evaluation.scores.points import score_points
from ganforge.evaluation.scores.retrieval import score_retrieval
from ganforge.evaluation.scores.scenes import score_scenes
from ganforge.evaluation.scores.self_reported import score_active_units, score_discriminator, score_measures
from ganforge.evaluation.scores.super_resolution import score_super_resolution
from ganforge.evaluation.scores.translation import score_translation
from ganforge.evaluation.shared_work import SharedWork
from ganforge.files.images import save_image
from ganforge.reporting import grids
from ganforge.reporting.evaluations import store_evaluation
from ganforge.reporting.page import write_report
from ganforge.runs.conditions import conditions_like
from ganforge.runs.data import remember_places
from ganforge.runs.trained import Trained, Weights, Which, load
from ganforge.system import generates_images

NUM_NEIGHBOURS = 20
ALONE = Shard()


def evaluate(
    run: str | Path | None = None,
    *,
    samples: str | None = None,
    data: str | OwnData | None = None,
    size: int | None = None,
    num_samples: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    device: str = "auto",
    checkpoint: Which = "newest",
    features: str = "auto",
    features_weights: Path | None = None,
    devices: int = 1,
    system: str | None = None,
    trust_code: bool = False,
    protocol: str | None = None,
    statistics: Path | None = None,
    shared_work: SharedWork | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Score]:
    """Score the run folder `run` with `num_samples` samples; store the scores in it and rewrite its report.

    With `samples`, a folder or zip of images, these are scored instead, against the data of `run` or, without
    a run, against those of `data`, and nothing is stored: see `evaluate_images`. Nor is it in a run that came
    with the package. The default number of samples is 10,000, of stacked-mnist the 26,000 of the papers, of
    pairs one for each held-out source. `features`: see `features.select.feature_extractor`. `checkpoint`
    "best" scores the one that `--keep-best` kept; `system` and `trust_code` as of `load`. Opens the data that
    the run was trained on, at `data` if they have moved, or the data that a program trained on; calls `say`
    with what is being measured. Of `devices` processes that torchrun has started, each calls this and draws
    its part of the samples; the first returns and stores the scores, which are those of one process, the
    others return none. With `protocol`, the name of a preset, only its scores, by its counts, images and
    features; with `statistics` only the FID against such a file. Raises UserError where the run or its data
    cannot be opened, and as `shared`.
    """
    work = shared_work or SharedWork()
    chosen = _chosen(protocol, statistics, num_samples, features, samples)
    if samples is not None:
        return evaluate_images(run, samples, _named(data), size, num_samples, features, features_weights)
    run = _without_size(run, size)
    with shared(devices, device, f"evaluate {shlex.quote(str(run))}") as shard:
        trained = load(run, device, checkpoint, system, trust_code=trust_code)
        dataset = work.data_of(trained.run, data)
        pixels = _draws_pixels(trained, dataset)
        chosen.check(dataset)
        scores = score_run(
            trained,
            dataset,
            seed=seed,
            weights=weights,
            extractor=work.extractor(chosen.features, dataset, features_weights) if pixels else None,
            shard=shard,
            chosen=chosen,
            memo=work.memo(dataset, chosen.features),
            say=say,
        )
    if not shard.rank and not trained.run.packaged:
        conditions = (seed, trained.resolve_weights(weights)) if pixels else None
        _store(trained, dataset, scores, isinstance(data, str), conditions, say)
    return scores


def _without_size(run: str | Path | None, size: int | None) -> str | Path:
    if run is None:
        raise UserError("evaluate needs a run folder, or two folders of images: --samples A --data B")
    if size is not None:
        raise UserError("--size is for --samples without a run: leave it out, the run knows its size")
    return run


@dataclass(frozen=True)
class Chosen:
    """What is scored: `score` gives only some scores, compared with `split`; `check` rejects other data."""

    num_samples: int | None = None
    features: str = "auto"
    score: Callable[[Evaluated], list[Score]] | None = None
    split: str | None = None
    protocol: Protocol = field(default_factory=dict)
    check: Callable[[Dataset], None] = lambda dataset: None


ALL = Chosen()


def _chosen(
    name: str | None, statistics: Path | None, num_samples: int | None, features: str, samples: str | None
) -> Chosen:
    """The scores of the protocol `name`, those against `statistics`, or all.

    Raises UserError where another option says what a protocol says.
    """
    options = {
        "--num-samples": num_samples is not None,
        "--features": features != "auto",
        "--samples": samples is not None,
        "--statistics": statistics is not None,
    }
    if name is not None:
        preset = find_preset(name)
        for option in (option for option, given in options.items() if given):
            raise UserError(f"{option} with --protocol {name}, which has its own: leave one of them out")
        return Chosen(
            preset.num_samples,
            preset.features,
            preset.score,
            preset.split,
            preset.protocol(name),
            partial(preset.check, name),
        )
    if statistics is None:
        return Chosen(num_samples, features)
    if samples is not None:
        raise UserError(
            "--samples with --statistics: expected a run; `ganforge data statistics` writes those of images"
        )
    score = partial(score_statistics, path=statistics)
    return Chosen(num_samples, features_for(statistics, features), score)


def _named(data: str | OwnData | None) -> str | None:
    if data is not None and not isinstance(data, str):
        raise UserError(
            "images as samples are compared with data by name: expected data to be a path or name"
        )
    return data


def _store(
    trained: Trained,
    dataset: Dataset,
    scores: list[Score],
    moved: bool,
    neighbours: tuple[int, Weights] | None,
    say: Callable[[str], None],
) -> None:
    """Store the scores, the place of data that have `moved`, the image of neighbours and the report."""
    run = trained.run
    try:
        run.remove_leftovers(held=False)
        store_evaluation(run.path, [score.model_dump(mode="json") for score in scores])
        if moved:
            remember_places(run, dataset)
        if neighbours is not None:
            say("nearest training neighbours")
            _draw_neighbours(trained, dataset, *neighbours)
        write_report(run.path)
    except OSError as error:  # the scores took long, and are not lost where they cannot be kept
        place = printable(str(error.filename or run.path))
        warnings.warn(f"cannot write {place}: {error.strerror or error}: not all is stored", stacklevel=3)


def _draws_pixels(trained: Trained, dataset: Dataset) -> bool:
    return dataset.spec.values == "pixels" and generates_images(trained.system)


def score_run(
    trained: Trained,
    dataset: Dataset,
    *,
    num_samples: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    extractor: FeatureExtractor | None = None,
    shard: Shard = ALONE,
    chosen: Chosen = ALL,
    memo: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Score]:
    """All scores that apply to this system and this data, or the `chosen` ones; writes nothing.

    The default `extractor` is the reference classifier of these data, else the one for unknown data. Of
    several processes that share the work, all but the first return nothing.
    """
    num_samples = chosen.num_samples if num_samples is None else num_samples
    if num_samples is None:
        num_samples = NUM_SAMPLES if dataset.stack is None else dataset.stack.num_samples
        if "sources" in trained.system.needs:
            num_samples = min(num_samples, len(held_out(dataset)[1]))
    if num_samples < 2:
        raise UserError(f"--num-samples {num_samples}: expected 2 or more")
    if shard.ranks > 1 and not _draws_pixels(trained, dataset):
        raise UserError(f"--devices {shard.ranks}: expected a run that generates images; use one device")
    protocol = {"weights": trained.resolve_weights(weights), "seed": seed, "step": trained.step}
    protocol |= chosen.protocol
    if chosen.score is not None and not _draws_pixels(trained, dataset):
        raise UserError("--protocol and --statistics are for runs that generate images")
    if not generates_images(trained.system):
        say("captions of images")
        none = torch.empty(0, *dataset.spec.shape)
        return score_retrieval(Evaluated(dataset, none, protocol, trained=trained))
    if dataset.spec.values == "points":
        evaluated = _draw_points(trained, dataset, num_samples, protocol)
        scores = score_points(evaluated)
    else:
        evaluated = _draw_images(trained, dataset, num_samples, protocol, extractor, shard, chosen.split, say)
        if shard.rank:
            return []
        evaluated = replace(evaluated, memo={} if memo is None else memo)
        if chosen.score is not None:
            return chosen.score(evaluated)
        scores = _score_images(evaluated, say)
    say("discriminator on held-out data")
    return [
        *scores,
        *score_discriminator(evaluated),
        *score_codes(evaluated),
        *score_measures(evaluated),
        *score_active_units(evaluated),
    ]


def _score_images(evaluated: Evaluated, say: Callable[[str], None]) -> list[Score]:
    scores = _score_speed(evaluated)
    say("distances and neighbours of features")
    scores += score_distribution(evaluated)
    scores += score_classes(evaluated) + score_translated_classes(evaluated)
    say("paths between latents")
    scores += score_path_length(evaluated) + score_similarity(evaluated)
    say("Parzen log-likelihood")
    scores += score_parzen(evaluated)
    if evaluated.translated:
        scores += score_super_resolution(evaluated) + score_translation(evaluated)
    if "embeddings" in evaluated.needs:
        say("captions")
        scores += score_captions(evaluated) + score_scenes(evaluated)
    return scores + score_stacks(evaluated)


def _score_speed(evaluated: Evaluated) -> list[Score]:
    assert evaluated.trained is not None
    assert evaluated.seconds is not None
    count = len(evaluated.samples)
    rule = {"generated": count, "device": evaluated.trained.system.device.type}
    if evaluated.processes > 1:
        rule["processes"] = evaluated.processes
    value = count / evaluated.seconds
    protocol = evaluated.sample_protocol | rule
    return [Score(name="sampling_speed", value=value, unit="images/s", protocol=protocol)]


def _conditions_of_data(
    trained: Trained, dataset: Dataset, count: int, seed: int, split: str | None = None
) -> tuple[Batch | None, Protocol]:
    """The conditions of the samples, by `conditions_like` or training captions, and their description."""
    if "embeddings" in trained.system.needs:
        return caption_conditions(dataset, count, seed)
    name, reference = held_out(dataset) if split is None else (split, dataset.splits[split])
    conditions = conditions_like(trained.system, reference, count, seed)
    if "sources" in trained.system.needs:
        times = f"{count / len(reference):.3g} times" if count > len(reference) else "once"
        options = dataset.options
        return conditions, {
            "pairs": options.pairs if options.sources is None else f"files of {options.sources}",
            "sources": f"{min(count, len(reference))} of {options.data} {name}, each {times}",
        }
    shuffled = f"those of {dataset.options.data} {name}, shuffled by the seed"
    return conditions, {} if conditions is None else {"labels": shuffled}


def _draw_points(trained: Trained, dataset: Dataset, count: int, protocol: Protocol) -> Evaluated:
    conditions, described = _conditions_of_data(trained, dataset, count, protocol["seed"])
    points = trained.sample(count, seed=protocol["seed"], weights=protocol["weights"], given=conditions)
    samples = finite(points, "samples")
    return Evaluated(dataset, samples, protocol, described, trained=trained, conditions=conditions)


def _draw_images(
    trained: Trained,
    dataset: Dataset,
    count: int,
    protocol: Protocol,
    extractor: FeatureExtractor | None,
    shard: Shard,
    split: str | None,
    say: Callable[[str], None],
) -> Evaluated:
    """`count` samples as the only value that is scored; of several processes only number 0 has them all.

    Each process draws its own part and extracts its features. Raises UserError for NaN, and as
    `Trained.draw_share`.
    """
    conditions, described = _conditions_of_data(trained, dataset, count, protocol["seed"], split)
    classifier = classifier_of(dataset)
    extractor = extractor or feature_extractor("auto", dataset)
    started, seed, weights = time.monotonic(), protocol["seed"], protocol["weights"]
    pixels = torch.zeros(count, *dataset.spec.shape, dtype=torch.uint8)
    # As drawn they take four times as much memory: kept only where they are needed.
    unrounded = torch.zeros(pixels.shape) if has_parzen(dataset) and conditions is None else None
    own, progress = [], Progress(say, "drawing samples", count)
    for rows, part in trained.draw_share(count, shard, seed=seed, weights=weights, given=conditions):
        pixels[rows] = to_uint8(finite(part, "samples"))
        if unrounded is not None:
            unrounded[rows] = part
        own.append(rows)
        progress.at(rows.stop)
    seconds = time.monotonic() - started
    features: Tensor | None = None
    if extractor is not None and shard.ranks > 1:
        features = torch.zeros(count, extractor.feature_size)
        for rows in own:
            features[rows] = extractor.features(as_images(pixels[rows])).float().cpu()
    for values in (pixels, unrounded, features):
        if values is not None:
            shard.gather(values)
    return Evaluated(
        dataset,
        pixels,
        protocol,
        described,
        trained=trained,
        conditions=conditions,
        extractor=extractor,
        classifier=classifier,
        sample_features=features,
        unrounded=unrounded,
        seconds=seconds,
        processes=shard.ranks,
        split=split,
        say=say,
    )


def _draw_neighbours(trained: Trained, dataset: Dataset, seed: int, weights: Weights) -> None:
    """Figure 2 of Goodfellow et al. 2014: samples next to their nearest training images."""
    conditions, _ = _conditions_of_data(trained, dataset, NUM_NEIGHBOURS, seed)
    if conditions is not None and conditions.sources is None and conditions.embeddings is None:
        conditions = None  # a system draws labels itself
    samples = trained.sample(NUM_NEIGHBOURS, seed=seed, weights=weights, given=conditions)
    train = dataset.splits["train"]
    references = (as_images(part).flatten(1) for part in stored_parts(train))
    indices, _ = nearest(samples.flatten(1), references)
    image = grids.neighbours_grid(samples, as_images(train.read(indices)))
    about = {
        "run": trained.run.path.name,
        "step": str(trained.step),
        "seed": str(seed),
        "weights": weights,
    }
    save_image(image, trained.run.path / "neighbours.png", about)
