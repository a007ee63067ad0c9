"""A contestant in a process of its own, so that its start and its memory can be measured."""

import multiprocessing
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Literal, Self

import torch

from ganforge.errors import UserError
from ganforge.files.code import allow, allowed
from ganforge.runs.device import choose_device, explained_compiler, peak_memory_bytes
from ganforge.training.bench.contestants import Case, Ours
from ganforge.training.bench.plain import Plain

Kind = Literal["ganforge", "plain"]
KINDS: dict[Kind, type[Ours | Plain]] = {"ganforge": Ours, "plain": Plain}
LONGEST_START = 600.0


class Child:
    """A contestant that steps on request; raises UserError where its process fails."""

    def __init__(self, kind: Kind, case: Case, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, kind, case, threads, allowed()), daemon=True
        )
        self._name = f"the {kind} loop of {case.system}"
        begun = time.perf_counter()
        self._process.start()
        other.close()
        self.about: dict[str, Any] = self._receive()
        self.start_seconds = time.perf_counter() - begun
        """Until its first step was done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()
        self._process.join(10)
        self._process.kill()

    def call(self, what: str, times: int = 1) -> Any:
        """What the method `what` of the contestant returns, of the last of `times` calls, or their sum."""
        with suppress(ConnectionError):  # said below
            self._end.send((what, times))
        return self._receive()

    def _receive(self) -> Any:
        try:
            if not self._end.poll(LONGEST_START):
                raise UserError(f"{self._name} did not answer within {LONGEST_START:.0f} seconds")
            good, answer = self._end.recv()
        except (EOFError, ConnectionError):
            why = "probably for want of memory: try a smaller --batch"
            raise UserError(f"{self._name} was ended, {why}") from None
        if not good:
            raise UserError(f"{self._name}: {answer}")
        return answer


def _serve(end: Connection, kind: Kind, case: Case, threads: int, trusted: list[str]) -> None:
    """Build the contestant, take its first step, then do what is requested until the other end closes."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(kind == "ganforge")  # as the command line does, and scripts do not
    allow(trusted)
    try:
        plan = case.plan()
        contestant = KINDS[kind](plan)
        with explained_compiler(case.train):
            first = contestant.step()
        about = {"images_per_step": contestant.images_per_step, "first_step_seconds": first}
        if isinstance(contestant, Ours):
            about |= contestant.describe()
        end.send((True, about))
        while True:
            what, times = end.recv()
            if what == "memory":
                end.send((True, peak_memory_bytes(choose_device(case.train.device))))
            else:
                answers = [getattr(contestant, what)() for _ in range(times)]
                end.send((True, sum(answers) if times > 1 else answers[0]))
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return
    except (UserError, RuntimeError, ValueError, MemoryError) as error:
        end.send((False, (str(error).splitlines() or [type(error).__name__])[0]))
