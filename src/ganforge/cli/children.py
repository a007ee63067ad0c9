"""Commands of ganforge as child processes, several at a time; a signal stops all of them, saved."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ganforge.errors import UserError
from ganforge.files.atomic import make_folder
from ganforge.files.code import trust_of_children
from ganforge.training.signals import REQUEUE, StopRequest, requeue, stop_signals

_SECONDS = 0.1


@dataclass(frozen=True)
class Child:
    """A command: its name in messages, the words after `ganforge`, and the file for what it prints."""

    name: str
    words: Sequence[str]
    log: Path


def run_children(children: Sequence[Child], jobs: int) -> tuple[dict[str, int], int]:
    """Run the commands, `jobs` at a time: exit code of each by name, and the signal that stopped them, or 0.

    What the children print is appended to their logs. They have process groups of their own, so that Ctrl-C
    reaches each once, through this process. Where OMP_NUM_THREADS is not set they share torch's threads.
    """
    waiting, running, codes = list(children), dict[str, subprocess.Popen[bytes]](), dict[str, int]()
    with stop_signals() as request:
        try:
            while running or (waiting and not request.signal_number):
                while waiting and len(running) < jobs and not request.signal_number:
                    child = waiting.pop(0)
                    running[child.name] = _start(child, jobs)
                    print(f"{child.name}: started, prints to {child.log}", flush=True)
                if request.signal_number:
                    _pass_on(request, running)
                for name, process in list(running.items()):
                    if (code := process.poll()) is not None:
                        del running[name]
                        codes[name] = code
                        print(f"{name}: {'done' if code == 0 else f'exit code {code}'}", flush=True)
                time.sleep(_SECONDS)
        except BaseException:
            for process in running.values():
                process.kill()
            raise
    return codes, request.signal_number or 0


def _start(child: Child, jobs: int) -> "subprocess.Popen[bytes]":
    make_folder(child.log.parent)
    threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // jobs))}
    with open(child.log, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ganforge", *child.words, *trust_of_children()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=threads | os.environ,
            start_new_session=True,
        )


def _pass_on(request: StopRequest, running: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """End the children as the signal asks, once, and wait for them; they save what they have.

    Of Slurm's signal they see SIGTERM: the job is requeued once, by this process.
    """
    number = request.signal_number
    assert number is not None
    for process in running.values():
        process.send_signal(signal.SIGTERM if number == REQUEUE else number)
    print("stopping: waiting until everything is saved", file=sys.stderr, flush=True)
    for process in running.values():
        process.wait()
    if number == REQUEUE and (text := requeue()):
        print(text, file=sys.stderr)


def last_line(child: Child) -> str:
    """The last line that a child printed."""
    lines = child.log.read_text("utf-8", "replace").split("\n") if child.log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def check_jobs(jobs: int) -> None:
    """Raise UserError for a number of processes that is none."""
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: expected 1 or more")
