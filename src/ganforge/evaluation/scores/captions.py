"""Scores of a system that is told captions: whether it draws what they name, and hears a wrong one."""

import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images, conditions, to_uint8
from ganforge.data.dataset import Dataset, batch_of, held_out
from ganforge.data.open import open_dataset
from ganforge.data.split import Split
from ganforge.evaluation.features.classifiers import ReferenceClassifier
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.evaluation.score import CHUNK, Protocol, Score, finite, rows_of, stored_parts
from ganforge.evaluation.scores.labels import mean_of_classes, named
from ganforge.runs.conditions import captions_at, captions_like
from ganforge.runs.trained import Trained

MOST_PAIRS = 2_000
SUBCATEGORIES = {"emoji": "subcategory"}  # data set -> column of its metadata with finer classes


def caption_conditions(dataset: Dataset, count: int, seed: int) -> tuple[Batch, Protocol]:
    """Captions of training images for `count` samples, with their labels, drawn by the seed."""
    train = dataset.splits["train"]
    averaged = dataset.options.captions_per_image
    said = f"of {dataset.options.data} train, drawn by the seed"
    if averaged > 1:
        said += f", means of up to {averaged} of an image"
    return captions_like(train, count, seed)[0], {"captions": said}


def score_captions(
    trained: Trained,
    samples: Tensor,
    dataset: Dataset,
    found: tuple[ReferenceClassifier, bool] | None,
    protocol: Protocol,
) -> list[Score]:
    """Scores of `samples` uint8 that were told the captions of `caption_conditions`."""
    scores = _matching(trained, dataset, protocol)
    if found is None or not found[1] or dataset.splits["train"].labels is None:
        return scores
    judge = found[0]
    train = dataset.splits["train"]
    name, reference = held_out(dataset)
    _, rows = captions_like(train, len(samples), protocol["seed"])
    assert train.labels is not None
    found_classes = named(judge, samples)
    scores += [mean_of_classes("category_agreement", found_classes, train.labels[rows], judge, protocol)]
    captioned = _captioned(reference)
    if reference is not train and reference.labels is not None and len(captioned):
        images = torch.cat(list(stored_parts(reference)))
        rule = {"data": f"{dataset.options.data} {name}, {len(reference)} real images"}
        real = mean_of_classes(
            "category_agreement_of_real", named(judge, images), reference.labels, judge, rule
        )
        given = captions_at(reference, captioned)
        drawn = trained.draw(len(captioned), seed=protocol["seed"], weights=protocol["weights"], given=given)
        others = to_uint8(finite(torch.cat(list(drawn)), "samples"))
        rule = protocol | {"captions": f"the first of each of {dataset.options.data} {name}"}
        new = "category_agreement_of_new"
        scores += [
            real,
            mean_of_classes(new, named(judge, others), reference.labels[captioned], judge, rule),
        ]
    if dataset.options.data in SUBCATEGORIES:
        scores += _subcategories(judge, samples, rows, dataset, protocol)
    return scores


def _captioned(images: Split) -> Tensor:
    """The rows int64 of the images that have captions; held-out ones need none."""
    captions = images.captions or ()
    return torch.tensor([row for row, texts in enumerate(captions) if texts], dtype=torch.int64)


def _matching(trained: Trained, dataset: Dataset, protocol: Protocol) -> list[Score]:
    """How often D prefers a real image's own caption to another image's, at random, that differs."""
    if not trained.has_discriminator:
        return []
    scores = []
    name, reference = held_out(dataset)
    for kind, split, images in (("", "train", dataset.splits["train"]), ("_of_new", name, reference)):
        if kind and images is dataset.splits["train"]:
            continue
        generator = torch.Generator().manual_seed(protocol["seed"] % 2**64)
        rows = _captioned(images)
        if not len(rows):
            continue
        rows = rows[torch.randperm(len(rows), generator=generator)[:MOST_PAIRS]]
        above = []
        for part in rows.split(CHUNK):
            batch = batch_of(images, part)
            assert batch.embeddings is not None
            wrong = batch.embeddings.roll(1, 0)
            pairs = [(batch.images, batch), (batch.images, conditions(embeddings=wrong))]
            own, other = trained.call("discriminate", pairs, weights="raw")
            differs = (wrong != batch.embeddings).any(1)
            above.append((own > other)[differs])
        if not len(torch.cat(above)):  # all captions are the same
            continue
        share = float(torch.cat(above).double().mean())
        rule = protocol | {"pairs": f"{len(torch.cat(above))} images of {dataset.options.data} {split}"}
        scores.append(
            Score(name=f"matching_above_mismatched{kind}", value=100 * share, unit="%", protocol=rule)
        )
    return scores


def _subcategories(
    judge: ReferenceClassifier, samples: Tensor, rows: Tensor, dataset: Dataset, protocol: Protocol
) -> list[Score]:
    """The same by finer classes, named by the nearest training image in the judge's features."""
    options = dataset.options.model_copy(update={"label_column": SUBCATEGORIES[dataset.options.data]})
    finer = open_dataset(options)
    name, reference = held_out(finer)
    train = finer.splits["train"]
    assert train.labels is not None
    assert reference.labels is not None
    known = torch.cat([judge.features(as_images(train.read(part))) for part in rows_of(train)])
    rule = {"classifier": f"nearest training image in the features of the {judge.name} judge"}

    def named(images: Tensor) -> Tensor:
        assert train.labels is not None
        features = torch.cat([judge.features(as_images(part)) for part in images.split(CHUNK)])
        return train.labels[nearest(features, [known])[0]]

    real = named(torch.cat(list(stored_parts(reference))))
    of_real = rule | {"data": f"{dataset.options.data} {name}, {len(reference)} real images"}
    return [
        mean_of_classes("subcategory_agreement", named(samples), train.labels[rows], None, protocol | rule),
        mean_of_classes("subcategory_agreement_of_real", real, reference.labels, None, of_real),
    ]
