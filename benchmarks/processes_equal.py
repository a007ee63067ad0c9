"""What several processes compute is compared with what one does: trainings in float64, and 100,000 samples.

    OMP_NUM_THREADS=1 python benchmarks/processes_equal.py --out benchmarks/processes.json

Equality: every configuration of `tests/contract/test_golden.py` is trained for 50 steps by one process and by
two that share its batches. Gradients of the first step are compared for each parameter, metrics for each
step. How far rounding alone goes is measured as well: one process, its first weights changed in the last bit.

Samples: three processes draw 100,000 into folders, all are killed half way, and the same command is typed
again; files are compared with those of one process. The memory of each is read while it draws.

About ten minutes. Needs Linux.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from processes import ENVIRONMENT, program
from record import record_part
from torch import Tensor, nn

from ganforge.distributed import Shard, joined

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "contract"))
from test_golden import RUNS, double_precision, set_up

STEPS = 50
SHOWN = (1, 10, STEPS)
BAR = 1e-6
BAR_OF_BATCH_STATISTICS = 1e-5
ZERO = 1e-12
"""The part of a network's gradient that is rounding: of a parameter that the loss does not depend on."""
TRAIN = ["train", "gan", "--data", "mnist", "--generator-hidden", "64", "--discriminator-hidden", "64"]
SHORT = ["--batch", "64", "--steps", "200", "--device", "cpu", "--precision", "fp32", "--run", "run"]
COUNT = 100_000
IN_EACH = 10_000
PROCESSES = 3


@dataclass
class Trace:
    """A short training: gradients of its first step, and every metric of every step."""

    batch_statistics: bool
    gradients: dict[str, list[Tensor]] = field(default_factory=dict)
    """Parameter -> its gradient in each update of the first step."""
    metrics: dict[str, list[float]] = field(default_factory=dict)


@double_precision()
def traced(name: str, shard: Shard, nudged: bool = False) -> Trace:
    """The configuration `name` in float64; `nudged`: from weights that differ in their last bit."""
    training, update, batches = set_up(*RUNS[name], shard)
    if nudged:
        nudge(training.system)
    kinds = nn.modules.batchnorm._BatchNorm
    trace = Trace(any(isinstance(module, kinds) for module in training.system.modules()))
    names = {parameter: name for name, parameter in training.system.named_parameters()}

    def keep(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for parameter in (each for group in optimizer.param_groups for each in group["params"]):
            if parameter.grad is not None:
                trace.gradients.setdefault(names[parameter], []).append(parameter.grad.clone())

    hooks = [each.register_step_pre_hook(keep) for each in training.optimizers.values()]
    for step in range(STEPS):
        training.advance(next(batches), update)
        if step == 0:
            for hook in hooks:
                hook.remove()
        for metric, value in training.latest.items():
            trace.metrics.setdefault(metric, []).append(float(value))
    return trace


@torch.no_grad()
def nudge(system: nn.Module) -> None:
    """Multiply every weight by 1 plus or minus the smallest number that float64 can tell from none."""
    generator = torch.Generator().manual_seed(0)
    for parameter in system.parameters():
        signs = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
        parameter.mul_(1 + torch.finfo(parameter.dtype).eps * signs)


def compare_gradients(one: Trace, two: Trace) -> tuple[dict[str, float], dict[str, float]]:
    """Network -> the largest relative difference of a parameter, ||two - one|| / ||one||.

    The second are parameters whose gradient is zero but for rounding, such as biases before batch norm: their
    difference relative to the gradient of the network.
    """
    assert one.gradients.keys() == two.gradients.keys()
    squares: dict[tuple[str, int], float] = {}
    for parameter, gradients in one.gradients.items():
        for index, gradient in enumerate(gradients):
            place = parameter.partition(".")[0], index
            squares[place] = squares.get(place, 0.0) + float(gradient.square().sum())
    networks: dict[str, float] = {}
    zeros: dict[str, float] = {}
    for parameter, gradients in one.gradients.items():
        network = parameter.partition(".")[0]
        for index, (before, after) in enumerate(zip(gradients, two.gradients[parameter], strict=True)):
            whole = squares[network, index] ** 0.5
            difference, norm = float((after - before).norm()), float(before.norm())
            if norm <= ZERO * whole:
                zeros[parameter] = max(zeros.get(parameter, 0.0), difference / whole if whole else difference)
            else:
                networks[network] = max(networks.get(network, 0.0), difference / norm)
    return networks, zeros


def compare_metrics(one: Trace, two: Trace) -> dict[str, float]:
    """Steps -> the largest relative difference of a metric within so many."""
    assert one.metrics.keys() == two.metrics.keys()
    before, after = (torch.tensor(list(each.metrics.values()), dtype=torch.float64) for each in (one, two))
    relative = (after - before).abs() / torch.maximum(before.abs(), after.abs())
    relative[before == after] = 0
    return {str(steps): float(f"{float(relative[:, :steps].max()):.2g}") for steps in SHOWN}


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.2g}") for name, value in values.items()}


