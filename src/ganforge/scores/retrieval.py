"""Scores of a text encoder: whether a caption finds its picture among others."""

import torch
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.data.captions import encode, held_out_captions
from ganforge.data.datasets import Dataset
from ganforge.data.images import Images
from ganforge.scores import CHUNK, Protocol, Score, held_out, stored_parts
from ganforge.trained import Trained, Weights

BEST = 10


def judge_retrieval(trained: Trained, dataset: Dataset, weights: Weights, protocol: Protocol) -> list[Score]:
    """Recall at 10: of held-out captions among training pictures, of all captions among held-out pictures.

    Each beside how many times that of guessing it is.
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
    return scores


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
    spec = trained.run.config.spec
    codes = encode(texts, spec.caption_alphabet, spec.caption_length).long()
    found = [trained.encode_captions(part, weights) for part in codes.split(CHUNK)]
    pictures = torch.cat([trained.encode_pictures(as_images(part), weights) for part in stored_parts(images)])
    best = (torch.cat(found) @ pictures.T).topk(min(BEST, len(pictures))).indices
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
