"""A trained run, ready to be sampled: `ganforge.load(path).sample(16, seed=7)`."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ganforge.checkpoint import Checkpoint, load_newest
from ganforge.data.batch import Batch
from ganforge.engine import accelerate
from ganforge.engine.ema import Average
from ganforge.engine.sampling import draw
from ganforge.engine.train import build_system
from ganforge.errors import UserError
from ganforge.run import Run

Weights = Literal["ema", "raw"]


class Trained:
    """The system of a run at a checkpoint, or without one as it was before training, in evaluation mode."""

    def __init__(self, run: Run, checkpoint: Checkpoint | None, device: str = "auto") -> None:
        self.run = run
        self.step = 0 if checkpoint is None else int(checkpoint.state["step"])
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as before
            self.system = build_system(run.config)
        self._average = Average(self.system)
        if checkpoint is not None:
            self._load(checkpoint)
        for network in (self.system, *self._average.networks.values()):
            network.to(accelerate.choose_device(device))
            accelerate.lay_out(network)
            network.eval()

    def settle(self, weights: Weights) -> Weights:
        """The weights that `weights` gives: a run without an average has only raw ones."""
        return weights if self._average.networks else "raw"

    def _load(self, checkpoint: Checkpoint) -> None:
        try:
            self.system.load_state_dict(checkpoint.tensors["system"])
            self._average.load(checkpoint.tensors["average"])
        except (KeyError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise UserError(
                f"checkpoint {checkpoint.path} is not of this version's networks: {first}"
            ) from error

    def sample(
        self, count: int, *, seed: int = 0, weights: Weights = "ema", given: Batch | None = None
    ) -> Tensor:
        """`count` samples `[count, channels, height, width]` in [-1, 1] (or points), by the seed."""
        if count < 1:
            raise UserError(f"count is {count}: expected 1 or more")
        return torch.cat(list(self.draw(count, seed=seed, weights=weights, given=given)))

    def draw(
        self, count: int, *, seed: int = 0, weights: Weights = "ema", given: Batch | None = None
    ) -> Iterator[Tensor]:
        """The same samples, some at a time, so that many never sit in memory at once."""
        if weights == "raw":
            yield from draw(self.system, count, seed, given)
            return
        with self._average.in_place_of_raw(self.system):
            yield from draw(self.system, count, seed, given)

    def discriminate(self, images: Tensor) -> Tensor | None:
        """Discriminator logits `[count]` of `images` in [-1, 1]; None where there is no discriminator."""
        with torch.no_grad():
            logits = self.system.discriminate(images.to(self.system.device))
        return None if logits is None else logits.float().cpu()


def load(path: str | Path, device: str = "auto") -> Trained:
    """The system of the run folder `path` at its newest good checkpoint; needs no data.

    Warns of damaged checkpoints; raises UserError where there is no run or no usable checkpoint.
    """
    run = Run.open(Path(path))
    damage: list[str] = []
    checkpoint = load_newest(run.checkpoints, damage)
    if checkpoint is None:
        raise UserError(f"{run.path} has no checkpoint yet: train it first (the same command resumes)")
    for text in damage:
        warnings.warn(text, stacklevel=2)
    return Trained(run, checkpoint, device)
