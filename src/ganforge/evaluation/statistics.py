"""What several seeds say about a score: mean and spread, which is best, and p-values by permutation."""

import itertools
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

HIGHER_IS_BETTER: dict[str, bool] = {
    **dict.fromkeys(
        (
            *("precision", "recall", "density", "coverage", "classifier_score", "parzen_log_likelihood"),
            *("elbo", "modes", "high_quality", "psnr", "psnr_y", "ssim_y", "class_accuracy"),
            *("worst_class_accuracy", "category_accuracy", "category_accuracy_held_out"),
            *("subcategory_accuracy", "caption_ranking_accuracy", "caption_ranking_accuracy_held_out"),
            *("caption_recall_at_10", "held_out_image_recall_at_10", "caption_neighbour_accuracy"),
            *("caption_neighbour_accuracy_held_out", "attributes_right", "sampling_speed"),
        ),
        True,
    ),
    **dict.fromkeys(
        (
            *("fid", "fid_infinity", "fid_to_training", "fid_within_classes", "kid", "frechet_distance"),
            *("reverse_kl", "nll", "nll_bits_per_dim", "l1", "code_error", "code_error_many_to_one"),
            *("perceptual_path_length", "c2st_accuracy", "largest_mean_error", "largest_covariance_error"),
            *("reconstruction_cross_entropy", "reconstruction_squared_error"),
        ),
        False,
    ),
}
"""Scores of which one end is better; others, such as ms_ssim, have no best."""
MOST_PERMUTATIONS = 20_000
"""Up to so many are all counted; of more, so many are drawn at random, the same ones each time."""


@dataclass(frozen=True)
class Summary:
    """The values of one score, one for each seed; at least one."""

    values: tuple[float, ...]

    @property
    def count(self) -> int:
        """The number of seeds."""
        return len(self.values)

    @cached_property
    def mean(self) -> float:
        """The mean over seeds."""
        return math.fsum(self.values) / self.count

    @cached_property
    def deviation(self) -> float | None:
        """The sample standard deviation (divided by one less than the count); None for one seed."""
        return statistics.stdev(self.values) if self.count > 1 else None


def order(name: str, summaries: Sequence[Summary | None]) -> list[int]:
    """Places of the finite means, the best first; empty where no end of the score is better."""
    better = HIGHER_IS_BETTER.get(name)
    if better is None:
        return []
    finite = [(place, each.mean) for place, each in enumerate(summaries) if each and math.isfinite(each.mean)]
    return [place for place, _ in sorted(finite, key=lambda pair: -pair[1] if better else pair[1])]


def clear_best(name: str, summaries: Sequence[Summary | None]) -> int | None:
    """The place of the best mean, where it is ahead of every other by more than the spread; else None.

    The spread is the larger of the two standard deviations; without two seeds on both sides there is none,
    and nothing is clearly best.
    """
    places = order(name, summaries)
    if len(places) < 2:
        return None
    first, *others = (summaries[place] for place in places)
    assert first is not None
    for other in others:
        assert other is not None
        if first.deviation is None or other.deviation is None:
            return None
        if not abs(first.mean - other.mean) > max(first.deviation, other.deviation):
            return None
    return places[0]


def p_value(first: Summary, second: Summary) -> float | None:
    """The share of divisions of all values into two such groups whose means differ at least as much.

    Two-sided, without a distribution assumed. With 3 and 3 seeds it is at least 2/20 = 0.1, with 5 and 5
    2/252. None where a side has one seed, or a value is not finite.
    """
    values = [*first.values, *second.values]
    if min(first.count, second.count) < 2 or not all(map(math.isfinite, values)):
        return None
    total, size = math.fsum(values), first.count
    # Sums in another order differ in their last digits: what is equal up to these counts as equal.
    seen = abs(first.mean - second.mean) * (1 - 1e-9)

    def reaches(chosen: Sequence[float]) -> bool:
        part = math.fsum(chosen)
        return abs(part / size - (total - part) / (len(values) - size)) >= seen

    count = math.comb(len(values), size)
    if count <= MOST_PERMUTATIONS:
        return sum(map(reaches, itertools.combinations(values, size))) / count
    draw = random.Random(0)
    reached = sum(reaches(draw.sample(values, size)) for _ in range(MOST_PERMUTATIONS))
    return (reached + 1) / (MOST_PERMUTATIONS + 1)  # with the division that was seen, so that it is never 0
