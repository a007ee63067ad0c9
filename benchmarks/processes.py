"""Training by several processes on this machine: speed, and processes that are killed or frozen.

    .venv/bin/python benchmarks/processes.py --out benchmarks/processes.json

Speed: seconds per step of one process with one thread and with two, of one under torchrun, and of two with a
thread each and both kinds of batch norm, in turn. Deaths: a training of two processes under `torchrun
--max-restarts` loses one of them, killed or frozen at a random step; what its last checkpoint holds is
compared with that of a training that lost none. About half an hour.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from record import record

import ganforge

SOURCES = Path(ganforge.__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
DCGAN = [
    "train",
    "dcgan",
    "--data",
    "mnist",
    "--device",
    "cpu",
    "--precision",
    "fp32",
    "--sample-every",
    "100000",
]
SPEED = [*DCGAN, "--width", "32", "--batch", "128", "--steps", "60", "--log-every", "10"]
ROUNDS = 4
DEATHS = [
    *DCGAN,
    "--width",
    "4",
    "--batch",
    "8",
    "--steps",
    "150",
    "--checkpoint-every",
    "10",
    "--log-every",
    "10",
]
FILES = ("system", "average", "optimizers", "random")
LATENCY = """
import time, torch, torch.distributed as d
torch.set_num_threads(1)
d.init_process_group("gloo")
numbers = torch.zeros(256)
for _ in range(20):
    d.all_reduce(numbers)
began = time.perf_counter()
for _ in range(300):
    d.all_reduce(numbers)
if d.get_rank() == 0:
    print((time.perf_counter() - began) / 300)
"""


def program(processes: int, restarts: int = 0) -> list[str]:
    """The words before those of ganforge; without torchrun for 0 processes."""
    if not processes:
        return [sys.executable, "-m", "ganforge"]
    words = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    return [sys.executable, "-m", "torch.distributed.run", *words, "-m", "--", "ganforge"]


def seconds_per_step(folder: Path, processes: int, threads: int, *more: str) -> float:
    """The median of a training's log but for its start."""
    words = [*program(processes), *SPEED, "--run", str(folder), *more]
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run(words, env=environment, check=True, capture_output=True)
    lines = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    return statistics.median([line["seconds_per_step"] for line in lines if line["kind"] == "train"][2:])


def measure_speed(place: Path) -> dict[str, Any]:
    """Seconds per step, A B C D in turn."""
    kinds: dict[str, tuple[int, int, tuple[str, ...]]] = {
        "alone": (0, 1, ()),
        "one_under_torchrun": (1, 1, ()),
        "alone_two_threads": (0, 2, ()),
        "two_synchronised": (2, 1, ()),
        "two_local": (2, 1, ("--batch-norm", "local")),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(ROUNDS):
        for name, (processes, threads, more) in kinds.items():
            seconds = seconds_per_step(place / f"{name}-{turn}", processes, threads, *more)
            found[name].append(round(seconds, 5))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    medians = {name: statistics.median(values) for name, values in found.items()}
    file = place / "latency.py"
    file.write_text(LATENCY, encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, str(file)], env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return {
        "seconds_per_step": found,
        "overhead_of_one_process": round(medians["one_under_torchrun"] / medians["alone"] - 1, 4),
        "speed_of_two_threads": round(medians["alone"] / medians["alone_two_threads"], 3),
        "speed_of_two_synchronised": round(medians["alone"] / medians["two_synchronised"], 3),
        "speed_of_two_local": round(medians["alone"] / medians["two_local"], 3),
        "seconds_of_a_sum_of_256_numbers": round(float(done.stdout), 5),
        "command": " ".join(SPEED),
    }


def contents(folder: Path) -> dict[str, bytes]:
    """The tensors of the last checkpoint."""
    last = sorted((folder / "checkpoints").iterdir())[-1]
    return {name: (last / f"{name}.safetensors").read_bytes() for name in FILES}


def lose_one(folder: Path, kind: int, rank: int, step: int) -> dict[str, Any]:
    """A training that loses the process `rank` once it has done `step` steps or a few more."""
    words = [*program(2, restarts=3), *DEATHS, "--run", str(folder)]
    process = subprocess.Popen(
        words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = folder / "metrics.jsonl"
    while not (log.exists() and f'"step": {step},' in log.read_text("utf-8")):
        if process.poll() is not None:
            break
        time.sleep(0.05)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(sorted(map(int, children.stdout.split()))[rank], kind)
    lost = time.monotonic()
    out, errors = process.communicate()
    named = re.findall(r"^error: (process \d of 2 .*?)(?:: |$)", errors, re.MULTILINE)
    return {
        "signal": signal.Signals(kind).name,
        "process": rank,
        "after_step": step,
        "named": named[:1],
        "seconds_to_the_end": round(time.monotonic() - lost, 1),
        "ended": process.returncode == 0,
        "resumed": "resuming" in out + errors,
    }


def measure_deaths(place: Path, count: int) -> dict[str, Any]:
    """`count` trainings that lose a process, compared with one that does not."""
    draw = random.Random(0)
    subprocess.run(
        [*program(2), *DEATHS, "--run", str(place / "whole")],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    expected = contents(place / "whole")
    rows = []
    for index in range(count):
        kind = (signal.SIGKILL, signal.SIGSTOP)[index % 2]
        row = lose_one(place / f"lost-{index}", kind, index // 2 % 2, draw.randrange(10, 130, 10))
        row["equal"] = row["ended"] and contents(place / f"lost-{index}") == expected
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    return {
        "rows": rows,
        "equal": sum(row["equal"] for row in rows),
        "of": count,
        "command": " ".join(DEATHS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("speed", "deaths"), nargs="+", default=["speed", "deaths"])
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text("utf-8")) if arguments.out and arguments.out.exists() else {}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        if "speed" in arguments.only:
            results["speed"] = measure_speed(Path(place))
        if "deaths" in arguments.only:
            results["deaths"] = measure_deaths(Path(place), arguments.deaths)
    record(results, arguments.out)


if __name__ == "__main__":
    main()