def measure_equality(place: Path) -> dict[str, Any]:
    """A row for each configuration."""
    file = place / "traces.pt"
    words = ["--standalone", "--nproc-per-node", "2", __file__, "--traces", str(file)]
    subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], env=ENVIRONMENT, check=True)
    shared = torch.load(file, weights_only=False)
    rows = []
    for name, (system, data, _) in RUNS.items():
        one = traced(name, Shard())
        networks, zeros = compare_gradients(one, shared[name])
        losses = compare_metrics(one, shared[name])
        bar = BAR_OF_BATCH_STATISTICS if one.batch_statistics else BAR
        row = {
            "name": name,
            "system": system,
            "data": data,
            "batch_statistics": one.batch_statistics,
            "bar": bar,
            "gradient_difference": rounded(networks),
            "zero_gradients": rounded(zeros),
            "loss_difference": losses,
            "loss_difference_by_rounding": compare_metrics(one, traced(name, Shard(), nudged=True)),
            "gradients_reached": all(value <= bar for value in (*networks.values(), *zeros.values())),
            "losses_reached": losses[str(STEPS)] <= bar,
        }
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    return {
        "rows": rows,
        "gradients_reached": sum(row["gradients_reached"] for row in rows),
        "losses_reached": sum(row["losses_reached"] for row in rows),
        "of": len(rows),
        "steps": STEPS,
    }


def write_traces(file: Path) -> None:
    """What each of several processes does; process 0 writes."""
    with joined() as shard:
        traces = {name: traced(name, shard) for name in RUNS}
        if shard.rank == 0:
            torch.save(traces, file)


