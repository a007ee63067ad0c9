"""Drawing samples reproducibly, without disturbing the random numbers of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.errors import UserError
from ganforge.system import System

CHUNK = 250


class SeededRandom:
    """Random numbers of torch that start from a seed and go on, in stretches, beside all others."""

    def __init__(self, seed: int, device: torch.device) -> None:
        if not 0 <= seed < 2**64:
            raise UserError(f"seed is {seed}: expected 0 to 2**64 - 1")
        self._seed = seed
        self._devices = [device] if device.type == "cuda" else []
        self._states: list[Tensor] = []

    @contextmanager
    def stretch(self) -> Iterator[None]:
        """Within this context torch draws from here; afterwards its own random numbers go on as before."""
        with torch.random.fork_rng(devices=self._devices, device_type="cuda"):
            if self._states:
                torch.set_rng_state(self._states[0])
                for device, state in zip(self._devices, self._states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            else:
                torch.manual_seed(self._seed)
            yield
            self._states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]


def draw(system: System, count: int, seed: int, given: Batch | None = None) -> Iterator[Tensor]:
    """Samples of `system` in evaluation mode and float32, `[at most CHUNK, ...]` at a time, on the CPU."""
    random = SeededRandom(seed, system.device)
    was_training = system.training
    system.eval()
    try:
        for start in range(0, count, CHUNK):
            rows = slice(start, min(start + CHUNK, count))
            part = None if given is None else given[rows].to(system.device)
            with random.stretch(), torch.no_grad():
                images = system.sample(rows.stop - rows.start, part).float().cpu()
            yield images
    finally:
        system.train(was_training)
