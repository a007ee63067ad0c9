"""Evaluating a run: every number with the protocol that makes it comparable."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from ganforge.data.batch import Batch, as_images, to_uint8
from ganforge.data.dataset import Dataset, held_out
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.distributed import Shard, shared
from ganforge.errors import UserError
from ganforge.evaluation.features.cache import FeatureExtractor
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.features.select import feature_extractor
from ganforge.evaluation.features.untrained import RandomConvolutions
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.evaluation.score import Evaluated, Protocol, finite, has_parzen, stored_parts
from ganforge.evaluation.score import Score as Score
from ganforge.evaluation.scores.captions import caption_conditions, score_captions
from ganforge.evaluation.scores.distribution import score_distribution
from ganforge.evaluation.scores.diversity import score_path_length, score_similarity
from ganforge.evaluation.scores.labels import score_classes, score_codes, score_translated_classes
from ganforge.evaluation.scores.pixels import score_parzen, score_stacks
from ganforge.evaluation.scores.points import score_points
from ganforge.evaluation.scores.retrieval import score_retrieval
from ganforge.evaluation.scores.self_reported import score_discriminator, score_measures
from ganforge.evaluation.scores.super_resolution import score_super_resolution
from ganforge.evaluation.scores.translation import score_translation
from ganforge.files.atomic import replace_file
from ganforge.reporting import grids
from ganforge.reporting.page import write_report
from ganforge.runs.conditions import conditions_like
from ganforge.runs.folder import Run
from ganforge.runs.trained import Trained, Weights, Which, load
from ganforge.text.embeddings import data_of

NUM_SAMPLES = 10_000
NUM_NEIGHBOURS = 20
ALONE = Shard()
RESIZING = "cropping, Lanczos where larger, bicubic where smaller"
"""What `ganforge.data.decode.fit` does with the default options."""


def evaluate(
    run: str | Path,
    *,
    num_samples: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    device: str = "auto",
    checkpoint: Which = "newest",
    features: str = "auto",
    features_weights: Path | None = None,
    devices: int = 1,
    system: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Score]:
    """Score the run folder `run` with `num_samples` samples; store the scores in it and rewrite its report.

    Nothing is stored in a run that came with the package. The default number of samples is 10,000, of
    stacked-mnist the 26,000 of the papers, of pairs one for each held-out source. `features` names the
    feature extractor, see `evaluation.features.select.feature_extractor`. `checkpoint` "best" scores the one
    that `--keep-best` kept; `system` as of `load`. Opens the data that the run was trained on; calls `say`
    with what is being measured. Of `devices` processes that torchrun has started, each calls this and draws
    its part of the samples; the first returns and stores the scores, which are those of one process, the
    others return none. Raises UserError where the run or its data cannot be opened, and as `shared`.
    """
    with shared(devices, device, f"evaluate {shlex.quote(str(run))}") as shard:
        trained = load(run, device, checkpoint, system)
        dataset = data_of(trained.run)
        _check_unchanged(dataset, trained.run)
        extractor = None  # the reference classifier, where there is one
        if _draws_pixels(trained, dataset) and (features != "auto" or features_weights is not None):
            extractor = feature_extractor(features, dataset, features_weights)
        scores = score_run(
            trained,
            dataset,
            num_samples=num_samples,
            seed=seed,
            weights=weights,
            extractor=extractor,
            shard=shard,
            say=say,
        )
    if shard.rank:
        return []
    if trained.run.packaged:
        return scores
    if _draws_pixels(trained, dataset):
        say("nearest training neighbours")
        _draw_neighbours(trained, dataset, seed, trained.resolve_weights(weights))
    stored = TypeAdapter(list[Score]).dump_json(scores, indent=1) + b"\n"
    replace_file(trained.run.path / "evaluation.json", stored)
    write_report(trained.run.path)
    return scores


def evaluate_images(
    run: str | Path,
    images: str,
    *,
    num_samples: int | None = None,
    features: str = "auto",
    features_weights: Path | None = None,
) -> list[Score]:
    """Score the images of a folder or zip, from any source, against the data of `run`; writes nothing.

    They are brought to the size and channels of these data; the default `num_samples` is all, at most
    10,000. Without a reference classifier of the data, "auto" is random convolutions. Raises UserError where
    either cannot be opened, there are fewer than two images, or the data are points or are not square.
    """
    opened = Run.open(Path(run))
    dataset = open_dataset(opened.config.data)
    _check_unchanged(dataset, opened)
    spec = dataset.spec
    if spec.values != "pixels" or spec.height != spec.width:
        raise UserError(
            f"--samples: {dataset.options.data} has {spec.values} of {spec.width}x{spec.height}: "
            "expected square images"
        )
    channels = "grey" if spec.channels == 1 else "color"
    options = {"data": images, "size": spec.height, "channels": channels}
    folder = open_dataset(DataOptions.model_validate(options))
    split = folder.splits["train"]
    count = min(len(split), NUM_SAMPLES if num_samples is None else num_samples)
    if count < 2:
        raise UserError(f"--samples {images}: {count} images to score, expected 2 or more")
    made = (
        f"files, fingerprint {folder.fingerprint[:12]}, brought to {spec.width}x{spec.height} by {RESIZING}"
    )
    extractor = feature_extractor(features, dataset, features_weights)
    evaluated = Evaluated(
        dataset=dataset,
        samples=torch.cat(list(stored_parts(split, count))),
        protocol={"samples": made},
        extractor=extractor or RandomConvolutions(*spec.shape),
    )
    return score_distribution(evaluated) + score_similarity(evaluated)


def _draws_pixels(trained: Trained, dataset: Dataset) -> bool:
    return dataset.spec.values == "pixels" and trained.system.generates_images


def _check_unchanged(dataset: Dataset, run: Run) -> None:
    if dataset.fingerprint != run.config.fingerprint:
        raise UserError(
            f"{dataset.options.data} has changed since {run.path} was trained: scores would mislead"
        )


def score_run(
    trained: Trained,
    dataset: Dataset,
    *,
    num_samples: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    extractor: FeatureExtractor | None = None,
    shard: Shard = ALONE,
    say: Callable[[str], None] = lambda text: None,
) -> list[Score]:
    """All scores that apply to this system and this data; writes nothing.

    The default `extractor` is the reference classifier of these data, where there is one. Of several
    processes that share the work, all but the first return nothing.
    """
    if num_samples is None:
        num_samples = NUM_SAMPLES if dataset.stack is None else dataset.stack.num_samples
        if "sources" in trained.system.needs:
            num_samples = min(num_samples, len(held_out(dataset)[1]))
    if num_samples < 2:
        raise UserError(f"--num-samples {num_samples}: expected 2 or more")
    if shard.ranks > 1 and not _draws_pixels(trained, dataset):
        raise UserError(f"--devices {shard.ranks}: expected a run that generates images; use one device")
    protocol = {"weights": trained.resolve_weights(weights), "seed": seed, "step": trained.step}
    if not trained.system.generates_images:
        say("captions of images")
        none = torch.empty(0, *dataset.spec.shape)
        return score_retrieval(Evaluated(dataset, none, protocol, trained=trained))
    say(f"drawing {num_samples} samples")
    if dataset.spec.values == "points":
        evaluated = _draw_points(trained, dataset, num_samples, protocol)
        scores = score_points(evaluated)
    else:
        evaluated = _draw_images(trained, dataset, num_samples, protocol, extractor, shard)
        if shard.rank:
            return []
        scores = _score_images(evaluated, say)
    say("discriminator on held-out data")
    return [*scores, *score_discriminator(evaluated), *score_codes(evaluated), *score_measures(evaluated)]


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
        scores += score_captions(evaluated)
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
    trained: Trained, dataset: Dataset, count: int, seed: int
) -> tuple[Batch | None, Protocol]:
    """The conditions of the samples, by `conditions_like` or training captions, and their description."""
    if "embeddings" in trained.system.needs:
        return caption_conditions(dataset, count, seed)
    name, reference = held_out(dataset)
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
) -> Evaluated:
    """`count` samples as the only value that is scored; of several processes only number 0 has them all.

    Each process draws its own part and extracts its features. Raises UserError for NaN, and as
    `Trained.draw_share`.
    """
    conditions, described = _conditions_of_data(trained, dataset, count, protocol["seed"])
    classifier = classifier_of(dataset)
    extractor = extractor or classifier
    started, seed, weights = time.monotonic(), protocol["seed"], protocol["weights"]
    pixels = torch.zeros(count, *dataset.spec.shape, dtype=torch.uint8)
    # As drawn they take four times as much memory: kept only where they are needed.
    unrounded = torch.zeros(pixels.shape) if has_parzen(dataset) and conditions is None else None
    own = []
    for rows, part in trained.draw_share(count, shard, seed=seed, weights=weights, given=conditions):
        pixels[rows] = to_uint8(finite(part, "samples"))
        if unrounded is not None:
            unrounded[rows] = part
        own.append(rows)
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
    grids.save_png(image, trained.run.path / "neighbours.png", about)
