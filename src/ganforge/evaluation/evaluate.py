"""Judging a run: every number with the protocol that makes it comparable."""

import shlex
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from ganforge.data.batch import Batch, as_images, conditions
from ganforge.data.dataset import Dataset, held_out
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources import stacked_mnist
from ganforge.distributed import Shard, shared
from ganforge.errors import UserError
from ganforge.evaluation.features.cache import FeatureNetwork
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.features.select import feature_network
from ganforge.evaluation.features.untrained import RandomConvolutions
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.evaluation.score import Protocol, finite, stored_parts
from ganforge.evaluation.score import Score as Score
from ganforge.evaluation.scores.captions import caption_conditions, score_captions
from ganforge.evaluation.scores.distribution import score_distribution
from ganforge.evaluation.scores.diversity import score_path_length, score_similarity
from ganforge.evaluation.scores.labels import score_codes, score_labels, score_translated_classes
from ganforge.evaluation.scores.pixels import STACK_SAMPLES, has_parzen, score_parzen, score_stacks
from ganforge.evaluation.scores.points import score_points
from ganforge.evaluation.scores.retrieval import score_retrieval
from ganforge.evaluation.scores.samples import draw_images
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
    """Judge the run folder `run` with `num_samples` samples; store the scores in it and remake its report.

    Of a run that came with the package nothing is stored.
    Left out, these are 10,000, and of stacked-mnist the 26,000 of the papers; of pairs each held-out source.
    `features` is the network whose features are compared, see `evaluation.features.select.feature_network`.
    `checkpoint` "best" judges the one that `--keep-best` kept. Opens the data that the run was trained on;
    `say` is told what is being measured; `system` as of `load`. Of `devices` processes that torchrun has
    started, each calls this and draws its part of the samples; the first gets and stores the scores, which
    are those of one process, the others get none. Raises UserError where the run or its data cannot be
    opened, and as `shared`.
    """
    with shared(devices, device, f"evaluate {shlex.quote(str(run))}") as share:
        trained, dataset = _open(run, device, checkpoint, system)
        network = None
        if _draws_pixels(trained, dataset):
            network = feature_network(features, dataset, features_weights)
        scores = judge(
            trained,
            dataset,
            num_samples=num_samples,
            seed=seed,
            weights=weights,
            network=network,
            share=share,
            say=say,
        )
    if share.rank:
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
    images_of: str,
    *,
    num_samples: int | None = None,
    features: str = "auto",
    features_weights: Path | None = None,
) -> list[Score]:
    """Judge the images of a folder or zip, whatever made them, against the data of `run`; writes nothing.

    They are brought to the size and channels of these data; left out, `num_samples` is all, at most 10,000.
    Without a judge of the data, "auto" is random convolutions. Raises UserError where either cannot be
    opened, there are fewer than two images, or the data are points or are not square.
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
    asked = {"data": images_of, "size": spec.height, "channels": channels}
    given = open_dataset(DataOptions.model_validate(asked))
    found = given.splits["train"]
    count = min(len(found), NUM_SAMPLES if num_samples is None else num_samples)
    if count < 2:
        raise UserError(f"--samples {images_of}: {count} images to judge, expected 2 or more")
    network = feature_network(features, dataset, features_weights) or RandomConvolutions(*spec.shape)
    samples = torch.cat(list(stored_parts(found, count)))
    made = f"files, fingerprint {given.fingerprint[:12]}, brought to {spec.width}x{spec.height} by {RESIZING}"
    protocol: Protocol = {"samples": made}
    scores = score_distribution(network, samples, None, dataset, protocol)
    return scores + score_similarity(samples, None, dataset, protocol)


def _open(run: str | Path, device: str, checkpoint: Which, system: str | None) -> tuple[Trained, Dataset]:
    """The run and the data that it was trained on; raises UserError where these have changed."""
    trained = load(run, device, checkpoint, system)
    dataset = data_of(trained.run)
    _check_unchanged(dataset, trained.run)
    return trained, dataset


def _draws_pixels(trained: Trained, dataset: Dataset) -> bool:
    return dataset.spec.values == "pixels" and trained.system.generates_images


def _check_unchanged(dataset: Dataset, run: Run) -> None:
    if dataset.fingerprint != run.config.fingerprint:
        raise UserError(
            f"{dataset.options.data} has changed since {run.path} was trained: scores would mislead"
        )


def judge(
    trained: Trained,
    dataset: Dataset,
    *,
    num_samples: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    network: FeatureNetwork | None = None,
    share: Shard = ALONE,
    say: Callable[[str], None] = lambda text: None,
) -> list[Score]:
    """All scores that apply to this system and this data; writes nothing.

    `network` is whose features are compared; left out: the judge of these data, where there is one. Of
    several processes that `share` the work, all but the first return nothing.
    """
    stacks = dataset.options.data == stacked_mnist.NAME
    paired = "sources" in trained.system.needs
    if num_samples is None:
        num_samples = STACK_SAMPLES if stacks else NUM_SAMPLES
        num_samples = min(num_samples, len(held_out(dataset)[1])) if paired else num_samples
    if num_samples < 2:
        raise UserError(f"--num-samples {num_samples}: expected 2 or more")
    if share.ranks > 1 and not _draws_pixels(trained, dataset):
        raise UserError(f"--devices {share.ranks}: only images are shared out: leave torchrun and it out")
    weights = trained.resolve_weights(weights)
    protocol: Protocol = {"weights": weights, "seed": seed, "step": trained.step}
    if not trained.system.generates_images:
        say("captions of images")
        return score_retrieval(trained, dataset, weights, protocol)
    given, asked = _conditions_of_data(trained, dataset, num_samples, seed)
    of_samples = protocol | asked
    say(f"drawing {num_samples} samples")
    if dataset.spec.values == "points":
        points = trained.sample(num_samples, seed=seed, weights=weights, given=given)
        samples = finite(points, "samples")
        scores = score_points(samples, dataset, of_samples)
    else:
        samples, scores = _judge_images(trained, dataset, num_samples, given, of_samples, network, share, say)
        if share.rank:
            return []
        if paired:
            judge_near = score_super_resolution if dataset.spec.enlarges else score_translation
            scores += judge_near(samples, dataset, of_samples)
        if "embeddings" in trained.system.needs:
            say("captions")
            scores += score_captions(trained, samples, dataset, classifier_of(dataset), of_samples)
        if stacks:
            say("stacks of digits")
            scores += score_stacks(samples, of_samples)
    say("discriminator on held-out data")
    scores += score_discriminator(trained, samples, given, dataset, of_samples)
    scores += score_codes(trained, dataset, weights, protocol)
    return scores + score_measures(trained, dataset, num_samples, seed, weights, protocol)


def _conditions_of_data(
    trained: Trained, dataset: Dataset, count: int, seed: int
) -> tuple[Batch | None, Protocol]:
    """What the samples are asked for, by `conditions_like` or training captions, and what to say of it."""
    if "embeddings" in trained.system.needs:
        return caption_conditions(dataset, count, seed)
    name, reference = held_out(dataset)
    given = conditions_like(trained.system, reference, count, seed)
    if "sources" in trained.system.needs:
        times = f"{count / len(reference):.3g} times" if count > len(reference) else "once"
        options = dataset.options
        said = {
            "pairs": options.pairs if options.sources is None else f"files of {options.sources}",
            "sources": f"{min(count, len(reference))} of {options.data} {name}, each {times}",
        }
        return given, said
    shuffled = f"those of {dataset.options.data} {name}, shuffled by the seed"
    return given, {} if given is None else {"labels": shuffled}


def _judge_images(
    trained: Trained,
    dataset: Dataset,
    count: int,
    given: Batch | None,
    protocol: Protocol,
    network: FeatureNetwork | None,
    share: Shard,
    say: Callable[[str], None],
) -> tuple[Tensor, list[Score]]:
    """The samples, uint8, and the scores of them as images; of several processes the first has both."""
    found, weights = classifier_of(dataset), protocol["weights"]
    chosen = found[0] if network is None and found is not None else network
    drawn = draw_images(trained, dataset, count, given, protocol, chosen, share)
    samples = drawn.pixels
    if share.rank:
        return samples, []
    timing = protocol | {"generated": count, "device": trained.system.device.type}
    if share.ranks > 1:
        timing["processes"] = share.ranks
    rate = count / drawn.seconds
    scores = [Score(name="sampling_speed", value=rate, unit="images/s", protocol=timing)]
    translates = given is not None and given.sources is not None
    labels = None if given is None else given.labels
    if chosen is not None:
        say("distances and neighbours of features")
        scores += score_distribution(chosen, samples, labels, dataset, protocol, drawn.features)
    if found is not None:
        judge_network, knows_classes = found
        if knows_classes and labels is not None:
            scores += score_labels(judge_network, samples, labels, dataset, protocol)
            if translates:
                scores += score_translated_classes(judge_network, samples, labels, dataset, protocol)
        if not translates:
            say("paths between latents")
            scores += score_path_length(judge_network, trained, weights, protocol, given)
    scores += score_similarity(samples, labels, dataset, protocol)
    if has_parzen(dataset) and not translates:
        say("Parzen log-likelihood")
        unrounded = drawn.unrounded
        if unrounded is None:  # Mirza and Osindero 2014, section 4.1: as many of each class
            classes = len(dataset.spec.class_names)
            even = conditions(torch.arange(count) % classes)
            again = trained.sample(count, seed=protocol["seed"], weights=weights, given=even)
            unrounded = finite(again, "samples")
            protocol = protocol | {"labels": f"{count / classes:.10g} samples of each of {classes} classes"}
        scores.append(score_parzen(unrounded, dataset, protocol))
    return samples, scores


def _draw_neighbours(trained: Trained, dataset: Dataset, seed: int, weights: Weights) -> None:
    """Figure 2 of Goodfellow et al. 2014: samples beside their nearest training images."""
    given, _ = _conditions_of_data(trained, dataset, NUM_NEIGHBOURS, seed)
    if given is not None and given.sources is None and given.embeddings is None:
        given = None  # a system draws labels itself
    samples = trained.sample(NUM_NEIGHBOURS, seed=seed, weights=weights, given=given)
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
