"""What text-to-image systems share: mismatched captions, the loss of three kinds of pairs, what is given."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError

FEW_CLASSES = 50  # below this a class says little of what a caption says; birds have 200, flowers 102


def mismatched(embeddings: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """For each row of `embeddings` `[batch, n]` another row of the batch at random, that of another caption.

    With `labels` int64 `[batch]` it is one of another class wherever the batch has one. Also returns float
    `[batch]`, 0 for a row to which all others are equal: what it was given then is no mismatch.
    """
    other = (embeddings[:, None] != embeddings).any(2)
    scores = torch.rand(other.shape, device=embeddings.device)
    if labels is not None:
        scores = scores + (labels[:, None] != labels)
    return embeddings[torch.where(other, scores, -1.0).argmax(1)], other.any(1).float()


def matching_loss(
    real_logits: Tensor, mismatched_logits: Tensor, counts: Tensor, fake_logits: Tensor, weight: float
) -> Tensor:
    """-E log D(x, h) - w E log(1 - D(x, wrong h)) - (1 - w) E log(1 - D(G(z, h), h)), in nats.

    `counts` `[batch]` is 0 where a mismatched pair is none. Log 4 where D is undecided, as without mismatched
    pairs. Reed et al. 2016, arXiv 1605.05396, algorithm 1.
    """
    wrong = (softplus(mismatched_logits.float()) * counts).mean()
    return (
        softplus(-real_logits.float()).mean()
        + weight * wrong
        + (1 - weight) * softplus(fake_logits.float()).mean()
    )


def embeddings_of(given: Batch | None, count: int, name: str) -> Tensor:
    """The embeddings `[count, size]` that are given; raises UserError for none, or not as many."""
    if given is None or given.embeddings is None:
        raise UserError(f'{name} draws what a sentence says, and none was given: add --text "a red apple"')
    if len(given.embeddings) != count:
        raise UserError(f"{len(given.embeddings)} captions for {count} samples: expected one for each")
    return given.embeddings


def embedding_size_of(name: str, data: DataSpec) -> int:
    """The numbers of a caption's embedding; raises UserError where `data` has none, or is of points."""
    if data.values == "points":
        raise UserError(f"{name} makes pictures, this data is 2-D points: use --data emoji")
    if not data.embedding_size:
        raise UserError(
            f"{name} needs embeddings of captions: add --text-encoder RUN, of `ganforge train text_encoder`"
        )
    return data.embedding_size


def halve(
    optimizers: dict[str, torch.optim.Optimizer], first_rate: float, epoch: float, halving_epochs: int
) -> None:
    """Set every rate to `first_rate`, halved once every `halving_epochs`."""
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = first_rate * 0.5 ** (epoch // halving_epochs)
