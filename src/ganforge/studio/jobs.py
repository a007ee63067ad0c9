"""The commands that the studio starts: processes of their own, which outlive it."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ganforge.runs.folder import is_held
from ganforge.server.guard import Refused

MOST_JOBS = 2
"""At a time: more would starve each other."""
MOST_TAIL_BYTES = 4_000
SECONDS_TO_END = 15


@dataclass
class Job:
    """A command about the run `run`, the file with its output, and its process."""

    run: str
    command: str
    log: Path
    process: subprocess.Popen[bytes]
    stopping: bool = False
    """Whether it got the signal to stop: it saves, and ends."""

    @property
    def exit_code(self) -> int | None:
        """None while it works."""
        return self.process.poll()

    def tail(self) -> str:
        """The end of its output."""
        try:
            with open(self.log, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def error(self) -> str:
        """Why it failed, in one line; empty where it did not."""
        if not self.exit_code or self.exit_code in (130, 143):
            return ""
        lines = [line for line in self.tail().splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or [f"ended with exit code {self.exit_code}"])[-1].removeprefix("error: ")


class Jobs:
    """Commands by the name of their run; the newest of each is kept."""

    def __init__(self, most: int = MOST_JOBS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def start(self, run: str, words: Sequence[str], log: Path) -> Job:
        """Start `ganforge WORDS`; raises Refused where the run has one already, or too many work."""
        if any("\0" in word or not _is_encodable(word) for word in words):
            raise Refused(422, "a word with half of a character, or none: type it again")
        with self._lock:
            if (before := self.of(run)) is not None and before.stopping:
                with suppress(subprocess.TimeoutExpired):  # a run is free a little before its process ends
                    before.process.wait(SECONDS_TO_END)
            working = [name for name, job in self._jobs.items() if job.exit_code is None]
            if run in working:
                raise Refused(409, f"a command about {run} is at work: wait for it, or stop it")
            if len(working) >= self._most:
                raise Refused(
                    429,
                    f"{', '.join(working)} are at work: stop one, or start the studio with --jobs "
                    f"{self._most + 1}",
                    Retry_After="30",
                )
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "ganforge", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # the end of the studio is not the end of a training
                )
            job = Job(run, shlex.join(["ganforge", *words]), log, process)
            self._jobs[run] = job
            return job

    def of(self, run: str) -> Job | None:
        """The newest command about a run, if this studio started one."""
        return self._jobs.get(run)

    def all(self) -> list[Job]:
        """Every command that this studio started, the newest of each run."""
        return list(self._jobs.values())

    def stop(self, run: str, path: Path) -> None:
        """Ask the training in the folder `path` to save and stop, whoever started it; raises Refused."""
        job = self.of(run)
        if job is not None and job.exit_code is None:
            job.stopping = True
            job.process.send_signal(signal.SIGTERM)
            return
        if not is_held(path):
            raise Refused(409, f"nothing trains in {run}")
        process = holder_of(path)
        if process is None:
            raise Refused(409, f"{run} was started elsewhere: press Ctrl-C in its terminal")
        os.kill(process, signal.SIGTERM)


def _is_encodable(word: str) -> bool:
    try:
        return bool(os.fsencode(word)) or word == ""
    except UnicodeEncodeError:
        return False


def holder_of(path: Path) -> int | None:
    """The process that holds the run folder `path`; None where the system does not tell."""
    try:
        number = os.stat(path / ".lock").st_ino
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:  # not on Linux
        return None
    held = [row for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5].endswith(f":{number}")]
    return next((int(row[4]) for row in held if row[4].isdigit() and int(row[4]) > 1), None)
