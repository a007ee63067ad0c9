"""Drawing samples reproducibly, without disturbing the random numbers of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.errors import UserError
from ganforge.system import System

CHUNK = 250


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within this context torch's random numbers start from `seed`; afterwards they go on as before."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, device_type="cuda"):
        torch.manual_seed(seed)
        yield


def draw(system: System, count: int, seed: int, given: Batch | None = None) -> Iterator[Tensor]:
    """Samples of `system` in evaluation mode and float32, `[at most CHUNK, ...]` at a time, on the CPU."""
    if not 0 <= seed < 2**64:
        raise UserError(f"seed is {seed}: expected 0 to 2**64 - 1")
    was_training = system.training
    system.eval()
    try:
        with seeded(seed, system.device), torch.no_grad():
            for start in range(0, count, CHUNK):
                rows = slice(start, min(start + CHUNK, count))
                part = None if given is None else given[rows].to(system.device)
                yield system.sample(rows.stop - rows.start, part).float().cpu()
    finally:
        system.train(was_training)
