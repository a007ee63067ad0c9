"""What a panel looks like: samples, the manifold, the discriminator's map and the pushes, packed."""

import base64
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.runs.sampling import seeded
from ganforge.studio.playground.measures import NUM_SAMPLES, Measures
from ganforge.studio.playground.panel import Panel
from ganforge.system import LatentSystem, ScoresOutliers, System

Window = tuple[float, float, float]
SAMPLE_SEED = 2014
NUM_SHOWN, NUM_PUSHES = 400, 48
SIDE, LINE = 21, 160
"""Latents on a side of the manifold's grid, and along it where the noise is one number."""
CELLS = 50
TAIL = 0.02
UNITS = 16_000
"""A half side of the window in the packed numbers."""
DECADES = 3.0
"""Pushes that are so many powers of ten smaller than the largest so far have no length."""


class View:
    """The moving parts of one panel, sampled from the same latents every time."""

    def __init__(self, panel: Panel, measures: Measures, window: Window) -> None:
        self.panel, self._measures, self._window = panel, measures, window
        system = panel.system
        assert isinstance(system, LatentSystem)
        with torch.no_grad():
            latents = system.draw_latents(NUM_SAMPLES, generator=seeded(SAMPLE_SEED, system.device))
        self._grid = grid_latents(system)
        parts = [latents] if self._grid is None else [latents, self._grid]
        self._latents = torch.cat(parts)
        self._cells = cell_centres(window)
        self._largest_push = 0.0

    def frame(self) -> dict[str, Any]:
        """Everything that moves; numbers that are not finite are None."""
        panel = self.panel
        with panel.shown() as system:
            assert isinstance(system, LatentSystem)
            decoded = system.decode(self._latents, generator=seeded(0, system.device)).flatten(1)
            heat, meaning = self._heat(system)
        samples = decoded[:NUM_SAMPLES]
        measured = self._measures.measure(samples)
        arrows, push = self._arrows()
        losses, norms = panel.current_losses(), panel.norms
        return {
            "step": panel.step,
            "samples": self._pack(samples[:NUM_SHOWN]),
            "grid": None if self._grid is None else self._pack(decoded[NUM_SAMPLES:]),
            "heat": None if heat is None else encode((heat * 255).round().to(torch.uint8)),
            "heatMeaning": meaning,
            "arrows": arrows,
            "push": finite(push),
            "losses": {
                name: finite(value)
                for name, value in losses.items()
                if name.endswith("_loss") or name.endswith("_probability") or name == "wasserstein_estimate"
            },
            "gradient": finite(norms.get("generator_gradient_norm", norms.get("vae_gradient_norm"))),
            "found": measured.found,
            "parts": measured.parts,
            "good": round(measured.good_percent, 1),
            "js": finite(measured.js),
            "kl": finite(measured.kl),
            "words": list(panel.signals.values()),
            "stopped": panel.stopped,
        }

    def _pack(self, points: Tensor) -> str:
        x, y, half = self._window
        units = (points - torch.tensor([x, y])) / half * UNITS
        return encode(units.nan_to_num(2 * UNITS).clamp(-32_000, 32_000).round().to(torch.int16))

    def _heat(self, system: System) -> tuple[Tensor | None, str]:
        """The map float32 `[CELLS^2]` in [0, 1], 1 where it says real, and what it means."""
        panel, points = self.panel, self._cells
        augment = getattr(system, "augment", None)
        if panel.discriminator is not None and augment is not None:
            logits = augment.logits(panel.discriminator, points).float()
            if panel.gives_probabilities and panel.loss != "lsgan":
                return torch.sigmoid(logits), "probability"
            if panel.loss == "lsgan":
                return logits.clamp(0, 1), "probability"
            return ranged(logits), "critic"
        if isinstance(system, ScoresOutliers):
            scores = system.outlier_scores(Batch(points), seeded(0, system.device))
            return torch.exp((-scores["elbo"] + scores["elbo"].min()) / 2).clamp(0, 1), "likelihood"
        return None, ""

    def _arrows(self) -> tuple[str | None, float | None]:
        """x, y and the push of some points, of logarithmic length; and the mean length."""
        pushes = self.panel.update.pushes
        if pushes is None:
            return None, None
        points, vectors = (part[:NUM_PUSHES] for part in pushes)
        lengths = vectors.norm(dim=1, keepdim=True)
        mean = float(lengths.mean())
        if math.isfinite(mean):
            self._largest_push = max(self._largest_push, mean)
        share = (lengths / max(self._largest_push, 1e-12)).clamp(min=1e-12)
        drawn = (1 + share.log10() / DECADES).clamp(0, 1.3) / 1.3
        directions = (vectors / lengths.clamp(min=1e-12) * drawn).nan_to_num()
        x, y, half = self._window
        units = (points - torch.tensor([x, y])) / half * UNITS
        packed = torch.cat([units.nan_to_num(2 * UNITS), directions * UNITS], dim=1)
        return encode(packed.clamp(-32_000, 32_000).round().to(torch.int16)), mean


def grid_latents(system: LatentSystem) -> Tensor | None:
    """Latents `[SIDE^2, 2]` or `[LINE, 1]` that part the noise into cells of equal probability.

    None where the noise has more than two numbers, or is no product of them.
    """
    (prior,) = system.prior
    if prior.size > 2 or prior.kind not in ("gaussian", "uniform"):
        return None
    shares = torch.linspace(TAIL, 1 - TAIL, SIDE if prior.size == 2 else LINE)
    line = (
        prior.low + shares * (prior.high - prior.low)
        if prior.kind == "uniform"
        else torch.special.ndtri(shares)
    )
    return torch.cartesian_prod(*[line] * prior.size).reshape(-1, prior.size)


def cell_centres(window: Window) -> Tensor:
    """Points `[CELLS^2, 2, 1, 1]`, row after row from the top."""
    x, y, half = window
    across = x + half * ((torch.arange(CELLS) + 0.5) / CELLS * 2 - 1)
    down = y - half * ((torch.arange(CELLS) + 0.5) / CELLS * 2 - 1)
    grid = torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1], dim=-1)
    return grid.reshape(-1, 2, 1, 1)


def ranged(values: Tensor) -> Tensor:
    """`values` with their 2 % and 98 % quantiles at 0 and 1: a critic's have no zero and no unit."""
    low, high = torch.quantile(values, torch.tensor([0.02, 0.98]))
    return ((values - low) / (high - low).clamp(min=1e-9)).nan_to_num(0.5).clamp(0, 1)


def encode(tensor: Tensor) -> str:
    """Base64 of the bytes, little-endian."""
    array = tensor.contiguous().numpy()
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()).decode()


def pack_points(points: Tensor, window: Window) -> str:
    """Real points as a frame has generated ones."""
    x, y, half = window
    units = (points - torch.tensor([x, y])) / half * UNITS
    return encode(units.clamp(-32_000, 32_000).round().to(torch.int16))


def finite(value: float | None) -> float | None:
    """A number that JSON has, with five digits."""
    if value is None or not math.isfinite(value):
        return None
    return float(np.format_float_scientific(value, 4))
