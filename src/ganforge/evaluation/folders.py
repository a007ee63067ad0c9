"""Scoring a folder of images, whatever made them, against the data of a run or another folder."""

from pathlib import Path
from typing import Any

import torch

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.features.select import feature_extractor
from ganforge.evaluation.score import NUM_SAMPLES, Evaluated, Score, stored_parts
from ganforge.evaluation.scores.distribution import score_distribution
from ganforge.evaluation.scores.diversity import score_similarity
from ganforge.runs.folder import Run
from ganforge.text.embeddings import data_of

FITTING = {"crop": "cropping", "pad": "padding", "stretch": "stretching"}
RESIZING = "Lanczos where larger, bicubic where smaller"
"""How `ganforge.data.decode.fit` resizes."""


def evaluate_images(
    run: str | Path | None,
    images: str,
    data: str | None = None,
    size: int | None = None,
    num_samples: int | None = None,
    features: str = "auto",
    features_weights: Path | None = None,
) -> list[Score]:
    """Score the images of a folder or zip, from any source, against the data of `run`; writes nothing.

    `data`: where these are now, if they have moved. Without a run, against those of `data`, at `size` where
    that is given. The images are brought to the size and channels of these data; the default `num_samples` is
    all, at most 10,000. Raises UserError where either cannot be opened, there are fewer than two images, or
    the data are points.
    """
    dataset = _reference(run, data, size)
    spec = dataset.spec
    if spec.values != "pixels":
        raise UserError(f"--samples: {dataset.options.data} has 2-D points: expected images")
    extractor = feature_extractor(features, dataset, features_weights)
    folder = _opened_like(dataset, images)
    splits = list(folder.splits.values())
    total = sum(map(len, splits))
    count = min(total, NUM_SAMPLES if num_samples is None else num_samples)
    if count < 2:
        raise UserError(f"--samples {images}: {count} images to score, expected 2 or more")
    stored = torch.cat([part for split in splits for part in stored_parts(split)])
    fitting = FITTING.get(folder.options.fit, folder.options.fit)
    made = (
        f"files, fingerprint {folder.fingerprint[:12]}, brought to {spec.width}x{spec.height} by {fitting}, "
        f"{RESIZING}"
    )
    evaluated = Evaluated(
        dataset=dataset,
        samples=stored[torch.arange(count) * total // count],
        protocol={"samples": made},
        extractor=extractor,
    )
    return score_distribution(evaluated) + score_similarity(evaluated)


def _reference(run: str | Path | None, data: str | None, size: int | None) -> Dataset:
    """What images are scored against: the data of a run, or the data called `data`."""
    if run is None:
        if data is None:
            raise UserError("--samples needs something to compare with: name a run, or --data FOLDER")
        if size is not None and size < 1:
            raise UserError(f"--size {size}: expected 1 or more")
        return open_dataset(DataOptions.model_validate({"data": data, "size": size}))
    if size is not None:
        raise UserError("--size is for --samples without a run: leave it out, or the run")
    return data_of(Run.open(Path(run)), data)


def _opened_like(dataset: Dataset, images: str) -> Dataset:
    """The images of a folder or zip in the shape of `dataset`."""
    spec = dataset.spec
    square = spec.height == spec.width
    options: dict[str, Any] = {
        "data": images,
        "channels": "grey" if spec.channels == 1 else "color",
        "label_column": "none",
    }
    options |= {"fit": dataset.options.fit, "range": dataset.options.range}
    options |= {"size": spec.height} if square else {}
    folder = open_dataset(DataOptions.model_validate(options))
    if folder.spec.bits != spec.bits:  # not of the depth that the range of the run counts in
        folder = open_dataset(DataOptions.model_validate(options | {"range": "full"}))
    if folder.spec.shape[1:] != spec.shape[1:]:
        shapes = [f"{each.width}x{each.height}" for each in (folder.spec, spec)]
        raise UserError(
            f"--samples {images}: images of {shapes[0]}, {dataset.options.data} has {shapes[1]}: expected "
            "equal shapes, or --size N for squares"
        )
    return folder
