"""Scores that the system itself gives: its discriminator's opinion, and what else it measures."""

import copy
import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import tee

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ganforge.data.batch import Batch, as_images
from ganforge.data.dataset import batch_of, some_rows
from ganforge.errors import UserError
from ganforge.evaluation.score import CHUNK, Evaluated, Score, batches, finite
from ganforge.runs.trained import Trained, Weights
from ganforge.system import Discriminates, InfersLatents, Measures, System

UNITS = {"_nats": "nats", "_bits_per_dim": "bits/dim", "_percent": "%"}
ACTIVE = 0.01
KEPT = "_bits_per_dim"  # in the score's name: the same in nats would have no other


def score_discriminator(evaluated: Evaluated) -> list[Score]:
    """Mean D on held-out real and on generated data; 1/2 on both is the solution of the game.

    A discriminator with batch norm is given what it is given in training: batches of that size, of real and
    of generated images apart, each normed by its own statistics. The running statistics mix both kinds, and
    next to them either stands out. No score where there are fewer images than in one batch.
    """
    trained, samples, given = evaluated.trained, evaluated.samples, evaluated.conditions
    if trained is None or not isinstance(trained.system, Discriminates) or not trained.has_discriminator:
        return []
    if not trained.system.logits_are_log_odds:
        return []
    name, reference = evaluated.reference
    system, batch_size, mode = trained.raw, None, "evaluation (running statistics, no dropout)"
    if _has_batch_norm(system):
        system, batch_size = _by_batch_statistics(system), system.config.batch
        mode = (
            f"statistics of each batch of {batch_size}, real and generated apart, as in training; no dropout"
        )

    def sample_batch(rows: Tensor) -> Batch:
        images = as_images(samples[rows])
        return Batch(images) if given is None else replace(given[rows], images=images)

    real_parts = _parts(some_rows(reference, len(samples)), batch_size)
    fake_parts = _parts(torch.arange(len(samples)), batch_size)
    real = _mean_probability(system, (batch_of(reference, rows) for rows in real_parts))
    fake = _mean_probability(system, map(sample_batch, fake_parts))
    if real is None or fake is None:
        return []
    num_real, num_fake = (sum(map(len, parts)) for parts in (real_parts, fake_parts))
    return [
        Score(
            name=f"discriminator_on_{kind}",
            value=value,
            protocol=evaluated.sample_protocol | {"data": data, "mode": mode},
            note=f"{abs(value - 0.5):.3f} from 1/2",
        )
        for kind, value, data in (
            ("held_out", real, f"{evaluated.dataset.options.data} {name}, {num_real}"),
            ("generated", fake, f"{num_fake} samples"),
        )
    ]


def _has_batch_norm(system: System) -> bool:
    """Whether a network that is not averaged, such as the discriminator, has a batch norm."""
    others = (child for name, child in system.named_children() if name not in system.averaged)
    return any(isinstance(module, _BatchNorm) for child in others for module in child.modules())


def _by_batch_statistics(system: System) -> System:
    """A copy of `system`, in evaluation mode but for its batch norms."""
    system = copy.deepcopy(system)
    for module in system.modules():
        if isinstance(module, _BatchNorm):
            module.train()
    return system


def _parts(rows: Tensor, batch_size: int | None) -> list[Tensor]:
    """`rows` in full batches, mixed, since folders lie class by class; without a batch size in order, all."""
    if batch_size is None:
        return list(rows.split(CHUNK))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return [part for part in rows[order].split(batch_size) if len(part) == batch_size]


def _mean_probability(system: System, parts: Iterable[Batch]) -> float | None:
    """The mean of D over all images; None without images, or without a condition that it needs."""
    assert isinstance(system, Discriminates)
    logits = []
    for part in parts:
        batch = part.to(system.device)
        with torch.no_grad():
            logits.append(system.discriminate(batch.images, batch))
    known = [part.float().cpu() for part in logits if part is not None]
    if not known or len(known) < len(logits):
        return None
    return float(torch.sigmoid(finite(torch.cat(known), "discriminator logits").double()).mean())


def mean_measures(
    trained: Trained, parts: Iterable[Batch], seed: int = 0, weights: Weights = "ema"
) -> dict[str, float]:
    """The means over all images of `parts` of what the system measures."""
    sums: dict[str, float] = {}
    count, (own, others) = 0, tee(parts)
    for part, values in zip(own, trained.call("measure", others, seed=seed, weights=weights), strict=True):
        count += len(part.images)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(part.images)
    return {name: total / count for name, total in sums.items()}


def score_measures(evaluated: Evaluated) -> list[Score]:
    """A score for each entry of `Measures.measure` on as many held-out images or points as samples."""
    trained, protocol, count = evaluated.trained, evaluated.protocol, len(evaluated.samples)
    if trained is None or not isinstance(trained.system, Measures):
        return []
    name, reference = evaluated.reference
    values = mean_measures(trained, batches(reference, count), protocol["seed"], protocol["weights"])
    data = evaluated.dataset.options.data
    rule = protocol | {"reference": f"{data} {name}, {min(count, len(reference))}"}
    rule |= trained.system.measure_protocol
    scores = []
    for full_name, value in values.items():
        if not math.isfinite(value):
            raise UserError(
                f"{full_name} is {value}: training has diverged, train again with a smaller learning rate"
            )
        suffix = next((suffix for suffix in UNITS if full_name.endswith(suffix)), "")
        unit = UNITS.get(suffix, "")
        score_name = full_name if suffix == KEPT else full_name.removesuffix(suffix)
        scores.append(Score(name=score_name, value=value, unit=unit, protocol=rule))
    return scores


def score_active_units(evaluated: Evaluated) -> list[Score]:
    """Latents that an autoencoder uses: those whose posterior mean varies over the held-out images.

    Its variance over all of them is above 0.01: Burda et al. 2015, arXiv 1509.00519, section 5.3.
    """
    trained, count = evaluated.trained, len(evaluated.samples)
    if trained is None or not isinstance(trained.system, InfersLatents):
        return []
    name, reference = evaluated.reference
    images = (part.images for part in batches(reference, count))
    parts = trained.call("posterior_mean", images, weights=evaluated.protocol["weights"])
    means = torch.cat(list(parts)).double()
    active = (means.var(0, unbiased=False) > ACTIVE).sum()
    rule = {"reference": f"{evaluated.dataset.options.data} {name}, {len(means)}"}
    return [
        Score(
            name="active_units",
            value=float(active),
            protocol=evaluated.protocol | rule,
            note=f"of {means.shape[1]} latents",
        )
    ]
