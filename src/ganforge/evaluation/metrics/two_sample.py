"""Two-sample tests: whether anything tells fakes from real features better than chance."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.neighbours import TIE, Neighbourhoods, checked_pair

HIDDEN_UNITS, NUM_STEPS, BATCH_SIZE, LEARNING_RATE = 20, 1_500, 200, 3e-3


@dataclass(frozen=True)
class TwoSampleTest:
    """The share of right answers among `num_tested`, and how likely one so far off is without a difference.

    `real_accuracy` and `fake_accuracy` are the shares among the real features and among the fakes.
    """

    accuracy: float
    p_value: float
    num_tested: int
    real_accuracy: float
    fake_accuracy: float


def binomial_tail(num_right: int, num_tested: int) -> float:
    """The probability of `num_right` heads or more among `num_tested` throws of a fair coin, exactly."""
    if not 0 <= num_right <= num_tested or num_tested < 1:
        raise UserError(f"{num_right} right of {num_tested}: expected 0 to {num_tested} of at least 1")
    heads = torch.arange(num_right, num_tested + 1, dtype=torch.float64)
    ways = math.lgamma(num_tested + 1) - torch.lgamma(heads + 1) - torch.lgamma(num_tested - heads + 1)
    return min(1.0, float((ways - num_tested * math.log(2)).logsumexp(dim=0).exp()))


def nearest_neighbour_test(pairs: Neighbourhoods) -> TwoSampleTest:
    """Leave-one-out: whether each feature's nearest other, of both sides together, is of its own side.

    An accuracy of 1/2 means no difference; of 1, that the sides do not mix; towards 0, that the fakes are
    copies of these very real features. Equal distances to both sides count half. The p-value is two-sided,
    of the binomial distribution, although the answers are not quite independent. Raises `UserError` where
    the sides are not equally many, as then chance is not 1/2. Lopez-Paz and Oquab 2017; Xu et al. 2018.
    """
    _check_equal(pairs.real, pairs.fake)
    to_real = torch.full((len(pairs.fake),), torch.inf, dtype=torch.float64, device=pairs.fake.device)
    to_fake, start = torch.empty_like(to_real), 0
    for squares in pairs.between():
        to_real = torch.minimum(to_real, squares.amin(dim=0))
        to_fake[start : start + len(squares)] = squares.amin(dim=1)
        start += len(squares)
    real_right = _own_side(pairs.within_real[:, 0], to_fake)
    fake_right = _own_side(pairs.within_fake[:, 0], to_real)
    tested, right = 2 * len(pairs.real), real_right + fake_right
    # One tail is as long as the other: of a share below 1/2 take what is right the other way round.
    extreme = math.floor(max(right, tested - right))
    p_value = min(1.0, 2 * binomial_tail(extreme, tested))
    return TwoSampleTest(
        right / tested, p_value, tested, real_right / len(pairs.real), fake_right / len(pairs.fake)
    )


def _own_side(own: Tensor, other: Tensor) -> float:
    """How many are nearer to their own side, where a tie counts half."""
    nearer, tied = own < other * (1 - TIE), (own - other).abs() <= TIE * other
    return int(nearer.sum()) + int(tied.sum()) / 2


def classifier_test(real: Tensor, fake: Tensor, seed: int = 0) -> TwoSampleTest:
    """The accuracy, on halves it never saw, of a small network that learns real `[n, d]` from fake `[n, d]`.

    One hidden layer of 20 ReLUs, Adam, as in Lopez-Paz and Oquab 2017 (section 4), on features standardised
    by the training half; which half that is, the weights and the batches come from `seed` alone. 1/2 means
    that it found no difference. The p-value is the exact, one-sided binomial one: the null hypothesis has an
    accuracy of mean 1/2 and variance 1 / (4 `num_tested`). Raises `UserError` for unequal shapes, NaN or
    infinite features, or fewer than 4 of either.
    """
    real, fake = checked_pair(real, fake, 4)
    _check_equal(real, fake)
    generator = torch.Generator().manual_seed(seed)
    half = len(real) // 2
    learn, test = [], []
    for features in (real, fake):
        order = torch.randperm(len(features), generator=generator).to(features.device)
        learn.append(features[order[:half]])
        test.append(features[order[half:]])
    centre, spread = torch.cat(learn).mean(dim=0), torch.cat(learn).std(dim=0)
    # A feature that never varies says nothing there, and elsewhere must not be blown up.
    spread = torch.where(spread > 0, spread, 1.0)
    learn, test = ([((f - centre) / spread).float() for f in sides] for sides in (learn, test))
    weights = _learn(torch.cat(learn), half, generator)
    real_right = int((_logits(test[0], *weights) > 0).sum())
    fake_right = int((_logits(test[1], *weights) <= 0).sum())
    rest = len(real) - half
    tested, right = 2 * rest, real_right + fake_right
    return TwoSampleTest(
        right / tested, binomial_tail(right, tested), tested, real_right / rest, fake_right / rest
    )


def _logits(features: Tensor, hidden: Tensor, shift: Tensor, output: Tensor, offset: Tensor) -> Tensor:
    return torch.addmm(shift, features, hidden).relu() @ output + offset


def _learn(features: Tensor, num_real: int, generator: torch.Generator) -> list[Tensor]:
    """The weights of the network, for `features` of which the first `num_real` are real."""
    device, dimension = features.device, features.shape[1]
    is_real = (torch.arange(len(features), device=device) < num_real).float()
    hidden = torch.randn(dimension, HIDDEN_UNITS, generator=generator) * (2 / dimension) ** 0.5
    output = torch.randn(HIDDEN_UNITS, generator=generator) * (1 / HIDDEN_UNITS) ** 0.5
    start = (hidden, torch.zeros(HIDDEN_UNITS), output, torch.zeros(()))
    weights = [weight.to(device).requires_grad_() for weight in start]
    optimizer = torch.optim.Adam(weights, LEARNING_RATE, fused=True)
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        for rows in _batches(len(features), generator):
            chosen = rows.to(device)
            loss = F.binary_cross_entropy_with_logits(_logits(features[chosen], *weights), is_real[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [weight.detach() for weight in weights]


def _batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`NUM_STEPS` batches of rows, each drawn with replacement: few features get as many steps as many."""
    for _ in range(NUM_STEPS):
        yield torch.randint(count, (BATCH_SIZE,), generator=generator)


def _check_equal(real: Tensor, fake: Tensor) -> None:
    if len(real) != len(fake):
        raise UserError(f"{len(real)} real features and {len(fake)} fakes: pass equally many of both")
