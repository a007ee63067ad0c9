"""All that a training must remember to go on exactly, as tensors and JSON."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.runs.checkpoint import Checkpoint

if TYPE_CHECKING:
    from ganforge.engine.train import Training

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
        training.system.load_state_dict(tensors["system"])
        training.average.load(tensors["average"])
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
