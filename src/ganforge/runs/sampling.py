"""Sampling reproducibly, without disturbing the random state of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.distributed import Shard
from ganforge.errors import UserError
from ganforge.system import LatentSystem, System

CHUNK = 250


class SeededRandom:
    """A random state of torch of its own: starts from a seed, and continues in stretches."""

    def __init__(self, seed: int, device: torch.device) -> None:
        if not 0 <= seed < 2**64:
            raise UserError(f"seed is {seed}: expected 0 to 2**64 - 1")
        self._seed = seed
        self._devices = [device] if device.type == "cuda" else []
        self.states: list[Tensor] = []

    @contextmanager
    def stretch(self) -> Iterator[None]:
        """Within this context torch draws from this state; afterwards its own is as before."""
        with torch.random.fork_rng(devices=self._devices, device_type="cuda"):
            if self.states:
                torch.set_rng_state(self.states[0])
                for device, state in zip(self._devices, self.states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            else:
                torch.manual_seed(self._seed)
            yield
            self.states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]


@contextmanager
def evaluation_mode(system: System) -> Iterator[None]:
    """Within this context `system` is in evaluation mode, without gradients."""
    was_training = system.training
    system.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        system.train(was_training)


def chunks(count: int) -> Iterator[slice]:
    """Rows 0 to `count`, at most `CHUNK` at a time."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def draw(system: System, count: int, seed: int, given: Batch | None = None) -> Iterator[Tensor]:
    """Samples of `system` in evaluation mode and float32, `[at most CHUNK, ...]` at a time, on the CPU."""
    random = SeededRandom(seed, system.device)
    for rows in chunks(count):
        part = None if given is None else given[rows].to(system.device)
        with evaluation_mode(system), random.stretch():
            images = system.sample(rows.stop - rows.start, part).float().cpu()
        yield images


def draw_share(
    system: System, count: int, seed: int, given: Batch | None, share: Shard
) -> Iterator[tuple[slice, Tensor]]:
    """The part of one process of what `draw` gives: every so many chunks, each with its rows.

    The latents of all chunks are drawn, so that they are those of one process alone; only the own ones are
    decoded. Raises UserError where a system draws anything else, since all that follows would change.
    """
    refused = UserError(
        f"--devices {share.ranks}: {type(system).__name__.lower()} draws each sample with the random numbers "
        "that the one before left: leave torchrun and --devices out"
    )
    if not isinstance(system, LatentSystem) or type(system).sample is not LatentSystem.sample:
        raise refused
    random = SeededRandom(seed, system.device)
    for index, rows in enumerate(chunks(count)):
        with evaluation_mode(system), random.stretch():
            latents = system.draw_latents(rows.stop - rows.start)
        if index % share.ranks != share.rank:
            continue
        before, part = random.states, None if given is None else given[rows].to(system.device)
        with evaluation_mode(system), random.stretch():
            images = system.decode(latents, part).float().cpu()
        if not all(map(torch.equal, before, random.states)):
            raise refused
        yield rows, images


def draw_latents(system: LatentSystem, count: int, seed: int) -> Tensor:
    """The latents `[count, ...]` on the CPU that `draw` decodes, where all conditions are given."""
    random = SeededRandom(seed, system.device)
    parts = []
    for rows in chunks(count):
        with evaluation_mode(system), random.stretch():
            parts.append(system.draw_latents(rows.stop - rows.start).cpu())
    return torch.cat(parts)


def decode(system: LatentSystem, latents: Tensor, given: Batch | None = None) -> Iterator[Tensor]:
    """Images of `latents` as `draw` gives them.

    What the system itself draws, such as missing labels, comes from the seed 0.
    """
    random = SeededRandom(0, system.device)
    for rows in chunks(len(latents)):
        part = None if given is None else given[rows].to(system.device)
        with evaluation_mode(system), random.stretch():
            images = system.decode(latents[rows].to(system.device), part).float().cpu()
        yield images
