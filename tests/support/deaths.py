"""A command that dies at its n-th file operation, for each n: `python deaths.py N STRIDE WORD...`.

Every command runs in a forked child in a folder of its own, `whole`, `1`, `2`, ...: it dies there, and is run
again. The number of operations of the whole one, and of the failures of the second runs, is printed.
"""

import builtins
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch

import ganforge.files.atomic
import ganforge.runs.folder
from ganforge.cli.main import main

DEATH = 77
EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


class Mortal:
    """Counts file operations, and dies at the one whose number is `last`; of a write half is done."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.count = 0
        sys.addaudithook(self._hook)
        self._fsync = os.fsync
        os.fsync = self._counted_fsync  # type: ignore[assignment]
        for module in (ganforge.files.atomic, ganforge.runs.folder):
            module.open = self._open  # type: ignore[attr-defined]

    def step(self) -> None:
        self.count += 1
        if self.count == self.last:
            os._exit(DEATH)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR) and not str(arguments[0]).startswith("/dev"):
                self.step()
        elif event in EVENTS:
            self.step()

    def _counted_fsync(self, descriptor: int) -> None:
        self.step()
        self._fsync(descriptor)

    def _open(self, *arguments: Any, **named: Any) -> Any:
        return _File(builtins.open(*arguments, **named), self)


class _File:
    """An open file whose writes count."""

    def __init__(self, file: Any, mortal: Mortal) -> None:
        self._file, self._mortal = file, mortal

    def write(self, content: Any) -> int:
        if self._mortal.count + 1 == self._mortal.last:
            self._file.write(content[: len(content) // 2])
            self._file.flush()
        self._mortal.step()
        return int(self._file.write(content))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def child(folder: str, words: list[str], death: int | None) -> int:
    """The exit code of the command in a child; `death` 0 counts only, into the file `count`."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = 70
    try:
        Path(folder).mkdir(exist_ok=True)
        os.chdir(folder)
        log = os.open("said", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        mortal = None if death is None else Mortal(death)
        code = main(words)
        if mortal is not None:
            Path("count").write_text(str(mortal.count))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def warm_up(words: list[str]) -> None:
    """Import here, once, whatever the command imports on its way."""
    own, said = os.getcwd(), sys.stdout
    Path("warm").mkdir()
    os.chdir("warm")
    with builtins.open("said", "w", encoding="utf-8") as sys.stdout:
        assert main(words) == 0
    sys.stdout = said
    os.chdir(own)


def program(first: int, stride: int, words: list[str]) -> None:
    """Die at the operations `first`, `first + stride` ... and print what came of it."""
    warm_up(words)
    assert child("whole", words, 0) == 0, Path("whole/said").read_text()
    total = int(Path("whole/count").read_text())
    failed = {}
    deaths = range(first, total + 1, stride)
    for number in deaths:
        died, again = child(str(number), words, number), child(str(number), words, None)
        if (died, again) != (DEATH, 0):
            failed[number] = [died, again, Path(str(number), "said").read_text()[-500:]]
    print(json.dumps({"total": total, "deaths": len(deaths), "failed": failed}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    program(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
