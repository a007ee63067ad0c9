"""Work shared out among the processes that torchrun has started; one that stops answering is named."""

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ganforge.errors import UserError

SILENCE = 20.0
"""Seconds without a sign of life after which a process is given up; it may work as long as it likes."""
_BEAT = 2.0
_TIMEOUT = 60
_FOREVER = timedelta(days=30)
"""For what other processes are waited for in training: its process 0 may evaluate for hours."""
_MOST_SECONDS_APART = 600
"""How much later than process 0 another may be ready."""
EXIT_LOST = 2


class Pulse:
    """The signs of life of all processes, in the store that torchrun keeps: each counts up its own.

    A thread does, which a process that was stopped or has died does not run, and one that works does.
    """

    def __init__(
        self, rank: int, ranks: int, store: Any, silence: float = SILENCE, watches: bool = False
    ) -> None:
        self._rank, self._ranks, self._store, self._silence = rank, ranks, store, silence
        self._waits = 0
        self._watches = watches
        self._beats = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        if watches:
            threading.Thread(target=self._watch_store, daemon=True).start()

    def _beat(self) -> None:
        signs = self._no_signs()
        while not self._over.wait(min(_BEAT, self._silence / 4)):
            try:
                self._store.add(f"pulse/{self._rank}", 1)
                silent = self._silent(signs, self._silence) if self._watches else None
            except RuntimeError:  # the store has gone: so have the others
                self._over.set()
                return
            self._beats += 1
            if silent is not None:
                self._give_up(silent)

    def _watch_store(self) -> None:
        """Give up where the store, on the machine of process 0, does not answer: a call waits for minutes.

        What counts is the time in which this thread runs, as a machine that slept has not waited.
        """
        pause = self._silence / 20
        beats, waited = -1, 0.0
        while not self._over.wait(pause):
            waited = waited + pause if beats == self._beats else 0.0
            beats = self._beats
            if waited > self._silence:
                self._give_up(0)

    def _give_up(self, rank: int) -> None:
        # The main thread waits for it within a collective operation, which nothing can interrupt.
        print(f"error: {self._about(rank, 'training')}", file=sys.stderr, flush=True)
        os._exit(EXIT_LOST)

    def _no_signs(self) -> dict[int, tuple[int, float]]:
        return dict.fromkeys(range(self._ranks), (-1, time.monotonic()))

    def _silent(self, signs: dict[int, tuple[int, float]], silence: float) -> int | None:
        """A process whose sign of life has not changed for so many seconds; brings `signs` up to date."""
        now = time.monotonic()
        for rank, (count, since) in signs.items():
            newest = self._store.add(f"pulse/{rank}", 0)
            if newest != count:
                signs[rank] = (newest, now)
            elif now - since > silence:
                return rank
        return None

    def _about(self, rank: int, what: str) -> str:
        return (
            f"process {rank} of {self._ranks} has given no sign of life for {self._silence:.0f} s while "
            f"{what}: it or its machine hangs, or cannot be reached: type the same command again"
        )

    def name_lost(self) -> int | None:
        """The process that has just broken a connection: the one that gives no sign any more, or None."""
        signs = self._no_signs()
        until = time.monotonic() + 4 * _BEAT
        try:
            while time.monotonic() < until:
                time.sleep(_BEAT / 10)
                if (silent := self._silent(signs, 2 * _BEAT)) is not None:
                    return silent
        except RuntimeError:  # the store was lost too: it is on the machine of process 0
            return 0 if self._rank else None
        return None

    def stop(self) -> None:
        """Give no more signs."""
        self._over.set()
        self._thread.join(self._silence)  # the store may not answer any more

    def wait(self, what: str) -> None:
        """Wait until all processes have come to this place; raises UserError naming one that is silent."""
        self._waits += 1
        self._store.add(f"at/{self._waits}", 1)
        self._store.add(f"at/{self._waits}/{self._rank}", 1)
        signs = self._no_signs()
        while self._store.add(f"at/{self._waits}", 0) < self._ranks:
            now = time.monotonic()
            for rank, (count, since) in signs.items():
                newest = self._store.add(f"pulse/{rank}", 0)
                if newest != count:
                    signs[rank] = (newest, now)
                elif now - since > self._silence and not self._store.add(f"at/{self._waits}/{rank}", 0):
                    raise UserError(self._about(rank, what))
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

    @contextmanager
    def naming_lost(self) -> Iterator[None]:
        """Within this context a connection that breaks is a UserError naming the process that was lost."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error).lower():
                raise
            lost = None if self.pulse is None else self.pulse.name_lost()
            who = "another process" if lost is None else f"process {lost} of {self.ranks}"
            raise UserError(
                f"{who} was lost in training: type the same command again, or start it with torchrun "
                f"--max-restarts 3 ({(str(error).splitlines() or ['no reason given'])[0][:120]})"
            ) from error

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite each of `tensors` by its mean over all processes."""
        if self.ranks == 1 or not tensors:
            return
        with self.naming_lost(), torch.no_grad():
            flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
            torch.distributed.all_reduce(flat)
            parts = (flat / self.ranks).split([tensor.numel() for tensor in tensors])
            means = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
            torch._foreach_copy_(list(tensors), means)

    def lead(self, message: Any) -> None:
        """Process 0 sends the others what `followed` returns there: anything that JSON can hold."""
        content = json.dumps(message).encode()
        self._broadcast(torch.tensor(len(content)))
        self._broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8))

    def followed(self) -> Any:
        """What process 0 sends; waits for it."""
        size = torch.tensor(0)
        self._broadcast(size)
        content = torch.empty(int(size), dtype=torch.uint8)
        self._broadcast(content)
        return json.loads(content.numpy().tobytes())

    def command(self, number: int) -> None:
        """Process 0 sends the others a number, which `commanded` returns there."""
        self._broadcast(torch.tensor(number))

    def commanded(self) -> int:
        """The number that process 0 sends; waits for it."""
        number = torch.tensor(0)
        self._broadcast(number)
        return int(number)

    def send(self, content: bytes) -> None:
        """Process 0 sends the others bytes, which `received` returns there."""
        self.lead(len(content))
        self._broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8))

    def received(self) -> bytes:
        """The bytes that process 0 sends."""
        content = torch.empty(self.followed(), dtype=torch.uint8)
        self._broadcast(content)
        return content.numpy().tobytes()

    def _broadcast(self, tensor: Tensor) -> None:
        with self.naming_lost():
            torch.distributed.broadcast(tensor, 0)

    def compare(self, values: Tensor) -> tuple[int, int] | None:
        """The first process whose `values`, a vector of int64, differ from those of process 0, and where.

        None where there is none; the same answer for all processes.
        """
        every = [torch.empty_like(values) for _ in range(self.ranks)]
        with self.naming_lost():
            torch.distributed.all_gather(every, values)
        for rank, theirs in enumerate(every):
            if len(different := (theirs != every[0]).nonzero()):
                return rank, int(different[0])
        return None


