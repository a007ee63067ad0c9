"""Latents whose large numbers are drawn again: samples that vary less."""

import numpy as np
import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.runs.trained import Trained, Weights
from ganforge.system import HasCodes, LatentSystem

LEAST_TRUNCATION = 0.05
"""Below it nearly all draws are rejected."""
MOST_DRAWS = 10_000


def truncated(
    trained: Trained, count: int, seed: int, weights: Weights = "ema", truncation: float | None = None
) -> Tensor:
    """The latents of `count` samples; with `truncation` numbers outside of +-it are drawn again.

    In BigGAN (Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis",
    section 3.1) samples become more typical; a generator that was not trained for it may draw paler ones,
    since such latents are shorter than those it has seen. Raises UserError for a truncation of less than
    0.05, for latents that hold codes, and for a system without latents.
    """
    if truncation is None:
        return trained.draw_latents(count, seed, weights)
    if not LEAST_TRUNCATION <= truncation < float("inf"):
        raise UserError(
            f"--truncation {truncation:g}: expected {LEAST_TRUNCATION:g} or more, such as 1.5: with smaller "
            "values samples vary less"
        )
    system = trained.system
    if not isinstance(system, LatentSystem):
        raise UserError(f"--truncation: {trained.run.config.system} has no latents: leave it out")
    if isinstance(system, HasCodes):
        raise UserError(f"--truncation: {trained.run.config.system} has codes in its latents: leave it out")
    latents, size = trained.draw_latents(count, seed, weights), system.continuous_size
    kept = latents if size is None else latents[:, :size]
    for draw in range(1, MOST_DRAWS):
        outside = kept.abs() > truncation
        if not outside.any():
            break
        # Of a seed torch uses the low half only: two of them must differ there.
        (fresh_seed,) = np.random.SeedSequence([seed, draw]).generate_state(1)
        again = trained.draw_latents(count, int(fresh_seed), weights)
        fresh = again if size is None else again[:, :size]
        kept = torch.where(outside, fresh, kept)
    return kept if size is None else torch.cat([kept, latents[:, size:]], 1)
