"""How long imports and commands that need no torch take, next to `import torch`.

    python benchmarks/startup.py --out benchmarks/startup.json

CPU seconds of whole processes, start of Python included, in turns (A B A B ...); medians, and ratios to
`import torch`.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from record import record

PROGRAM = "import sys; from ganforge.cli.main import program; sys.exit(program())"
CASES = {
    "python": ["pass"],
    "import torch": ["import torch"],
    "import ganforge": ["import ganforge"],
    "ganforge --help": [PROGRAM, "--help"],
    "ganforge list systems": [PROGRAM, "list", "systems"],
    "ganforge list data": [PROGRAM, "list", "data"],
    "ganforge list runs": [PROGRAM, "list", "runs"],
    "ganforge list recipes": [PROGRAM, "list", "recipes"],
    "ganforge completion bash": [PROGRAM, "completion", "bash"],
}


def cpu_seconds(words: list[str]) -> float:
    """What a process of these words after `python -c` takes; the clock depends on other work."""
    before = os.times()
    subprocess.run([sys.executable, "-c", *words], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(options.rounds):
        for name, words in CASES.items():
            seconds[name].append(cpu_seconds(words))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "command": "python benchmarks/startup.py",
        "what": "median CPU seconds of a process, and the ratio to that of `import torch`",
        "rounds": options.rounds,
        "python": platform.python_version(),
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "ratio_to_import_torch": {
            name: round(value / medians["import torch"], 3) for name, value in medians.items()
        },
    }
    record(result, options.out)


if __name__ == "__main__":
    main()
