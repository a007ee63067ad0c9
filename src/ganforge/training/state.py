"""Everything that changes while a run trains, and its exact copy in a checkpoint."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images
from ganforge.data.dataset import Dataset
from ganforge.errors import UserError
from ganforge.runs.build import build_system
from ganforge.runs.checkpoint import Checkpoint
from ganforge.runs.compatibility import current_tensors
from ganforge.runs.device import autocast, choose_device, choose_precision, compile_networks, lay_out
from ganforge.runs.ema import Average
from ganforge.runs.folder import RunConfig
from ganforge.system import Prepares, System
from ganforge.training.meter import Meter
from ganforge.training.update import OptimizerUpdate
from ganforge.training.warm_start import Start, start_weights

NUM_PREPARE_IMAGES = 10_000


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

    @property
    def images(self) -> int:
        """Real images consumed so far."""
        return self.step * self.system.images_per_step()

    def advance(self, batch: Batch, update: OptimizerUpdate) -> None:
        """One step: rates, the system's own step, its averages. `batch` is where the system is."""
        self.system.schedule(self.optimizers, self.images)
        skipped = update.skipped.total()
        with autocast(self.device, self.precision):
            values = self.system.train_step(batch, update)
        self.step += 1
        if update.skipped.total() == skipped:  # the losses of a skipped update would spoil the means
            self.meter.add(values, self.step)
        self.average.update(self.system.images_per_step(), self.images)


def build_training(config: RunConfig, dataset: Dataset, start: Start | None = None) -> Training:
    """A training at step 0."""
    device = choose_device(config.train.device)
    system = build_system(config, typed=config.system)  # make_plan has it from the command
    train_images = dataset.streamed
    order = torch.randperm(len(train_images), generator=torch.Generator().manual_seed(config.train.seed))
    if isinstance(system, Prepares):
        system.prepare(as_images(train_images.read(order[: _num_prepare_images(config)])))
    if start is not None:
        start_weights(system, start)
    system.to(device)
    lay_out(system)
    average = Average(system)
    compile_networks(system, config.train, device)
    precision = choose_precision(config.train.precision, device)
    return Training(system, system.build_optimizers(), average, device, precision)


def _num_prepare_images(config: RunConfig) -> int:
    """As many images as a statistic of the data needs, but no more than 100 MB of floats."""
    return max(1, min(NUM_PREPARE_IMAGES, 25_000_000 // math.prod(config.spec.shape)))


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
    random = {"cpu": torch.get_rng_state()}
    if training.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(training.device)
    tensors = {
        "system": dict(training.system.state_dict()),
        "average": training.average.state(),
        "optimizers": optimizers,
        "random": random,
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
    except (KeyError, RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"checkpoint {checkpoint.path} is not of this version's networks: {first}") from error
    torch.set_rng_state(tensors["random"]["cpu"])
    if training.device.type == "cuda" and "cuda" in tensors["random"]:
        torch.cuda.set_rng_state(tensors["random"]["cuda"], training.device)


def _load_optimizer(
    optimizer: torch.optim.Optimizer, name: str, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        owner, _, rest = full.partition(".")
        if owner == name:
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # Fused kernels pair numbers by place in memory: moments must lie as their weights do (channels-last).
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
