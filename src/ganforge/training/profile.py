"""Where the time of a training goes: some steps of a throw-away training under torch's profiler."""

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from ganforge.data.dataset import Dataset
from ganforge.nn.losses import PENALTY
from ganforge.reporting.units import duration
from ganforge.runs.device import choose_device, synchronise
from ganforge.runs.folder import RunConfig
from ganforge.training.state import AVERAGES, METER, build_loader, build_training
from ganforge.training.update import OptimizerUpdate
from ganforge.training.warm_start import Start

WARM_UP_STEPS, STEPS = 3, 10
_SHOWN = 12
DATA, OTHER = "waiting for data", "Python, and the profiler itself"
FORWARD = "forward, losses"
LABELS = (PENALTY, AVERAGES, METER)
"""Phases that the code of a step names itself."""
_GROUPS = (
    ("convolutions, backward", ("convolution_backward",)),
    ("convolutions, forward", ("convolution", "conv2d", "conv_transpose", "cudnn")),
    ("matrix products", ("mm", "addmm", "bmm", "linear", "einsum", "matmul")),
    ("normalisation", ("batch_norm", "layer_norm", "group_norm", "instance_norm", "var_mean")),
    ("optimizer, averages, norms of gradients", ("_foreach", "_fused", "lerp", "linalg_vector_norm")),
    (
        "random numbers",
        ("normal_", "uniform_", "bernoulli", "randn", "rand", "randint", "random_", "randperm"),
    ),
    ("copies and casts", ("copy_", "clone", "cat", "contiguous", "_to_copy", "fill_", "zero_", "index")),
)


@dataclass(frozen=True)
class Profile:
    """`seconds` and `images` of a step, and the seconds of it that each phase, group and operation takes."""

    seconds: float
    images: int
    phases: dict[str, float]
    groups: dict[str, float]
    operations: dict[str, float]
    precision: str

    def lines(self) -> list[str]:
        """The summary: phases, groups, then the operations that take the most."""
        first = (
            f"{STEPS} steps of {self.images:,} images under the profiler, {duration(self.seconds)} per step, "
            f"{self.precision}"
        )
        parts = [first]
        for title, times in (("phase", self.phases), ("part", self.groups), ("operation", self.operations)):
            parts += ["", f"{title:<42}{'ms a step':>10}{'%':>7}"]
            for name, spent in sorted(times.items(), key=lambda each: -each[1])[:_SHOWN]:
                share = 100 * spent / self.seconds
                parts.append(f"{name[:40]:<42}{1000 * spent:>10.2f}{share:>7.1f}")
        return parts


def profile_steps(config: RunConfig, dataset: Dataset, folder: Path, start: Start | None = None) -> Profile:
    """Profile ten steps of `config` after three others; `trace.json` in `folder` opens in a trace viewer.

    On a GPU the times are those of its kernels. Raises UserError where `start` does not fit, OSError where
    the trace cannot be written.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler says when it starts, on stderr
    device = choose_device(config.train.device)
    training = build_training(config, dataset, start)
    update = OptimizerUpdate(training.optimizers, device.type)
    training.system.train()
    batches = build_loader(config, dataset, training.system.images_per_step()).iterate(0)
    for _ in range(WARM_UP_STEPS):
        training.advance(next(batches).to(device), update)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    waited = 0.0
    synchronise(device)
    with torch.profiler.profile(activities=activities) as profiler:
        begun = time.perf_counter()
        for _ in range(STEPS):
            since = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - since
            training.advance(batch.to(device), update)
        synchronise(device)
        seconds = (time.perf_counter() - begun) / STEPS
    profiler.export_chrome_trace(str(folder / "trace.json"))
    phases, groups, operations = (defaultdict[str, float](float) for _ in range(3))
    phases[DATA] = groups[DATA] = waited / STEPS
    for event in profiler.events() or ():
        spent = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6 / STEPS
        if not spent or event.device_type.name != "CPU":  # kernels are in the time of their operations
            continue
        operations[event.name] += spent
        groups[group_of(event.name)] += spent
        phases[phase_of(event)] += spent
    for parts in (phases, groups):
        parts[OTHER] = max(0.0, seconds - sum(parts.values()))
    return Profile(seconds, training.system.images_per_step(), phases, groups, operations, training.precision)


def phase_of(event: Any) -> str:
    """The phase of a step in which `event` of the profiler happened: the outermost that has a name."""
    found = FORWARD
    while event is not None:
        if event.name in LABELS:
            found = event.name
        elif event.name.startswith("Optimizer."):
            found = "optimizer"
        elif event.name.startswith("autograd::engine"):
            found = "backward"
        event = event.cpu_parent
    return found


def group_of(operation: str) -> str:
    """The part of a step that an operation of torch belongs to, by its name."""
    if operation.startswith("Optimizer."):
        return "optimizer, averages, norms of gradients"
    plain = operation.rpartition("::")[2]
    for group, names in _GROUPS:
        if any(name in plain if len(name) > 4 else plain == name for name in names):
            return group
    return "element by element, and others"
