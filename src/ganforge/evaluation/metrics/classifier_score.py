"""The Inception Score, with any classifier: sure of each sample, and all classes seen."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.errors import UserError


@dataclass(frozen=True)
class ClassifierScore:
    """A number from 1 to the number of classes: its mean and standard deviation over `num_splits` parts."""

    mean: float
    std: float
    num_splits: int


def classifier_score(logits: Tensor, num_splits: int = 10) -> ClassifierScore:
    """`exp(mean_x KL(p(y|x) || p(y)))` of `logits` `[n, classes]`, in each of `num_splits` runs of rows.

    `p(y)` is the mean of `p(y|x)` within a part; parts are consecutive rows, whose numbers differ by one at
    most; the deviation has the divisor `num_splits`. Classes that are named evenly and surely score their
    number; one class alone, or never any, scores 1. Computed in float64. Raises `UserError` for another
    shape, NaN or infinite logits, or fewer rows than parts.
    Salimans et al. 2016, section 4, with ten parts as in the authors' code.
    """
    if logits.dim() != 2 or not 1 <= num_splits <= len(logits):
        raise UserError(
            f"logits {list(logits.shape)} in {num_splits} parts: [n, classes] and n >= parts >= 1 are needed"
        )
    logits = logits.detach().double()
    if not logits.isfinite().all():
        raise UserError("logits hold NaN or infinity: finite ones are needed, look at the samples")
    scores = []
    for part in logits.log_softmax(dim=1).tensor_split(num_splits):
        log_marginal = part.logsumexp(dim=0) - torch.tensor(float(len(part)), dtype=part.dtype).log()
        divergence = (part.exp() * (part - log_marginal)).sum(dim=1).mean()
        scores.append(divergence.exp())
    values = torch.stack(scores)
    return ClassifierScore(values.mean().item(), values.std(correction=0).item(), num_splits)