@dataclass
class Drawing:
    """A `ganforge sample` that is watched: its processes, and the folder that it fills."""

    process: subprocess.Popen[str]
    out: Path
    workers: int
    megabytes: list[float] = field(default_factory=list)
    """The largest resident memory of a process while so many folders were complete."""

    def pids(self) -> list[int]:
        """Those that draw: without torchrun the process itself, else its children."""
        if self.workers == 1:
            return [self.process.pid]
        words = ["ps", "-o", "pid=", "--ppid", str(self.process.pid)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return list(map(int, done.stdout.split()))

    def watch(self, until: Callable[[], bool]) -> None:
        """Read the memory until the command ends, or `until`."""
        while self.process.poll() is None and not until():
            complete = len(folders(self.out))
            self.megabytes += [0.0] * (complete + 1 - len(self.megabytes))
            most = max([self.megabytes[complete], *map(resident_megabytes, self.pids())])
            self.megabytes[complete] = most
            time.sleep(0.2)

    def kill(self) -> None:
        """End torchrun and what it has started, all at once and without a word."""
        processes = [self.process.pid, *self.pids()]
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        while any(resident_megabytes(pid) for pid in processes):
            time.sleep(0.05)


def folders(out: Path) -> list[Path]:
    """The complete ones."""
    return [path for path in out.glob("*") if re.fullmatch(r"\d{6}", path.name)]


def half_written(out: Path) -> int:
    """Files in folders that are not complete."""
    return sum(1 for path in out.glob("*.tmp-*/*.png"))


def resident_megabytes(pid: int) -> float:
    """0 of a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0.0
    size = re.search(r"VmRSS:\s+(\d+) kB", status)
    return round(int(size[1]) / 1024, 1) if size else 0.0


def draw(place: Path, workers: int, stop: Callable[[Path], bool]) -> tuple[Drawing, dict[str, Any]]:
    """`ganforge sample` in the folder `place`, to its end or until `stop`, which kills it."""
    out = place / "samples"
    words = ["sample", "../run", "--count", str(COUNT), "--out", "samples", "--seed", "1"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*program(0 if workers == 1 else workers), *words],
        cwd=place,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    drawing = Drawing(process, out, workers)
    drawing.watch(lambda: stop(out))
    killed = process.poll() is None
    if killed:
        drawing.kill()
    assert process.stderr is not None
    errors = process.stderr.read()
    if not killed and process.wait():
        sys.exit(errors)
    return drawing, {
        "killed": killed,
        "seconds": round(time.monotonic() - began, 1),
        "megabytes_by_complete_folders": drawing.megabytes,
    }


def equal_files(ours: Path, theirs: Path) -> dict[str, Any]:
    """How many files of the same name have the same bytes, and how many the same pixels."""
    names = [str(path.relative_to(ours)) for path in sorted(ours.rglob("*.png"))]
    expected = [str(path.relative_to(theirs)) for path in sorted(theirs.rglob("*.png"))]
    indices = [int(Path(name).stem) for name in names]
    same_bytes = same_pixels = 0
    for name in names:
        one, other = (folder / name for folder in (ours, theirs))
        if not other.exists():
            continue
        same = one.read_bytes() == other.read_bytes()
        same_bytes += same
        same_pixels += same or np.array_equal(np.asarray(Image.open(one)), np.asarray(Image.open(other)))
    return {
        "files": len(names),
        "each_index_once": sorted(indices) == list(range(COUNT)),
        "equal_names": names == expected,
        "equal_bytes": same_bytes,
        "equal_pixels": same_pixels,
        "left_half_written": half_written(ours),
    }


def measure_samples(place: Path) -> dict[str, Any]:
    """Three processes that are killed, the same command again, and one process."""
    trained = [*program(0), *TRAIN, *SHORT]
    subprocess.run(trained, cwd=place, env=ENVIRONMENT, check=True, capture_output=True)
    for name in ("one", "three"):
        (place / name).mkdir()
    _, alone = draw(place / "one", 1, lambda out: False)
    print(alone, file=sys.stderr, flush=True)

    def half_way(out: Path) -> bool:
        return len(folders(out)) * IN_EACH + half_written(out) >= COUNT // 2

    drawing, killed = draw(place / "three", PROCESSES, half_way)
    out = drawing.out
    complete = {path: path.stat().st_mtime_ns for path in folders(out)}
    killed |= {"complete_folders": len(complete), "half_written": half_written(out)}
    print(killed, file=sys.stderr, flush=True)
    _, again = draw(place / "three", PROCESSES, lambda out: False)
    again["left_as_they_were"] = sum(path.stat().st_mtime_ns == when for path, when in complete.items())
    return {
        "count": COUNT,
        "processes": PROCESSES,
        "one_process": alone,
        "killed": killed,
        "again": again,
        **equal_files(out, place / "one" / "samples"),
        "load_average": round(os.getloadavg()[0], 1),
        "command": " ".join([*TRAIN, *SHORT]),
    }


PARTS = {"equality": measure_equality, "samples": measure_samples}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--traces", type=Path, help=argparse.SUPPRESS)  # of the processes that it starts
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.traces:
        write_traces(arguments.traces)
        return
    for part in arguments.only:
        with tempfile.TemporaryDirectory() as place:
            record_part(part, PARTS[part](Path(place)), arguments.out)


if __name__ == "__main__":
    main()
