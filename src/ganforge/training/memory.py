"""Training that this machine cannot hold, or that ran out of memory: what fits instead."""

import gc
import resource
import sys
from bisect import bisect_left
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.data.dataset import Dataset
from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.reporting.units import size
from ganforge.runs.build import TooLarge, is_overflow, on_meta
from ganforge.runs.device import choose_device
from ganforge.runs.folder import RunConfig
from ganforge.systems.discovery import find
from ganforge.training.cost import try_steps

# torch has an error of its own for GPUs only.
_SHORTAGES = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_shortage(error: BaseException) -> bool:
    """Whether `error` says that there is no memory, of the CPU or of the GPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _SHORTAGES)
    )


def shortage(config: RunConfig, dataset: Dataset, kept: str = "") -> UserError:
    """The error for a training of `config` that ran out of memory: names the batch that fits, by trying.

    `kept` is the folder of a run that has steps done, whose batch cannot change any more.
    """
    batch, fitting = int(config.config["batch"]), _fitting_batch(config, dataset)
    if fitting is None:
        advice = "no --batch fits either: train smaller networks (--width) or images (--size)"
    elif fitting == batch:
        advice = (
            "its steps alone fit: end other programs that use this memory, or give fewer --evaluate-samples"
        )
    elif kept:
        advice = f"--batch {fitting} fits, tried just now: a new --run with it and --from {kept}"
    else:
        advice = f"--batch {fitting} fits, tried just now"
    return UserError(f"out of memory at --batch {batch}: {advice}")


def _fitting_batch(config: RunConfig, dataset: Dataset) -> int | None:
    """The first batch that fits of this one, its half, its quarter ...; None where none does."""
    batch = int(config.config["batch"])
    while batch:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            fields = find(config.system).Config.model_validate({**config.config, "batch": batch})
        except ValueError:  # below the least that this system takes
            return None
        try:
            try_steps(config.model_copy(update={"config": fields.model_dump(mode="json")}), dataset)
            return batch
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
        batch //= 2
    return None


def check_fits(config: RunConfig) -> None:
    """Raise UserError, with the option that would fit, where a step needs more memory than there is.

    What it needs is counted without memory, and never too much of it: weights, gradients, averages, and what
    the losses keep for their gradients. A training that needs somewhat more may still run out.
    """
    free = free_bytes(choose_device(config.train.device))
    if ":" in config.system or free is None:
        return
    needed = _least_bytes(config)
    if needed is None or needed <= free:
        return
    there = f"this machine has {size(int(free))} free"
    wanted = (
        f"a step needs more than {size(int(needed))} of memory"
        if needed < _NO_END
        else "no memory holds a step"
    )
    raise UserError(f"{wanted}, {there}: {_smaller(config, free)}")


_NO_END = float("inf")
_TIMES_LEAST = 3
"""Times as much as the least surely holds a step: moments of Adam, and gradients of what is kept."""


def free_bytes(device: torch.device) -> float | None:
    """The memory that a process can still have on `device`; None where it is unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if not sys.platform.startswith("linux"):
        return None
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    table = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    limits = [float(table["MemAvailable"] + table.get("SwapFree", 0))]
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limits.append(most - pages * resource.getpagesize())
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        used = int((group / "memory.current").read_text(encoding="utf-8"))
        limits.append(_NO_END if limit == "max" else int(limit) - used)
    except (OSError, ValueError):  # no control groups of the second kind
        pass
    return max(0.0, min(limits))


def _least_bytes(config: RunConfig) -> float | None:
    """Bytes that a step of `config` cannot do without; None where that is unknown."""
    kind, spec = find(config.system), config.spec
    try:
        system = on_meta(kind, kind.Config.model_validate(config.config), spec)
        weights = sum(parameter.nbytes for parameter in system.parameters())
        averaged = sum(p.nbytes for name in system.averaged for p in system.get_submodule(name).parameters())
        batch = _batch_on_meta(spec, system.images_per_step())
    except TooLarge:
        return _NO_END
    except (UserError, RuntimeError, TypeError, OverflowError, ValueError) as error:
        return _NO_END if is_overflow(error) else None
    least = 2 * weights + averaged * (system.config.ema_half_life > 0)
    update = _Kept()
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), update:
            system.train()
            system.train_step(batch, update)
    except Exception as error:  # some penalties cannot be counted so: what they keep is left out
        if is_overflow(error):
            return _NO_END
    return least + max(batch.images.nbytes, update.most)


class _Kept(torch.autograd.graph.saved_tensors_hooks):
    """Within this context the bytes that losses keep for their gradients; it is the `update` of a step.

    Each update frees them, and updates nothing.
    """

    def __init__(self) -> None:
        super().__init__(self._keep, lambda tensor: tensor)
        self.most = 0
        self._sizes: dict[int, int] = {}

    def _keep(self, tensor: Tensor) -> Tensor:
        if not tensor.is_leaf:  # weights and data are counted elsewhere, or not at all
            storage = tensor.untyped_storage()
            self._sizes[storage._cdata] = storage.nbytes()
            self.most = max(self.most, sum(self._sizes.values()))
        return tensor

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        self._sizes.clear()
        return None if watch is None else torch.zeros_like(watch)


def _batch_on_meta(spec: DataSpec, count: int) -> Batch:
    def integers(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.long, device="meta")

    return Batch(
        torch.zeros(count, *spec.shape, device="meta"),
        integers(count) if spec.class_names else None,
        integers(count, spec.caption_length) if spec.caption_length else None,
        None if spec.source_shape is None else torch.zeros(count, *spec.source_shape, device="meta"),
        torch.zeros(count, spec.embedding_size, device="meta") if spec.embedding_size else None,
    )


def _smaller(config: RunConfig, free: float) -> str:
    """The option that would fit, with the largest value that does, of its halves, quarters ..."""
    defaults = {name: field.default for name, field in find(config.system).Config.model_fields.items()}
    numbers = {
        name: value
        for name, value in config.config.items()
        if type(value) is int and value > 1 and name != "steps"
    }

    def excess(name: str) -> float:
        usual = defaults.get(name)
        return numbers[name] / usual if type(usual) is int and usual > 0 else float(name == "batch")

    for name in sorted(numbers, key=excess, reverse=True):
        value, most = numbers[name], numbers[name].bit_length()

        def fits(halvings: int, name: str = name, value: int = value) -> bool:
            needed = _changed_bytes(config, name, value >> halvings)
            return needed is not None and _TIMES_LEAST * needed <= free

        usual = defaults.get(name)
        least = min(usual, value) if type(usual) is int else 2
        if (needed := _changed_bytes(config, name, least)) is None or _TIMES_LEAST * needed > free:
            continue
        halvings = bisect_left(range(1, most), True, key=fits) + 1
        if halvings < most and fits(halvings):
            return f"--{name.replace('_', '-')} {value >> halvings} fits"
    return "train smaller networks (--width), batches (--batch) or images (--size)"


def _changed_bytes(config: RunConfig, name: str, value: int) -> float | None:
    fields: dict[str, Any] = {**config.config, name: value}
    try:
        find(config.system).Config.model_validate(fields)
    except ValueError:
        return None
    return _least_bytes(config.model_copy(update={"config": fields}))
