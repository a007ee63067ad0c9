"""Work shared out among the processes that torchrun has started; one that stops answering is named."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from ganforge.errors import UserError

SILENCE = 20.0
"""Seconds without a sign of life after which a process is given up; it may work as long as it likes."""
_BEAT = 2.0
_TIMEOUT = 60


class Pulse:
    """The signs of life of all processes, in the store that torchrun keeps: each counts up its own.

    A thread does, which a process that was stopped or has died does not run, and one that works does.
    """

    def __init__(self, rank: int, ranks: int, store: Any, silence: float = SILENCE) -> None:
        self._rank, self._ranks, self._store, self._silence = rank, ranks, store, silence
        self._waits = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._over.wait(min(_BEAT, self._silence / 4)):
            try:
                self._store.add(f"pulse/{self._rank}", 1)
            except RuntimeError:  # the store has gone: so have the others
                return

    def stop(self) -> None:
        """Give no more signs."""
        self._over.set()
        self._thread.join()

    def wait(self, what: str) -> None:
        """Wait until all processes have come to this place; raises UserError naming one that is silent."""
        self._waits += 1
        self._store.add(f"at/{self._waits}", 1)
        self._store.add(f"at/{self._waits}/{self._rank}", 1)
        signs = dict.fromkeys(range(self._ranks), (-1, time.monotonic()))
        while self._store.add(f"at/{self._waits}", 0) < self._ranks:
            now = time.monotonic()
            for rank, (count, since) in signs.items():
                newest = self._store.add(f"pulse/{rank}", 0)
                if newest != count:
                    signs[rank] = (newest, now)
                elif now - since > self._silence and not self._store.add(f"at/{self._waits}/{rank}", 0):
                    raise UserError(
                        f"process {rank} of {self._ranks} has given no sign of life for {self._silence:.0f} "
                        f"s while {what}: it hangs, or its machine does: type the same command again"
                    )
            time.sleep(min(0.2, self._silence / 10))


@dataclass(frozen=True)
class Shard:
    """Which process of how many: number `rank` of `ranks`; alone it is 0 of 1."""

    rank: int = 0
    ranks: int = 1
    pulse: Pulse | None = None

    def gather(self, values: Tensor) -> None:
        """Overwrite `values` of process 0 by the sum of those of all: each has filled its rows of zeros.

        Raises UserError where another process does not answer.
        """
        if self.ranks == 1:
            return
        assert self.pulse is not None
        self.pulse.wait("samples are gathered")
        try:
            torch.distributed.reduce(values, dst=0)
        except RuntimeError as error:  # of the time-out, or of a connection that broke
            self.pulse.wait("samples are gathered")  # names the process, if it is silent
            reason = str(error).splitlines()[0]
            raise UserError(f"process {self.rank} of {self.ranks} lost the others: {reason[:200]}") from error


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
    try:
        torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=_TIMEOUT))
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"process {place} of {devices} found no others in {_TIMEOUT} s: {reason}") from error
    rank = torch.distributed.get_rank()
    pulse = Pulse(rank, devices, torch.distributed.distributed_c10d._get_default_store())
    try:
        yield Shard(rank, devices, pulse)
    finally:
        pulse.stop()
        torch.distributed.destroy_process_group()
