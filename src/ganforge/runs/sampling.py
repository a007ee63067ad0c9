"""Sampling reproducibly, with random numbers of its own: torch's global state is neither read nor changed."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.distributed import Shard
from ganforge.errors import UserError
from ganforge.system import LatentSystem, System

CHUNK = 250


def seeded(seed: int, device: torch.device) -> torch.Generator:
    """A generator of random numbers that starts from a seed; raises UserError for one out of range.

    On the CPU it gives the numbers that torch itself gives after `torch.manual_seed(seed)`.
    """
    if not 0 <= seed < 2**64:
        raise UserError(f"seed is {seed}: expected 0 to 2**64 - 1")
    return torch.Generator(device).manual_seed(int(seed))


def chunks(count: int) -> Iterator[slice]:
    """Rows 0 to `count`, at most `CHUNK` at a time."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def draw(system: System, count: int, seed: int, given: Batch | None = None) -> Iterator[Tensor]:
    """Samples of `system`, in evaluation mode, in float32, `[at most CHUNK, ...]` at a time, on the CPU."""
    generator = seeded(seed, system.device)
    for rows in chunks(count):
        part = None if given is None else given[rows].to(system.device)
        with torch.no_grad():
            images = system.sample(rows.stop - rows.start, part, generator=generator).float().cpu()
        yield images


def draw_share(
    system: System, count: int, seed: int, given: Batch | None, share: Shard
) -> Iterator[tuple[slice, Tensor]]:
    """The part of one process of what `draw` gives: every so many chunks, each with its rows.

    Raises UserError where samples cannot be drawn apart, see `draw_some`.
    """
    wanted = [rows for index, rows in enumerate(chunks(count)) if index % share.ranks == share.rank]
    try:
        yield from draw_some(system, count, seed, given, wanted)
    except NotApart as error:
        raise UserError(f"--devices {share.ranks}: {error}: leave torchrun and --devices out") from error


class NotApart(UserError):  # noqa: N818 - said of samples
    """Samples of a system cannot be drawn without those before them."""

    def __init__(self, system: System) -> None:
        name = type(system).__name__.lower()
        super().__init__(f"{name} draws each sample with the random numbers that the one before left")


def draw_some(
    system: System, count: int, seed: int, given: Batch | None, wanted: Sequence[slice]
) -> Iterator[tuple[slice, Tensor]]:
    """Those chunks of what `draw` gives whose rows are `wanted`, in their order, each with its rows.

    The latents of all chunks are drawn, so that they are those of one process alone; only the wanted ones
    are decoded. Raises NotApart where a system draws anything else, since all that follows would change.
    """
    if not isinstance(system, LatentSystem) or type(system).sample is not LatentSystem.sample:
        raise NotApart(system)
    generator, left = seeded(seed, system.device), list(wanted)
    for rows in chunks(count):
        if not left:
            return
        with torch.no_grad():
            latents = system.draw_latents(rows.stop - rows.start, generator=generator)
        if rows != left[0]:
            continue
        left.pop(0)
        before, part = generator.get_state(), None if given is None else given[rows].to(system.device)
        with torch.no_grad():
            images = system.decode(latents, part, generator=generator).float().cpu()
        if not torch.equal(before, generator.get_state()):
            raise NotApart(system)
        yield rows, images


def draw_latents(system: LatentSystem, count: int, seed: int) -> Tensor:
    """The latents `[count, ...]` on the CPU that `draw` decodes, where all conditions are given."""
    generator = seeded(seed, system.device)
    with torch.no_grad():
        parts = [
            system.draw_latents(rows.stop - rows.start, generator=generator).cpu() for rows in chunks(count)
        ]
    return torch.cat(parts)


def decode(system: LatentSystem, latents: Tensor, given: Batch | None = None) -> Iterator[Tensor]:
    """Images of `latents` as `draw` gives them.

    What the system itself draws, such as missing labels, comes from the seed 0.
    """
    generator = seeded(0, system.device)
    for rows in chunks(len(latents)):
        part = None if given is None else given[rows].to(system.device)
        with torch.no_grad():
            images = system.decode(latents[rows].to(system.device), part, generator=generator).float().cpu()
        yield images
