"""How many files of ganforge the evaluation of one run enters: `python benchmarks/files_entered.py`.

A file counts once a function that is written in it is called; what runs while modules are imported does not.
Counted are `ganforge.evaluate(run)` and the command `ganforge evaluate run`, on a DCGAN of a few steps.
Writes `benchmarks/files_entered.json`.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import ganforge
from ganforge.cli.main import main

PACKAGE = Path(ganforge.__file__).parent
NUM_SAMPLES = 64


def files_entered(call: Callable[[], object]) -> list[str]:
    """The files of the package, in order, in which `call` runs a function, imports left out."""
    entered: dict[str, None] = {}
    importing = 0

    def note(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal importing
        if event not in ("call", "return"):  # of Python, not of C
            return
        code = frame.f_code
        if code.co_name == "<module>":
            importing += 1 if event == "call" else -1
        elif event == "call" and not importing and code.co_filename.startswith(str(PACKAGE)):
            entered.setdefault(str(Path(code.co_filename).relative_to(PACKAGE)))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return list(entered)


def measure() -> dict[str, object]:
    """The files that Python and the command enter, and how many."""
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        options: dict[str, Any] = {"steps": 4, "batch": 16, "width": 8, "quiet": True, "device": "cpu"}
        ganforge.train("dcgan", "mnist", run=run, **options)
        ganforge.evaluate(run, num_samples=NUM_SAMPLES)  # so that lazy imports have happened
        words = ["evaluate", str(run), "--num-samples", str(NUM_SAMPLES)]
        in_python = files_entered(lambda: ganforge.evaluate(run, num_samples=NUM_SAMPLES))
        with contextlib.redirect_stdout(io.StringIO()):
            by_command = files_entered(lambda: main(words))
    return {
        "num_samples": NUM_SAMPLES,
        "files_entered_by_evaluate": len(in_python),
        "files_entered_by_command": len(by_command),
        "evaluate": in_python,
        "only_command": [path for path in by_command if path not in in_python],
    }


if __name__ == "__main__":
    found = measure()
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