def rank_of_process() -> int:
    """The number of this process among those of torchrun; 0 without it."""
    return int(os.environ.get("RANK", "0")) if num_processes() > 1 else 0


def num_processes() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[Shard]:
    """Within this context the processes of torchrun train one run together, each on its own GPU.

    Without torchrun it is the only process. One that stops answering ends the others after `SILENCE`, with
    its number. Raises UserError where the others are not found, or have no GPU left.
    """
    if num_processes() == 1:
        yield Shard()
        return
    with _group(_own_gpu("auto"), _FOREVER, "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"):
        rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        pulse = Pulse(rank, ranks, torch.distributed.distributed_c10d._get_default_store(), watches=True)
        try:
            yield Shard(rank, ranks, pulse)
        finally:
            pulse.stop()


def _own_gpu(device: str) -> int:
    """Take the GPU of this process, where `device` is not "cpu" and there are some; its number here."""
    place, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device != "cpu" and gpus:
        if place >= gpus:
            raise UserError(
                f"torchrun started {num_processes()} processes, {gpus} GPU here: start no more than GPUs"
            )
        torch.cuda.set_device(place)
    return place


@contextmanager
def _group(place: int, timeout: timedelta, backend: str) -> Iterator[None]:
    try:
        store, rank, ranks = next(rendezvous("env://", timeout=timedelta(seconds=_TIMEOUT)))
        store = PrefixStore(_attempt(store, rank, ranks), store)
        torch.distributed.init_process_group(
            backend, store=store, rank=rank, world_size=ranks, timeout=timeout
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0][:200]
        raise UserError(f"process {place} of {num_processes()} found no others: {reason}") from error
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _attempt(store: Any, rank: int, ranks: int) -> str:
    """A name that the processes started together agree on; waits for all of them.

    After a restart torchrun's store still holds what processes that are gone have written, such as their
    addresses. So each calls with a number of its own, and process 0 answers that very number.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"calls/{rank}", own)
        store.wait([f"answer/{own}"], _FOREVER)  # process 0 may open its data for long
        name: str = store.get(f"answer/{own}").decode()
        store.set(f"joined/{name}/{rank}", "")
        return name
    answered: dict[int, str] = {}
    until = time.monotonic() + _MOST_SECONDS_APART
    while not store.check([f"joined/{own}/{other}" for other in range(1, ranks)]):
        for other in range(1, ranks):
            if store.check([f"calls/{other}"]):
                call = store.get(f"calls/{other}").decode()
                if answered.get(other) != call:
                    answered[other] = call
                    store.set(f"answer/{call}", own)
        if time.monotonic() > until:
            missing = [r for r in range(1, ranks) if not store.check([f"joined/{own}/{r}"])]
            raise RuntimeError(f"no sign of process {missing[0]} in {_MOST_SECONDS_APART} s")
        time.sleep(0.02)
    return own


def refuse_several_processes(verb: str) -> None:
    """Raise UserError where torchrun has started more than one process."""
    if (started := num_processes()) > 1:
        raise UserError(
            f"{verb} uses one process, torchrun started {started}: type the command without torchrun"
        )


@contextmanager
def shared(devices: int, device: str, command: str) -> Iterator[Shard]:
    """Within this context the processes of torchrun, one for each of `devices`, know of each other.

    Where `device` is not "cpu" and there are GPUs, each process has its own. What is gathered goes over the
    CPUs (gloo), so that no GPU has to reach another. Raises UserError unless torchrun has started as
    many processes, of `command`, and where they are more than the GPUs.
    """
    started = num_processes()
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
    with _group(_own_gpu(device), timedelta(seconds=_TIMEOUT), "gloo"):
        rank = torch.distributed.get_rank()
        pulse = Pulse(rank, devices, torch.distributed.distributed_c10d._get_default_store())
        try:
            yield Shard(rank, devices, pulse)
        finally:
            pulse.stop()
