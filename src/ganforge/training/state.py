"""Everything that changes while a run trains, and its exact copy in a checkpoint."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function

from ganforge.data.batch import Batch, as_images
from ganforge.data.dataset import Dataset
from ganforge.data.loader import Loader
from ganforge.distributed import Shard
from ganforge.errors import UserError
from ganforge.nn.whole_batch import Part, sharing
from ganforge.runs.build import build_system
from ganforge.runs.checkpoint import Checkpoint
from ganforge.runs.compatibility import current_tensors
from ganforge.runs.device import (
    autocast,
    check_device,
    choose_device,
    choose_precision,
    compile_networks,
    lay_out,
    random_state,
    set_random_state,
)
from ganforge.runs.ema import Average
from ganforge.runs.folder import RunConfig
from ganforge.system import Prepares, System
from ganforge.systems.families.own_parts import named_parts
from ganforge.training.meter import Meter
from ganforge.training.own_parts import check_own_parts
from ganforge.training.update import OptimizerUpdate
from ganforge.training.warm_start import Start, freeze_stages, start_weights

NUM_PREPARE_IMAGES = 10_000
AVERAGES, METER = "averaged weights", "metrics"
"""Phases of a step, as a profile names them."""


@dataclass
class Training:
    """Everything that changes while a run trains."""

    system: System
    optimizers: dict[str, torch.optim.Optimizer]
    average: Average
    device: torch.device
    precision: str
    meter: Meter = field(default_factory=Meter)
    step: int = 0
    best: dict[str, Any] | None = None  # the metric of --keep-best and its best value so far
    started_from: str = ""  # what the warm start took, in words
    latest: dict[str, Tensor] = field(default_factory=dict)
    """What the newest step returned: name -> 0-dim tensor."""
    on_step: "OnStep | None" = None
    shard: Shard = field(default_factory=Shard)
    """Which process this is, of those that share every batch."""
    synchronised: bool = True
    """Whether batch norm sees the whole batch, or the part of each process."""

    @property
    def part(self) -> Part | None:
        """The rows of a batch that this process computes; None where it is alone."""
        ranks = self.shard.ranks
        return None if ranks == 1 else Part(self.shard.rank, ranks, self.system.config.batch // ranks)

    @property
    def images(self) -> int:
        """Real images consumed so far."""
        return self.step * self.system.images_per_step()

    def advance(self, batch: Batch, update: OptimizerUpdate) -> None:
        """One step: rates, the system's own step, its averages. `batch` is where the system is."""
        self.system.schedule(self.optimizers, self.images)
        skipped = update.skipped.total()
        with autocast(self.device, self.precision):
            if self.part is None:
                values = self.system.train_step(batch, update)
            else:
                values = self._share_step(self.part, batch, update)
        self.step += 1
        if update.skipped.total() == skipped:  # the losses of a skipped update would spoil the means
            with record_function(METER):
                self.meter.add(values, self.step)
        with record_function(AVERAGES):
            self.average.update(self.system.images_per_step(), self.images)
        self.latest = values
        if self.on_step is not None:
            devices = [self.device] if self.device.type == "cuda" else []
            with torch.random.fork_rng(devices):  # the training's own are not touched
                self.on_step(self)

    def _share_step(self, part: Part, batch: Batch, update: OptimizerUpdate) -> dict[str, Tensor]:
        """The system's step, with the rows of `batch`; what it returns are means over all processes."""
        with self.shard.naming_lost():
            with sharing(part, synchronised=self.synchronised):
                found = self.system.train_step(batch, update)
            values = {
                name: value.detach().clone() if value.is_floating_point() else value.float()
                for name, value in found.items()
            }
            running = [] if self.synchronised else _running_statistics(self.system)
            self.shard.mean([*values.values(), *running])
        return values

    @contextmanager
    def sampled(self) -> Iterator[System]:
        """Within this context the system that is sampled: its averaged weights, in evaluation mode.

        Raises UserError where it was sampled with torch's own random numbers: those of the training would
        depend on how often it is looked at.
        """
        before, was_training = _random_states(self.device), self.system.training
        system = self.average.averaged(self.system)
        system.eval()
        try:
            yield system
        finally:
            self.system.train(was_training)
        after = _random_states(self.device)
        if not all(torch.equal(state, after[name]) for name, state in before.items()):
            raise UserError(
                f"{type(self.system).__name__} was sampled with torch's own random numbers: pass `generator` "
                "on to whatever draws, such as torch.randn(..., generator=generator)"
            )


