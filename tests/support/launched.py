"""Programs that several processes run together, as torchrun starts them, and torchrun itself."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from command import begin, environment

SUPPORT = Path(__file__).parent


def launch(program: str, *arguments: object, processes: int = 2, cwd: Path) -> list[subprocess.Popen[str]]:
    """`python -c PROGRAM ARGUMENTS` in so many processes that find each other, without waiting."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(SUPPORT), str(SUPPORT.parent / "contract"), environment()["PYTHONPATH"]])
    words = [sys.executable, "-c", program, *map(str, arguments)]
    return [
        begin(
            words,
            cwd,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(processes),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            PYTHONPATH=path,
        )
        for rank in range(processes)
    ]


def ended(processes: list[subprocess.Popen[str]], timeout: float = 240) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each; those that do not end in time are killed and fail the test."""
    found = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=timeout)
            found.append((process.returncode, out, err))
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return found


COMMAND = "import sys; from ganforge.cli.main import program; sys.exit(program())"


def together(*arguments: object, cwd: Path, processes: int = 2) -> list[tuple[int, str, str]]:
    """`ganforge ARGUMENTS` in so many processes, to their end."""
    return ended(launch(COMMAND, *arguments, processes=processes, cwd=cwd))


def torchrun(*arguments: object, cwd: Path, processes: int = 2, restarts: int = 0) -> subprocess.Popen[str]:
    """`torchrun -m ganforge ARGUMENTS` in the folder `cwd`, in its own process group, without waiting."""
    words = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    program = [sys.executable, "-m", "torch.distributed.run", *words, "-m", "--", "ganforge"]
    return begin([*program, *map(str, arguments)], cwd)
