"""Scores of a system conditioned on captions: the classes of its samples, and how D ranks captions."""

import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images, conditions, to_uint8
from ganforge.data.dataset import Dataset, batch_of, held_out
from ganforge.data.open import open_dataset
from ganforge.data.split import Split
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.evaluation.score import CHUNK, Evaluated, Protocol, Score, finite, rows_of, stored_parts
from ganforge.evaluation.scores.labels import mean_of_classes, predictions
from ganforge.runs.conditions import captions_at, captions_like

MOST_PAIRS = 2_000


def caption_conditions(dataset: Dataset, count: int, seed: int) -> tuple[Batch, Protocol]:
    """Captions of training images for `count` samples, with their labels, drawn by the seed."""
    train = dataset.splits["train"]
    averaged = dataset.options.captions_per_image
    text = f"of {dataset.options.data} train, drawn by the seed"
    if averaged > 1:
        text += f", means of up to {averaged} of an image"
    return captions_like(train, count, seed)[0], {"captions": text}


def score_captions(evaluated: Evaluated) -> list[Score]:
    """Scores of samples that were drawn with the captions of `caption_conditions`."""
    trained, dataset, protocol = evaluated.trained, evaluated.dataset, evaluated.sample_protocol
    if trained is None or "embeddings" not in evaluated.needs:
        return []
    scores = _caption_ranking(evaluated)
    classifier, train = evaluated.class_classifier, dataset.splits["train"]
    if classifier is None or train.labels is None:
        return scores
    name, reference = evaluated.reference
    _, rows = captions_like(train, len(evaluated.samples), protocol["seed"])
    predicted = predictions(classifier, evaluated.samples)
    scores += [mean_of_classes("category_accuracy", predicted, train.labels[rows], classifier, protocol)]
    captioned = _captioned(reference)
    if reference is not train and reference.labels is not None and len(captioned):
        images = predictions(classifier, torch.cat(list(stored_parts(reference))))
        rule = {"data": f"{dataset.options.data} {name}, {len(reference)} real images"}
        scores += [mean_of_classes("category_accuracy_real", images, reference.labels, classifier, rule)]
        given = captions_at(reference, captioned)
        drawn = trained.draw(len(captioned), seed=protocol["seed"], weights=protocol["weights"], given=given)
        others = predictions(classifier, to_uint8(finite(torch.cat(list(drawn)), "samples")))
        rule = protocol | {"captions": f"the first of each of {dataset.options.data} {name}"}
        labels = reference.labels[captioned]
        scores += [mean_of_classes("category_accuracy_held_out", others, labels, classifier, rule)]
    return scores + _subcategories(evaluated, rows)


def _captioned(images: Split) -> Tensor:
    """The rows int64 of the images that have captions; held-out ones need none."""
    captions = images.captions or ()
    return torch.tensor([row for row, texts in enumerate(captions) if texts], dtype=torch.int64)


def _caption_ranking(evaluated: Evaluated) -> list[Score]:
    """How often D ranks a real image's own caption above another image's, at random, that differs."""
    scores = []
    trained, dataset, protocol = evaluated.trained, evaluated.dataset, evaluated.sample_protocol
    assert trained is not None
    if not trained.has_discriminator:
        return []
    name, reference = evaluated.reference
    for kind, split, images in (("", "train", dataset.splits["train"]), ("_held_out", name, reference)):
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
        ranked = torch.cat(above)
        if not len(ranked):  # all captions are the same
            continue
        rule = protocol | {"pairs": f"{len(ranked)} images of {dataset.options.data} {split}"}
        value = 100 * float(ranked.double().mean())
        scores.append(Score(name=f"caption_ranking_accuracy{kind}", value=value, unit="%", protocol=rule))
    return scores


def _subcategories(evaluated: Evaluated, rows: Tensor) -> list[Score]:
    """The same by finer classes, predicted by the nearest training image in the classifier's features."""
    dataset, protocol, classifier = evaluated.dataset, evaluated.sample_protocol, evaluated.classifier
    if dataset.finer_label_column is None or classifier is None:
        return []
    options = dataset.options.model_copy(update={"label_column": dataset.finer_label_column})
    finer = open_dataset(options)
    name, reference = held_out(finer)
    train = finer.splits["train"]
    assert train.labels is not None
    assert reference.labels is not None
    known = torch.cat([classifier.features(as_images(train.read(part))) for part in rows_of(train)])
    rule = {"classifier": f"nearest training image in the features of the {classifier.name} classifier"}

    def predicted(images: Tensor) -> Tensor:
        assert train.labels is not None
        features = torch.cat([classifier.features(as_images(part)) for part in images.split(CHUNK)])
        return train.labels[nearest(features, [known])[0]]

    samples = predicted(evaluated.samples)
    real = predicted(torch.cat(list(stored_parts(reference))))
    of_real = rule | {"data": f"{dataset.options.data} {name}, {len(reference)} real images"}
    return [
        mean_of_classes("subcategory_accuracy", samples, train.labels[rows], None, protocol | rule),
        mean_of_classes("subcategory_accuracy_real", real, reference.labels, None, of_real),
    ]