OnStep = Callable[[Training], object]


def build_training(
    config: RunConfig, dataset: Dataset, start: Start | None = None, checkpoint: Checkpoint | None = None
) -> Training:
    """A training at step 0; raises UserError where `checkpoint`, which it resumes, has other sizes."""
    device = choose_device(config.train.device)
    check_device(device, config.train.precision, config.train)
    system = build_system(config, config.system, checkpoint)  # make_plan has its name from the command
    train_images = dataset.streamed
    order = torch.randperm(len(train_images), generator=torch.Generator().manual_seed(config.train.seed))
    if isinstance(system, Prepares):
        system.prepare(as_images(train_images.read(order[: _num_prepare_images(config)])))
    started_from = "" if start is None else start_weights(system, start, config)
    if config.train.freeze_discriminator:
        freeze_stages(system, config.train.freeze_discriminator)
    system.to(device)
    lay_out(system)
    if named_parts(system.config):
        first = build_loader(config, dataset, system.images_per_step()).batch_at(0)
        check_own_parts(system, first.to(device))
    average = Average(system)
    compile_networks(system, config.train, device)
    precision = choose_precision(config.train.precision, device)
    training = Training(system, system.build_optimizers(), average, device, precision)
    training.started_from = started_from
    training.synchronised = config.train.batch_norm == "synchronised"
    return training


def build_loader(
    config: RunConfig, dataset: Dataset, images_per_step: int, part: Part | None = None
) -> Loader:
    """The training images in the order of the run's seed, a step at a time: all, or the rows of `part`."""
    return Loader(
        dataset.streamed,
        images_per_step,
        config.train.seed,
        flip=config.data.flip,
        dequantise=config.data.dequantise,
        binarise=config.data.binarise == "dynamic",
        values=config.spec.values,
        jitter=config.data.jitter,
        balance_classes=config.data.balance_classes,
        rows=None if part is None else part.rows_of(images_per_step),
    )


