"""Which labels, captions or sources samples are conditioned on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.data.batch import Batch, conditions
from ganforge.data.captions import kept_captions
from ganforge.data.dataset import batch_of, held_out, repeated_rows, some_rows, with_codes
from ganforge.data.split import Split
from ganforge.errors import UserError
from ganforge.files.download import offline
from ganforge.runs.data import open_data
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import PRETRAINED
from ganforge.runs.trained import Label, Trained
from ganforge.system import System

PREVIEW_COLUMNS = 8
MOST_PREVIEW_ROWS = 16
NUM_CAPTIONS = 8
NUM_SOURCES = 16


def conditions_like(system: System, reference: Split, count: int, seed: int) -> Batch | None:
    """Conditions of `count` samples that are compared with as many images of `reference`.

    The labels of these images (`repeated_rows`), shuffled by the seed, or their sources in order; None for a
    system that uses neither.
    """
    if "sources" in system.needs:
        batch = batch_of(reference, repeated_rows(reference, count))
        return conditions(batch.labels, batch.sources)
    if "labels" not in system.conditions or reference.labels is None:
        return None
    labels = reference.labels[repeated_rows(reference, count)]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed % 2**64))
    return conditions(labels[order])


def captions_like(train: Split, count: int, seed: int) -> tuple[Batch, Tensor]:
    """Captions of training images for `count` samples, drawn with replacement, and the rows of these images.

    `train` has embeddings; the conditions hold the images' labels too.
    """
    generator = torch.Generator().manual_seed(seed % 2**64)
    draws = torch.rand(count, generator=generator, dtype=torch.float64)
    generator = torch.Generator().manual_seed((seed + 1) % 2**64)
    rows = torch.randint(len(train), (count,), generator=generator)
    return captions_at(train, rows, draws), rows


def captions_at(images: Split, rows: Tensor, draws: Tensor | None = None) -> Batch:
    """Labels and caption embeddings of the images `rows` as conditions; `draws` as in `Texts.put_into`."""
    assert images.texts is not None
    labels = None if images.labels is None else images.labels[rows]
    captioned = images.texts.put_into(Batch(torch.empty(len(rows), 0, 0, 0)), rows, draws)
    return conditions(labels, embeddings=captioned.embeddings)


def preview_conditions(system: System) -> Batch | None:
    """Labels for a grid of `PREVIEW_COLUMNS` columns with a row for each class, at most sixteen.

    None where the system uses no labels, and for points, which share one scatter plot.
    """
    if "labels" not in system.conditions or system.data.values == "points":
        return None
    rows = min(len(system.data.class_names), MOST_PREVIEW_ROWS)
    return conditions(torch.arange(rows).repeat_interleave(PREVIEW_COLUMNS))


def class_conditions(
    trained: Trained, labels: Sequence[Label] | None, count: int | None, default_count: int
) -> tuple[Batch | None, int | None]:
    """Labels for `count` samples, which take turns, and the columns of a grid with one class in each.

    Without `labels` all classes take turns. `default_count` is used where both are missing. No columns where
    there are as many labels as samples, or too many for a grid; neither for a system that uses no labels.
    """
    if labels is None:
        if "labels" not in trained.system.conditions:
            return None, None
        count = default_count if count is None else count
        labels = range(min(count, len(trained.run.config.spec.class_names)))
    batch = trained.conditions(labels, count)
    in_columns = len(labels) < len(batch.images) and len(labels) <= MOST_PREVIEW_ROWS
    return batch, len(labels) if in_columns else None


def training_captions(run: Run, seed: int, data: str | None = None) -> list[str]:
    """The first captions of `NUM_CAPTIONS` training images of a run, drawn by the seed.

    `data` as of `open_data`. Raises UserError, which names --text, where its data cannot be opened or no
    longer have captions.
    """
    hint = 'add --text "a red apple"'
    try:
        with offline():
            dataset = open_data(run, data, finish=with_codes, strict=False)
    except UserError as error:
        raise UserError(
            f"no --text, and the captions of the run's data cannot be read ({error}): {hint}"
        ) from error
    if not dataset.spec.caption_alphabet:
        raise UserError(f"no --text, and {dataset.options.data} no longer has captions: {hint}")
    captions = kept_captions("train", dataset.splits["train"].caption_lists)
    order = torch.randperm(len(captions), generator=torch.Generator().manual_seed(seed % 2**64))
    return [captions[row][0] for row in order[:NUM_CAPTIONS].tolist()]


def held_out_pairs(run: Run, count: int | None, data: str | None = None) -> tuple[Batch, list[str]]:
    """`count` held-out pairs of a run's data, evenly spaced, and their names; `data` as of `open_data`.

    Raises UserError, which names --sources, where the data cannot be opened or have changed.
    """
    config = run.config
    try:
        with offline():
            dataset = open_data(run, data, strict=False)
    except UserError as error:
        if run.packaged:  # its images are somebody's, and not in the package
            raise UserError(
                f"{PRETRAINED}{run.path.name} needs images of yours: ganforge apply "
                f"{PRETRAINED}{run.path.name} photo.jpg, or name some with --sources"
            ) from error
        raise UserError(
            f"the data of {run.path} cannot be opened ({error}): give other sources with --sources"
        ) from error
    if dataset.spec.source_shape != config.spec.source_shape or dataset.spec.shape != config.spec.shape:
        raise UserError(f"{config.data.data} has changed since {run.path} was trained: give --sources FOLDER")
    name, split = held_out(dataset)
    if count is not None and count > len(split):
        raise UserError(f"--count {count}: {config.data.data} {name} has {len(split)} pairs")
    rows = some_rows(split, NUM_SOURCES if count is None else count)
    return batch_of(split, rows), [split.name(row) for row in rows.tolist()]
