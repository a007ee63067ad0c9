"""Contests: ganforge and a plain loop take turns on the same machine, in the same minutes."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from ganforge.reporting.units import duration, size
from ganforge.runs.device import choose_device
from ganforge.training.bench.child import KINDS, Child, Kind
from ganforge.training.bench.contestants import Case

TURN_SECONDS = 1.0
MOST_STEPS_OF_A_TURN = 200
PEAK_SIDES, PEAK_PRODUCTS = (1024, 2048), 8


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the plain loop: the median of all rounds, the lowest and the highest."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Result:
    """One contest. Rates are medians over the rounds, in images (or samples) per second."""

    system: str
    data: str
    images_per_step: int
    precision: str
    parameters: int
    training: dict[Kind, float]
    training_ratio: Ratio
    share_of_peak: float
    """Of the rate of matrix products that this machine reaches in the chosen precision."""
    reading: dict[Kind, float]
    reading_ratio: Ratio
    sampling: dict[Kind, float] | None
    sampling_ratio: Ratio | None
    peak_memory_bytes: dict[Kind, int]
    start_seconds: dict[Kind, float]

    def as_json(self) -> dict[str, Any]:
        """Numbers with as many digits as their noise leaves."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def contest(case: Case, rounds: int, say: Callable[[str], None]) -> Result:
    """Time `case` and its plain loop in turns, `rounds` times each; `say` is given what is being done.

    Raises UserError for a mistake in `case`, and where a loop fails.
    """
    config = case.plan().config
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        children: dict[Kind, Child] = {}
        for kind in KINDS:
            say(f"starting the {kind} loop")
            children[kind] = stack.enter_context(Child(kind, case, threads))
        ours = children["ganforge"].about
        images = int(ours["images_per_step"])
        seconds = _turns(children, "step", rounds, say)
        reading = _turns(children, "read", rounds, say)
        sampling = _samples(children, rounds, say)
        memory = {kind: child.call("memory") for kind, child in children.items()}
        flops = children["ganforge"].call("flops_per_image")
    say("measuring matrix products")
    peak = matrix_peak(ours["precision"], choose_device(case.train.device))
    return Result(
        system=case.system,
        data=f"{case.data.data} {'x'.join(map(str, config.spec.shape[1:]))}",
        images_per_step=images,
        precision=ours["precision"] + ("+compile" if case.train.compile == "on" else ""),
        parameters=ours["parameters"],
        training={kind: images / median(times) for kind, times in seconds.items()},
        training_ratio=_ratio(seconds),
        share_of_peak=flops * images / median(seconds["ganforge"]) / peak,
        reading={kind: images / median(times) for kind, times in reading.items()},
        reading_ratio=_ratio(reading),
        sampling=None if sampling is None else {kind: 1 / median(each) for kind, each in sampling.items()},
        sampling_ratio=None if sampling is None else _ratio(sampling),
        peak_memory_bytes=memory,
        start_seconds={kind: child.start_seconds for kind, child in children.items()},
    )


_Times = dict[Kind, list[float]]


def _turns(children: dict[Kind, Child], what: str, rounds: int, say: Callable[[str], None]) -> _Times:
    """The mean seconds of one call of `what` in each turn of each contestant; the first turns warm up."""
    counts, times = dict.fromkeys(children, 1), {kind: list[float]() for kind in children}
    for number in range(rounds + 1):
        say(f"{what}: round {number} of {rounds}")
        for kind, child in children.items():
            if not number:
                child.call(what)  # a batch may lie ready since the last turns
            mean = child.call(what, counts[kind]) / counts[kind]
            if number:
                times[kind].append(mean)
            else:
                counts[kind] = min(MOST_STEPS_OF_A_TURN, max(1, math.ceil(TURN_SECONDS / max(mean, 1e-6))))
    return times


def _samples(children: dict[Kind, Child], rounds: int, say: Callable[[str], None]) -> _Times | None:
    """The seconds of one sample in each turn; None where the system draws no images."""
    times: _Times = {kind: [] for kind in children}
    for number in range(rounds + 1):
        say(f"sample: round {number} of {rounds}")
        for kind, child in children.items():
            found = child.call("sample")
            if found is None:
                return None
            if number:
                times[kind].append(found[0] / found[1])
    return times


def _ratio(times: _Times) -> Ratio:
    ratios = [plain / own for plain, own in zip(times["plain"], times["ganforge"], strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def matrix_peak(precision: str, device: torch.device) -> float:
    """The most multiplications and additions per second of square matrix products on `device`."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    for side in PEAK_SIDES:
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        for _ in range(PEAK_PRODUCTS):
            begun = time.perf_counter()
            product = torch.mm(left, right)
            product[0, 0].item()  # waits for a GPU
            best = max(best, 2 * side**3 / (time.perf_counter() - begun))
    return best


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def table_of(results: list[Result]) -> list[list[str]]:
    """The results as rows of text, the first of which are the headings."""
    rows = [
        ["system", "images/s", "plain", "times", "of peak", "sampling", "reading", "memory, plain", "start"]
    ]
    for each in results:
        memory = (size(each.peak_memory_bytes[kind]) for kind in KINDS)
        rows.append(
            [
                f"{each.system}\n{each.data}\nbatch {each.images_per_step}, {each.precision}",
                f"{each.training['ganforge']:,.0f}",
                f"{each.training['plain']:,.0f}",
                _shown(each.training_ratio),
                f"{100 * each.share_of_peak:.0f} %",
                "" if each.sampling_ratio is None else _shown(each.sampling_ratio),
                _shown(each.reading_ratio),
                "\n".join(memory),
                duration(each.start_seconds["ganforge"]),
            ]
        )
    return rows


def _shown(ratio: Ratio) -> str:
    return f"{ratio.median:.3g}\n{ratio.lowest:.3g} to {ratio.highest:.3g}"
