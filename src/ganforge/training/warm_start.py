"""Warm start: the weights that a run takes from another, and whether they fit."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ganforge.errors import UserError
from ganforge.runs.checkpoint import load_newest
from ganforge.runs.folder import Run
from ganforge.system import System
from ganforge.systems.discovery import find


@dataclass(frozen=True)
class Start:
    """The weights that a run starts from, under the names of its own networks.

    `networks`, own child -> its source in words, are taken whole; of the other tensors those whose name and
    shape are of this run.
    """

    weights: dict[str, Tensor]
    networks: dict[str, str]


def start_weights(system: System, start: Start) -> None:
    """Copy the weights of `start` into `system`; raises UserError where they do not fit."""
    own = system.state_dict()
    for name, source in start.networks.items():
        for key in sorted(key for key in own if key.startswith(f"{name}.")):
            there = start.weights.get(key)
            if there is None or there.shape != own[key].shape:
                has = "is not there" if there is None else f"has the shape {list(there.shape)} there"
                raise UserError(
                    f"--from: the {source} does not fit: {key} {has} and {list(own[key].shape)} here: use "
                    "its options and its kind of data"
                )
    fitting = {name: t for name, t in start.weights.items() if name in own and own[name].shape == t.shape}
    if not fitting:
        raise UserError("--from: no network of that run has the names and shapes of this one")
    system.load_state_dict(own | fitting)


def open_parent(path: str) -> Run:
    """The run that `--from` names."""
    try:
        return Run.open(Path(path))
    except UserError as error:
        raise UserError(f"--from {path}: {error}") from error


def load_start(system: str, parent: Run, start_from: str) -> Start:
    """The weights of `parent`, the run that `--from` names, for one of `system`; averaged where it has some.

    Raises UserError where it has no checkpoint.
    """
    checkpoint = load_newest(parent.checkpoints)
    if checkpoint is None:
        raise UserError(f"--from {start_from}: that run has no checkpoint yet")
    weights = checkpoint.tensors["system"] | checkpoint.tensors["average"]
    inheritance = find(system).inherits.get(parent.config.system)
    if inheritance is None:
        return Start(weights, {})
    renamed = {
        own + key.removeprefix(other): tensor
        for own, other in inheritance.networks.items()
        for key, tensor in weights.items()
        if key.startswith(f"{other}.")
    }
    averaged = {name.partition(".")[0] for name in checkpoint.tensors["average"]}
    step = checkpoint.state["step"]
    networks = {
        own: f"{'averaged ' if other in averaged else ''}{other} of {start_from} at step {step}"
        for own, other in inheritance.networks.items()
    }
    return Start(weights | renamed, networks)
