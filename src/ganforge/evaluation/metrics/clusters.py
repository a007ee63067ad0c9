"""How well unsupervised codes tell classes apart: two errors, by the two ways to name codes after classes."""

import torch
from torch import Tensor

from ganforge.errors import UserError


def one_to_one_error(codes: Tensor, labels: Tensor, num_codes: int, num_classes: int) -> float:
    """Percent of samples of another class than their code's, each class given to at most one code.

    `codes` and `labels` int64 `[n]`, below `num_codes` and `num_classes`. The assignment is the one with the
    lowest error (Kuhn 1955, the Hungarian method); a code or a class too many stays alone and its samples
    are errors. Raises `UserError` for other shapes and ranges.
    """
    counts = count_pairs(codes, labels, num_codes, num_classes)
    classes = best_assignment(counts)
    matched = int(counts.gather(1, classes.clamp(min=0)[:, None])[classes >= 0].sum())
    return 100 * (1 - matched / len(labels))


def many_to_one_error(codes: Tensor, labels: Tensor, num_codes: int, num_classes: int) -> float:
    """Percent of samples of another class than the most frequent one of their code.

    Never above `one_to_one_error`, because codes may share a class. Chen et al. 2016 (InfoGAN), section 7.2,
    match each category to a digit, without saying whether two may have the same.
    """
    counts = count_pairs(codes, labels, num_codes, num_classes)
    return 100 * (1 - int(counts.amax(1).sum()) / len(labels))


def count_pairs(codes: Tensor, labels: Tensor, num_codes: int, num_classes: int) -> Tensor:
    """How many samples have each code and class, int64 `[num_codes, num_classes]`, on the CPU."""
    if codes.dim() != 1 or codes.shape != labels.shape or len(codes) == 0:
        raise UserError(
            f"codes {list(codes.shape)} and labels {list(labels.shape)}: expected one of each for a sample"
        )
    codes, labels = codes.cpu().long(), labels.cpu().long()
    for name, numbers, size in (("code", codes, num_codes), ("class", labels, num_classes)):
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= size:
            raise UserError(f"{name} {low if low < 0 else high}: expected 0 to {size - 1}")
    return (codes * num_classes + labels).bincount(minlength=num_codes * num_classes).view(num_codes, -1)


def best_assignment(counts: Tensor) -> Tensor:
    """The class of each code that makes the sum of `counts` `[codes, classes]` largest, int64 `[codes]`.

    No class twice; -1 for the codes that get none, where there are fewer classes than codes. Exact, in the
    cube of the size: codes are added one at a time, each along the shortest augmenting path.
    """
    num_codes, num_classes = counts.shape
    size = max(num_codes, num_classes)
    padded = torch.zeros(size, size, dtype=torch.int64)
    padded[:num_codes, :num_classes] = counts
    cost = (-padded).tolist()
    # Prices that keep cost - row_price - column_price >= 0, and 0 for pairs that are matched. The extra last
    # column holds the row that is being added.
    row_price, column_price = [0.0] * size, [0.0] * (size + 1)
    row_of = [-1] * (size + 1)
    for new_row in range(size):
        column = size
        row_of[column] = new_row
        slack, previous = [float("inf")] * size, [size] * size
        reached: set[int] = set()
        while row_of[column] >= 0:
            reached.add(column)
            row = row_of[column]
            for other in set(range(size)) - reached:
                reduced = cost[row][other] - row_price[row] - column_price[other]
                if reduced < slack[other]:
                    slack[other], previous[other] = reduced, column
            column = min(set(range(size)) - reached, key=slack.__getitem__)
            step = slack[column]
            for other in reached:
                row_price[row_of[other]] += step
                column_price[other] -= step
            for other in set(range(size)) - reached:
                slack[other] -= step
        while column != size:
            row_of[column], column = row_of[previous[column]], previous[column]
    classes = torch.full((size,), -1)
    classes[row_of[:size]] = torch.arange(size)
    classes[classes >= num_classes] = -1
    return classes[:num_codes]
