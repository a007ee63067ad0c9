"""Signals as stop requests that a training reads between two steps; requeueing under Slurm."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUEUE: int | None = getattr(signal, "SIGUSR1", None)
"""The signal that Slurm's `--signal=B:USR1@120` sends before a job's time is over; not on Windows."""
SIGNALS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, REQUEUE) if number is not None)
_SECONDS = 30


class StopRequest:
    """The first signal that came, or None."""

    signal_number: int | None = None


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Within this context SIGINT, SIGTERM and SIGUSR1 are only recorded; a second SIGINT interrupts.

    What the process was started to ignore, such as SIGINT under `nohup`, it ignores here too.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and request.signal_number is not None:
            raise KeyboardInterrupt
        request.signal_number = request.signal_number or number

    caught = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, ask) for number in caught}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def requeue() -> str:
    """Have Slurm start this job again, where it is one; what was done, in words, or nothing."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return ""
    program = shutil.which("scontrol")
    if program is None:
        return f"job {job} is not requeued: no scontrol here"
    try:
        done = subprocess.run(
            [program, "requeue", job],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {job} is not requeued: {error}"
    said = " ".join(done.stderr.split())[:200]
    return f"job {job} is requeued" if done.returncode == 0 else f"job {job} is not requeued: {said}"


def requeue_before_training() -> None:
    """From here on SIGUSR1 requeues at once and ends: nothing is trained yet that could be lost.

    It is for the time in which a command imports and opens data; `stop_signals` takes over from it.
    """
    if REQUEUE is None or signal.getsignal(REQUEUE) != signal.SIG_DFL:
        return

    def end(number: int, _: FrameType | None) -> None:
        text = requeue()
        os.write(2, f"stopped before the first step{': ' * bool(text)}{text}\n".encode())
        os._exit(128 + number)

    signal.signal(REQUEUE, end)
