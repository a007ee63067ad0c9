"""What a run would cost, measured on a few real steps before it starts; nothing is written."""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganforge.data.dataset import Dataset
from ganforge.runs.device import explained_compiler, peak_memory_bytes
from ganforge.runs.folder import RunConfig
from ganforge.system import networks
from ganforge.training.loop import build_loader
from ganforge.training.state import build_training
from ganforge.training.update import OptimizerUpdate

_WARM_UP_STEPS, _TIMED_STEPS = 2, 5


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


class _FlopCounter(TorchDispatchMode):
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
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


def estimate(config: RunConfig, dataset: Dataset) -> Estimate:
    """Time a few steps of a throw-away training of `config`."""
    training = build_training(config, dataset)
    system, device = training.system, training.device
    size = system.images_per_step()
    update = OptimizerUpdate(training.optimizers, device.type)
    system.train()
    seconds = []
    batches = build_loader(config, dataset, size).iterate(0)
    counter = _FlopCounter()
    for index in range(_WARM_UP_STEPS + _TIMED_STEPS):
        begun = time.monotonic()
        batch = next(batches).to(device)
        with explained_compiler(config.train), counter if index == 0 else nullcontext():
            training.advance(batch, update)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.monotonic() - begun)
    median = sorted(seconds[_WARM_UP_STEPS:])[_TIMED_STEPS // 2]
    return Estimate(
        parameters={name: sum(p.numel() for p in net.parameters()) for name, net in networks(system).items()},
        flops_per_image=counter.flops / size,
        seconds_per_step=median,
        images_per_second=size / median,
        peak_memory_bytes=peak_memory_bytes(device),
        device=device.type,
        precision=training.precision,
    )
