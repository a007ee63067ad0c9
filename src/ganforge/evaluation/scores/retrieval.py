"""Scores of a text encoder: whether a caption finds its image, and captions of its own class."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganforge.data.batch import as_images
from ganforge.data.captions import encode, held_out_captions, kept_captions
from ganforge.data.split import Split
from ganforge.evaluation.score import CHUNK, Evaluated, Protocol, Score, stored_parts
from ganforge.evaluation.scores.labels import mean_of_classes
from ganforge.runs.trained import Trained, Weights

BEST = 10


def score_retrieval(evaluated: Evaluated) -> list[Score]:
    """Recall at 10: of held-out captions among training images, of all captions among held-out images.

    Each with how many times that of guessing it is; of labelled data also the classes of neighbours.
    """
    scores = []
    train = evaluated.dataset.splits["train"]
    held_out = held_out_captions(train.caption_lists)
    if held_out and train.captions is not None:
        texts = [train.captions[row][number] for row, number in held_out]
        rows = torch.tensor([row for row, _ in held_out])
        scores += _recall(evaluated, train, texts, rows, "caption", evaluated.protocol)
    name, reference = evaluated.reference
    if reference is not train and reference.captions is not None:
        pairs = [(text, row) for row, texts in enumerate(reference.captions) for text in texts]
        texts, rows = [text for text, _ in pairs], torch.tensor([row for _, row in pairs])
        rule = evaluated.protocol | {"split": name}
        scores += _recall(evaluated, reference, texts, rows, "held_out_image", rule)
    return scores + _neighbours(evaluated)


def _neighbours(evaluated: Evaluated) -> list[Score]:
    """How often the caption nearest to an image's is of an image of the same class.

    The captions are the first that training sees of each training image; those that look for their
    nearest are these, each among those that differ from it, and the first of each held-out image.
    """
    train = evaluated.dataset.splits["train"]
    if evaluated.trained is None or train.labels is None or train.captions is None:
        return []
    trained, weights = evaluated.trained, evaluated.protocol["weights"]
    data = evaluated.dataset.options.data
    rule = evaluated.protocol | {"nearest": f"by the cosine, of {len(train)} captions of {data} train"}
    texts = [captions[0] for captions in kept_captions("train", train.caption_lists)]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    known = normalize(_embedded(trained, texts, weights))
    scores = []
    # A class of one image has no neighbour to find.
    shared = train.labels.bincount()[train.labels] > 1
    if len(numbers) > 1 and bool(shared.any()):
        nearest = train.labels[nearest_others(known, torch.tensor([numbers[text] for text in texts]))]
        rows = shared.nonzero()[:, 0]
        accuracy = "caption_neighbour_accuracy"
        scores += [mean_of_classes(accuracy, nearest[rows], train.labels[rows], None, rule)]
    name, reference = evaluated.reference
    captions = reference.captions or ()
    rows = torch.tensor([row for row, texts in enumerate(captions) if texts], dtype=torch.int64)
    if reference is train or reference.labels is None or not len(rows):
        return scores
    queries = normalize(_embedded(trained, [captions[row][0] for row in rows.tolist()], weights))
    nearest = train.labels[torch.cat([(part @ known.T).argmax(1) for part in queries.split(CHUNK)])]
    labels, rule = reference.labels[rows], rule | {"split": name}
    accuracy = "caption_neighbour_accuracy_held_out"
    return [*scores, mean_of_classes(accuracy, nearest, labels, None, rule)]


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
    evaluated: Evaluated, images: Split, texts: list[str], rows: Tensor, kind: str, protocol: Protocol
) -> list[Score]:
    trained, weights = evaluated.trained, evaluated.protocol["weights"]
    assert trained is not None
    parts = map(as_images, stored_parts(images))
    embeddings = torch.cat(list(trained.call("encode_images", parts, weights=weights)))
    best = (_embedded(trained, texts, weights) @ embeddings.T).topk(min(BEST, len(embeddings))).indices
    share = float((best == rows[:, None]).any(1).double().mean())
    chance = min(BEST, len(embeddings)) / len(embeddings)
    rule = protocol | {
        "captions": len(texts),
        "images": f"{len(embeddings)} of {evaluated.dataset.options.data}",
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
