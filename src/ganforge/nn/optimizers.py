"""Optimizers and learning-rate schedules that several papers share."""

from collections.abc import Mapping

import torch
from torch import nn


def adams(
    module: nn.Module, rates: Mapping[str, float], beta1: float, beta2: float
) -> dict[str, torch.optim.Optimizer]:
    """A fused Adam for each child of `rates`, of the rate given there."""
    return {
        name: torch.optim.Adam(
            module.get_submodule(name).parameters(), rate, betas=(beta1, beta2), fused=True
        )
        for name, rate in rates.items()
    }


def schedule_sgd(
    optimizers: dict[str, torch.optim.Optimizer],
    *,
    step: float,
    epoch: float,
    decay: float,
    lowest_rate: float,
    momenta: tuple[float, float],
    momentum_epochs: int,
) -> None:
    """The schedule of the code of Goodfellow et al. 2014: rates decay at every step, momentum rises.

    Every rate is its first one divided by `decay` to the power of `step`, never below `lowest_rate`; the
    momentum rises linearly from the first to the second of `momenta` between the epochs 1 and
    `momentum_epochs`. Gradient rules without a momentum, such as Adam, get the rate alone.
    """
    progress = min(max((epoch - 1) / max(momentum_epochs - 1, 1), 0.0), 1.0)
    momentum = momenta[0] + progress * (momenta[1] - momenta[0])
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = max(group.setdefault("first_lr", group["lr"]) * decay**-step, lowest_rate)
            if "momentum" in group:
                group["momentum"] = momentum


def decay_linearly(
    optimizers: dict[str, torch.optim.Optimizer],
    first_rates: Mapping[str, float],
    images_seen: int,
    all_images: int,
) -> None:
    """Decay every rate linearly from that of `first_rates` to 0 when `all_images` have been seen."""
    left = max(0.0, 1 - images_seen / all_images)
    for name, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = first_rates[name] * left
