"""Work shared out among the processes that torchrun has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor

from ganforge.errors import UserError


@dataclass(frozen=True)
class Shard:
    """Which process of how many: number `rank` of `ranks`; alone it is 0 of 1."""

    rank: int = 0
    ranks: int = 1

    def gather(self, values: Tensor) -> None:
        """Overwrite `values` of process 0 by the sum of those of all: each has filled its rows of zeros."""
        if self.ranks > 1:
            torch.distributed.reduce(values, dst=0)


def refuse_several_processes(verb: str) -> None:
    """Raise UserError where torchrun has started more than one process."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1:
        raise UserError(
            f"{verb} uses one process, torchrun started {started}: type ganforge {verb} without torchrun"
        )


@contextmanager
def shared(devices: int, device: str, command: str) -> Iterator[Shard]:
    """Within this context the processes of torchrun, one for each of `devices`, know of each other.

    Where `device` is not "cpu" and there are GPUs, each process has its own. What is gathered goes over the
    CPUs (gloo), so that no GPU has to reach another. Raises UserError unless torchrun has started as
    many processes, of `command`, and where they are more than the GPUs.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if devices < 1:
        raise UserError(f"--devices {devices}: expected 1 or more")
    if started == 1 and devices > 1:
        raise UserError(
            f"--devices {devices} needs as many processes: "
            f"torchrun --nproc-per-node {devices} -m ganforge {command} --devices {devices}"
        )
    if started != devices:
        raise UserError(f"torchrun has started {started} processes, not {devices}: give --devices {started}")
    if devices == 1:
        yield Shard()
        return
    place, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device != "cpu" and gpus:
        if place >= gpus:
            raise UserError(f"--devices {devices}: {gpus} GPU here: start no more processes than GPUs")
        torch.cuda.set_device(place)
    torch.distributed.init_process_group("gloo")
    try:
        yield Shard(torch.distributed.get_rank(), devices)
    finally:
        torch.distributed.destroy_process_group()