def _num_prepare_images(config: RunConfig) -> int:
    """As many images as a statistic of the data needs, but no more than 100 MB of floats."""
    return max(1, min(NUM_PREPARE_IMAGES, 25_000_000 // math.prod(config.spec.shape)))


def _running_statistics(system: System) -> list[Tensor]:
    """Running means and variances of all batch norms."""
    return [
        buffer
        for name, buffer in system.named_buffers()
        if name.rpartition(".")[2] in ("running_mean", "running_var")
    ]


def _random_states(device: torch.device) -> dict[str, Tensor]:
    """Torch's own random states that a training on `device` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = random_state(device)
    return states


_Packed = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]


def pack_state(training: "Training") -> _Packed:
    """Networks, averages, optimizers, random states (tensors by file) and step, rates, meter (JSON)."""
    optimizers, groups = {}, {}
    for name, optimizer in training.optimizers.items():
        packed = optimizer.state_dict()
        groups[name] = packed["param_groups"]
        for index, values in packed["state"].items():
            for key, value in values.items():
                if value is not None:  # momentum buffers before the first step
                    optimizers[f"{name}.{index}.{key}"] = torch.as_tensor(value)
    tensors = {
        "system": dict(training.system.state_dict()),
        "average": training.average.state(),
        "optimizers": optimizers,
        "random": _random_states(training.device),
    }
    state = {
        "step": training.step,
        "images": training.images,
        "param_groups": groups,
        "meter": training.meter.state(),
    }
    if training.best is not None:
        state["best"] = training.best
    return tensors, state


def load_state(training: "Training", checkpoint: Checkpoint) -> None:
    """Put `training` where `checkpoint` was taken; raises UserError where they do not fit."""
    tensors, state = checkpoint.tensors, checkpoint.state
    try:
        own = training.system.state_dict()
        training.system.load_state_dict(current_tensors(tensors["system"], own))
        training.average.load(current_tensors(tensors["average"], own))
        for name, optimizer in training.optimizers.items():
            _load_optimizer(optimizer, name, tensors["optimizers"], state["param_groups"][name])
        training.meter.load(state["meter"], training.device)
        training.step, training.best = int(state["step"]), state.get("best")
        torch.set_rng_state(tensors["random"]["cpu"])
        if training.device.type in tensors["random"]:  # a run may be resumed on another device
            set_random_state(training.device, tensors["random"][training.device.type])
    except (KeyError, RuntimeError, ValueError, TypeError, IndexError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"checkpoint {checkpoint.path} is not of this version's networks: {first}") from error


def _load_optimizer(
    optimizer: torch.optim.Optimizer, name: str, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        owner, _, rest = full.partition(".")
        if owner == name:
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = tensor
    _check_groups(name, optimizer.state_dict()["param_groups"], groups)
    _check_moments(name, optimizer, state)
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # Fused kernels pair numbers by place in memory: moments must lie as their weights do (channels-last).
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _check_groups(name: str, own: list[dict[str, Any]], stored: list[dict[str, Any]]) -> None:
    """Raise ValueError where the settings of an optimizer could not be its own at another time.

    Rates and momenta follow schedules; what they are, and all switches but those of the fastest kernel, is
    as the system made them.
    """
    if len(own) != len(stored):
        raise ValueError(f"{len(stored)} groups of parameters in the optimizer {name}, expected {len(own)}")
    for mine, theirs in zip(own, stored, strict=True):
        for key, value in theirs.items():
            expected = mine.get(key, 0.0)  # only numbers are added, such as the first rate
            if key in ("fused", "foreach"):
                good = value is None or isinstance(value, bool)
            elif isinstance(expected, bool) or expected is None or key == "params":
                good = value == expected and type(value) is type(expected)
            elif isinstance(expected, tuple | list):
                good = isinstance(value, list) and len(value) == len(expected) and all(map(_is_number, value))
            else:
                good = _is_number(value)
            if not good:
                raise ValueError(f"{key} of the optimizer {name} is {str(value)[:40]}")
        if missing := mine.keys() - theirs.keys() - _NEWER_SETTINGS:
            raise ValueError(f"no {min(missing)} in the optimizer {name}")


_NEWER_SETTINGS = {"decoupled_weight_decay", "fused", "foreach", "capturable", "differentiable", "maximize"}
"""Settings that earlier versions of torch do not write; their defaults are ours."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_moments(name: str, optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Tensor]]) -> None:
    """Raise ValueError where what an optimizer remembers is not of its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    expected = _MOMENTS.get(type(optimizer))
    for index, values in state.items():
        if not 0 <= index < len(parameters):
            raise ValueError(f"{index} is no parameter of the optimizer {name}")
        if expected is not None and values.keys() != expected:
            raise ValueError(f"the optimizer {name} remembers {', '.join(sorted(values))[:80]}")
        for key, tensor in values.items():
            if tensor.shape not in ((), parameters[index].shape) or not tensor.is_floating_point():
                raise ValueError(f"{key} of parameter {index} of the optimizer {name} has another shape")


_MOMENTS: dict[type, set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.RMSprop: {"step", "square_avg"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What torch's optimizers, as systems make them, remember of a parameter."""
