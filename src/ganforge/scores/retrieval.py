"""Scores of a text encoder: whether a caption finds its picture, and captions of its own class."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganforge.data.batch import as_images
from ganforge.data.captions import encode, held_out_captions, kept_captions
from ganforge.data.datasets import Dataset
from ganforge.data.images import Images
from ganforge.scores import CHUNK, Protocol, Score, held_out, stored_parts
from ganforge.scores.conditions import mean_of_classes
from ganforge.trained import Trained, Weights

BEST = 10


def judge_retrieval(trained: Trained, dataset: Dataset, weights: Weights, protocol: Protocol) -> list[Score]:
    """Recall at 10: of held-out captions among training pictures, of all captions among held-out pictures.

    Each beside how many times that of guessing it is; of labelled data also the classes of neighbours.
    """
    scores = []
    train = dataset.splits["train"]
    asked = held_out_captions(train)
    if asked and train.captions is not None:
        texts = [train.captions[row][number] for row, number in asked]
        rows = torch.tensor([row for row, _ in asked])
        scores += _recall(trained, train, texts, rows, "caption", dataset, weights, protocol)
    name, reference = held_out(dataset)
    if reference is not train and reference.captions is not None:
        pairs = [(text, row) for row, texts in enumerate(reference.captions) for text in texts]
        texts, rows = [text for text, _ in pairs], torch.tensor([row for _, row in pairs])
        rule = protocol | {"split": name}
        scores += _recall(trained, reference, texts, rows, "new_picture", dataset, weights, rule)
    return scores + _neighbours(trained, dataset, weights, protocol)


def _neighbours(trained: Trained, dataset: Dataset, weights: Weights, protocol: Protocol) -> list[Score]:
    """How often the caption nearest to a picture's is of a picture of the same class.

    The captions are the first that training sees of each training picture; those that look for their
    nearest are these, each among the others, and the first of each held-out picture.
    """
    train = dataset.splits["train"]
    if train.labels is None or len(train) < 2:
        return []
    rule = protocol | {"nearest": f"by the cosine, of {len(train)} captions of {dataset.options.data} train"}
    known = normalize(_embedded(trained, [texts[0] for texts in kept_captions("train", train)], weights))
    others = train.labels[nearest_others(known)]
    scores = [mean_of_classes("neighbour_agreement", others, train.labels, None, rule)]
    name, reference = held_out(dataset)
    if reference is train or reference.labels is None:
        return scores
    rows = [row for row, texts in enumerate(reference.captions or ()) if texts]
    if not rows:
        return scores
    asked = normalize(_embedded(trained, [(reference.captions or ())[row][0] for row in rows], weights))
    found = torch.cat([(part @ known.T).argmax(1) for part in asked.split(CHUNK)])
    labels = reference.labels[torch.tensor(rows)]
    new = mean_of_classes(
        "neighbour_agreement_of_new", train.labels[found], labels, None, rule | {"split": name}
    )
    return [*scores, new]


def nearest_others(vectors: Tensor) -> Tensor:
    """Of each of the unit `vectors` `[n, d]` the index int64 of that other one with the largest product."""
    own = torch.arange(len(vectors)).split(CHUNK)
    parts = [(vectors[rows] @ vectors.T).topk(2).indices for rows in own]
    first, second = torch.cat(parts).unbind(1)
    return torch.where(first == torch.cat(own), second, first)


def _embedded(trained: Trained, texts: list[str], weights: Weights) -> Tensor:
    spec = trained.run.config.spec
    codes = encode(texts, spec.caption_alphabet, spec.caption_length).long()
    return torch.cat([trained.encode_captions(part, weights) for part in codes.split(CHUNK)])


def _recall(
    trained: Trained,
    images: Images,
    texts: list[str],
    rows: Tensor,
    kind: str,
    dataset: Dataset,
    weights: Weights,
    protocol: Protocol,
) -> list[Score]:
    pictures = torch.cat([trained.encode_pictures(as_images(part), weights) for part in stored_parts(images)])
    best = (_embedded(trained, texts, weights) @ pictures.T).topk(min(BEST, len(pictures))).indices
    share = float((best == rows[:, None]).any(1).double().mean())
    chance = min(BEST, len(pictures)) / len(pictures)
    rule = protocol | {
        "captions": len(texts),
        "pictures": f"{len(pictures)} of {dataset.options.data}",
        "fit": "inner product of the embeddings of caption and picture",
    }
    return [
        Score(name=f"{kind}_recall_at_10", value=100 * share, unit="%", protocol=rule),
        Score(
            name=f"{kind}_recall_over_chance",
            value=share / chance,
            protocol=rule,
            note=f"chance {100 * chance:.2g} %",
        ),
    ]
