"""What a run costs, measured on a few of its steps, before it starts or as it starts; nothing is written."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganforge.data.dataset import Dataset
from ganforge.reporting.units import duration
from ganforge.runs.device import choose_device, explained_compiler, peak_memory_bytes, synchronise
from ganforge.runs.folder import RunConfig
from ganforge.system import networks
from ganforge.systems.discovery import find
from ganforge.training.state import Training, build_loader, build_training
from ganforge.training.update import OptimizerUpdate
from ganforge.training.warm_start import Start

_WARM_UP_STEPS, _TIMED_STEPS = 2, 5
_LONG = 30.0  # seconds, after which one timed step must do
_FIRST_STEPS, _FIRST_SECONDS = 3, 2.0
_SMALLEST_WIDTH, _USUAL_WIDTH = 8, 256
_WORTH_SAYING = 1.5


@dataclass(frozen=True)
class Estimate:
    """What was measured.

    `flops_per_image` counts multiplications and additions of matrix products and convolutions in one training
    step, divided by its images; `peak_memory_bytes` is this process's after the timed steps.
    """

    parameters: dict[str, int]
    flops_per_image: float
    seconds_per_step: float
    images_per_second: float
    peak_memory_bytes: int
    device: str
    precision: str
    started_from: str


class FlopCounter(TorchDispatchMode):
    """Adds up the operations of matrix products and convolutions.

    torch's `FlopCounterMode` also says in which module they happen, by hooks that gradients of gradients
    refuse.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func` and count it."""
        out = func(*args, **(kwargs or {}))
        self.flops += flops_of(func, args, kwargs or {}, out)
        return out


def flops_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Multiplications and additions of the call `func` of torch, which gave `out`; 0 but for products.

    As torch counts them, which in a convolution of groups counts gradients of weights as if it had one.
    """
    packet = func.overloadpacket
    if packet is torch.ops.aten.convolution:
        return _convolution_flops(args[0], args[1], out, args[6])
    if packet is torch.ops.aten.convolution_backward:
        return sum(args[10][:2]) * _convolution_flops(args[1], args[2], args[0], args[7])
    count = flop_registry.get(packet)
    return 0 if count is None else count(*args, **kwargs, out_val=out)


def _convolution_flops(images: Tensor, weight: Tensor, out: Tensor, transposed: bool) -> int:
    positions = images if transposed else out
    return 2 * positions.numel() * weight.shape[1:].numel()


def estimate(
    config: RunConfig,
    dataset: Dataset,
    start: Start | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Estimate:
    """Time a few steps of a throw-away training of `config`; `say` is given what is being measured.

    Raises UserError where `start` does not fit.
    """
    say("building the networks")
    training = build_training(config, dataset, start)
    system, device = training.system, training.device
    counter, seconds = FlopCounter(), list[float]()
    begun = time.monotonic()
    for index, step_seconds in enumerate(_steps(training, config, dataset, counter)):
        seconds.append(step_seconds)
        say(f"step {index + 1} of {_WARM_UP_STEPS + _TIMED_STEPS} took {duration(step_seconds)}")
        enough = _WARM_UP_STEPS + _TIMED_STEPS if time.monotonic() - begun < _LONG else _WARM_UP_STEPS + 1
        if len(seconds) >= enough:
            break
    per_step = median(seconds[_WARM_UP_STEPS:])
    size = system.images_per_step()
    return Estimate(
        parameters={name: sum(p.numel() for p in net.parameters()) for name, net in networks(system).items()},
        flops_per_image=counter.flops / size,
        seconds_per_step=per_step,
        images_per_second=size / per_step,
        peak_memory_bytes=peak_memory_bytes(device),
        device=device.type,
        precision=training.precision,
        started_from=training.started_from,
    )


def _steps(
    training: Training, config: RunConfig, dataset: Dataset, first: AbstractContextManager[Any]
) -> Iterator[float]:
    """The seconds of each step of `training`, which does not end; the first is within `first`."""
    update, device = OptimizerUpdate(training.optimizers, training.device.type), training.device
    training.system.train()
    batches = build_loader(config, dataset, training.system.images_per_step()).iterate(0)
    around = first
    while True:
        begun = time.monotonic()
        with explained_compiler(config.train), around:
            training.advance(next(batches).to(device), update)
        synchronise(device)
        around = nullcontext()
        yield time.monotonic() - begun


def try_steps(config: RunConfig, dataset: Dataset, count: int = 3) -> float:
    """The shortest of `count` steps of a throw-away training, in seconds.

    The random state stays as it was.
    """
    device = choose_device(config.train.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        training = build_training(config, dataset)
        return min(islice(_steps(training, config, dataset, nullcontext()), count))


class Pace(NamedTuple):
    """How fast a training is."""

    seconds_per_step: float
    images_per_step: int


def pace(config: RunConfig, dataset: Dataset, seconds: float) -> Pace:
    """The median step of a throw-away training that runs for about `seconds`, and its images.

    The random state stays as it was.
    """
    device = choose_device(config.train.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        training = build_training(config, dataset)
        times, begun = list[float](), time.monotonic()
        for step_seconds in _steps(training, config, dataset, nullcontext()):
            times.append(step_seconds)
            if len(times) > _WARM_UP_STEPS and time.monotonic() - begun >= seconds:
                break
    return Pace(median(times[_WARM_UP_STEPS:]), training.system.images_per_step())


def faster_option(config: RunConfig, dataset: Dataset) -> str:
    """The option that makes this training's steps shorter, and by how much; empty where none does.

    It continues a message that says how long the training takes. A quarter of the system's `--width` is timed
    next to the width itself, in steps of trainings that are thrown away: on a busy machine a step timed
    earlier, or otherwise, would compare the load of two moments.
    """
    if "width" not in config.config:
        return ""
    width = max(_SMALLEST_WIDTH, (config.config["width"] or _USUAL_WIDTH) // 4)
    try:
        kind = find(config.system)
        smaller = kind.Config.model_validate({**config.config, "width": width}).model_dump(mode="json")
        ratio = try_steps(config, dataset) / try_steps(config.model_copy(update={"config": smaller}), dataset)
    except (ValueError, RuntimeError):  # networks reject this width, or it finds no memory
        return ""
    if ratio < _WORTH_SAYING:
        return ""
    return f"; --width {width} is about {ratio:.0f} times faster, with smaller networks"


class FirstSteps:
    """Times the first steps of a training, once."""

    def __init__(self, step: int) -> None:
        self._from = step + 1  # the first is slower than all others
        self._begun: float | None = None
        self._over = False

    def pace(self, training: Training, now: float) -> float | None:
        """Seconds per step, as soon as enough steps are timed and only then; `now` leaves out pauses."""
        num_steps = training.step - self._from
        if self._over or num_steps < 0:
            return None
        if self._begun is None:
            self._begun = now
            return None
        if num_steps < _FIRST_STEPS or now - self._begun < _FIRST_SECONDS:
            return None
        self._over = True
        return (now - self._begun) / num_steps
