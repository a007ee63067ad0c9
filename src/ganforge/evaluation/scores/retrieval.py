"""Scores of a text encoder: whether a caption finds its image, and captions of its own class."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganforge.data.batch import as_images
from ganforge.data.captions import encode, held_out_captions, kept_captions
from ganforge.data.dataset import Dataset, held_out
from ganforge.data.split import Split
from ganforge.evaluation.score import CHUNK, Protocol, Score, stored_parts
from ganforge.evaluation.scores.labels import mean_of_classes
from ganforge.runs.trained import Trained, Weights

BEST = 10


def score_retrieval(trained: Trained, dataset: Dataset, weights: Weights, protocol: Protocol) -> list[Score]:
    """Recall at 10: of held-out captions among training images, of all captions among held-out images.

    Each beside how many times that of guessing it is; of labelled data also the classes of neighbours.
    """
    scores = []
    train = dataset.splits["train"]
    asked = held_out_captions(train.caption_lists)
    if asked and train.captions is not None:
        texts = [train.captions[row][number] for row, number in asked]
        rows = torch.tensor([row for row, _ in asked])
        scores += _recall(trained, train, texts, rows, "caption", dataset, weights, protocol)
    name, reference = held_out(dataset)
    if reference is not train and reference.captions is not None:
        pairs = [(text, row) for row, texts in enumerate(reference.captions) for text in texts]
        texts, rows = [text for text, _ in pairs], torch.tensor([row for _, row in pairs])
        rule = protocol | {"split": name}
        scores += _recall(trained, reference, texts, rows, "new_image", dataset, weights, rule)
    return scores + _neighbours(trained, dataset, weights, protocol)


def _neighbours(trained: Trained, dataset: Dataset, weights: Weights, protocol: Protocol) -> list[Score]:
    """How often the caption nearest to an image's is of an image of the same class.

    The captions are the first that training sees of each training image; those that look for their
    nearest are these, each among those that differ from it, and the first of each held-out image.
    """
    train = dataset.splits["train"]
    if train.labels is None or train.captions is None:
        return []
    rule = protocol | {"nearest": f"by the cosine, of {len(train)} captions of {dataset.options.data} train"}
    texts = [captions[0] for captions in kept_captions("train", train.caption_lists)]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    known = normalize(_embedded(trained, texts, weights))
    scores = []
    # A class of one image has no neighbour to find.
    shared = train.labels.bincount()[train.labels] > 1
    if len(numbers) > 1 and bool(shared.any()):
        found = train.labels[nearest_others(known, torch.tensor([numbers[text] for text in texts]))]
        rows = shared.nonzero()[:, 0]
        scores += [mean_of_classes("neighbour_agreement", found[rows], train.labels[rows], None, rule)]
    name, reference = held_out(dataset)
    captions = reference.captions or ()
    rows = torch.tensor([row for row, texts in enumerate(captions) if texts], dtype=torch.int64)
    if reference is train or reference.labels is None or not len(rows):
        return scores
    asked = normalize(_embedded(trained, [captions[row][0] for row in rows.tolist()], weights))
    found = train.labels[torch.cat([(part @ known.T).argmax(1) for part in asked.split(CHUNK)])]
    labels, rule = reference.labels[rows], rule | {"split": name}
    return [*scores, mean_of_classes("neighbour_agreement_of_new", found, labels, None, rule)]


def nearest_others(vectors: Tensor, groups: Tensor) -> Tensor:
    """Of each of the unit `vectors` `[n, d]` the index int64 of that with the largest product.

    Those of its own group do not count, int64 `[n]` of two groups or more.
    """
    parts = []
    for rows in torch.arange(len(vectors)).split(CHUNK):
        products = vectors[rows] @ vectors.T
        products[groups[rows][:, None] == groups] = -torch.inf
        parts.append(products.argmax(1))
    return torch.cat(parts)


def _embedded(trained: Trained, texts: list[str], weights: Weights) -> Tensor:
    spec = trained.run.config.spec
    codes = encode(texts, spec.caption_alphabet, spec.caption_length).long()
    return torch.cat(list(trained.call("encode_captions", codes.split(CHUNK), weights=weights)))


def _recall(
    trained: Trained,
    images: Split,
    texts: list[str],
    rows: Tensor,
    kind: str,
    dataset: Dataset,
    weights: Weights,
    protocol: Protocol,
) -> list[Score]:
    embeddings = torch.cat(
        list(trained.call("encode_images", map(as_images, stored_parts(images)), weights=weights))
    )
    best = (_embedded(trained, texts, weights) @ embeddings.T).topk(min(BEST, len(embeddings))).indices
    share = float((best == rows[:, None]).any(1).double().mean())
    chance = min(BEST, len(embeddings)) / len(embeddings)
    rule = protocol | {
        "captions": len(texts),
        "images": f"{len(embeddings)} of {dataset.options.data}",
        "fit": "inner product of the embeddings of caption and image",
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
