"""Warm start: the weights that a run takes from another, how many they are, and which stages stay fixed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.runs.checkpoint import load_newest, load_shared
from ganforge.runs.compatibility import current_tensors
from ganforge.runs.folder import SHARED, Run, RunConfig
from ganforge.system import System, networks
from ganforge.systems.discovery import find
from ganforge.training.transfer import (
    Blueprint,
    Fit,
    blueprint,
    fit,
    module_of,
    stages,
    suited_fields,
    take,
)

ENOUGH = 0.5
"""The share of each network's weights that must fit, without --partial."""
POWER_ITERATIONS = 15
SHOWN = 6


@dataclass(frozen=True)
class Start:
    """The weights that a run starts from, under the names of its own networks.

    `networks`, own child -> its source in words, are taken whole; of the others what fits. `source` is where
    all are from, in words, `parent` the config of that run.
    """

    weights: dict[str, Tensor]
    networks: dict[str, str]
    parent: RunConfig
    source: str


def start_weights(system: System, start: Start, config: RunConfig) -> str:
    """Copy what fits of `start` into `system`, of a run with `config`; returns what that was, in words.

    Raises UserError where a network that must fit whole does not, or where less than half of a network fits
    and `config` does not say `partial`.
    """
    own = system.state_dict()
    start = replace(start, weights=current_tensors(start.weights, own))
    _check_whole(own, start)
    plan = blueprint(type(system), system.config, system.data)
    found = fit(
        plan, {name: tuple(tensor.shape) for name, tensor in start.weights.items()}, start.parent.spec
    )
    if not any(found.shares.values()):
        raise UserError(f"--from: nothing of {start.source} fits: {_way_on(start, config)}")
    if not start.networks and not config.train.partial and min(found.shares.values()) < ENOUGH:
        raise UserError(
            f"--from: of {start.source} too little fits, {_in_words(plan, found)}: {_way_on(start, config)}, "
            "or add --partial to take what fits"
        )
    taken = take(plan, found, start.weights, start.parent.spec)
    system.load_state_dict(own | taken)
    if any(not torch.equal(tensor, start.weights[found.sources[name]]) for name, tensor in taken.items()):
        _renew_norms(system)
    return f"from {start.source}: {_in_words(plan, found)}"


def _check_whole(own: Mapping[str, Tensor], start: Start) -> None:
    for name, source in start.networks.items():
        for key in sorted(key for key in own if key.startswith(f"{name}.")):
            there = start.weights.get(key)
            if there is None or there.shape != own[key].shape:
                has = "is not there" if there is None else f"has the shape {list(there.shape)} there"
                raise UserError(
                    f"--from: the {source} does not fit: {key} {has} and {list(own[key].shape)} here: use "
                    "its options and its kind of data"
                )


def _way_on(start: Start, config: RunConfig) -> str:
    """The options, or the run, that would fit better."""
    suited = fields_of_parent(config.system, config.spec, {}, start.parent)
    better = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in suited.items()
        if config.config.get(name) != (list(value) if isinstance(value, tuple) else value)
    ]
    if better:
        return f"{' '.join(better)} fits"
    return f"use a run of {config.system}" if start.parent.system != config.system else "use its options"


def _in_words(own: Blueprint, found: Fit) -> str:
    """The share taken of each network, and what of it is new."""
    texts = [f"{_percent(share)} of the {name}" for name, share in found.shares.items()]
    modules = [module_of(name) for name, _ in own.system.named_parameters() if name not in found.sources]
    new = list(dict.fromkeys(modules))
    shown = ", ".join(new[:SHOWN]) + (", ..." if len(new) > SHOWN else "")
    return f"{', '.join(texts)}" + (f" (new: {shown})" if new else "")


def _percent(share: float) -> str:
    """A share as a percentage that is 100 only for all, and 0 only for nothing."""
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{min(max(100 * share, 0.1), 99.9):.3g} %"


def _renew_norms(system: nn.Module) -> None:
    """Refine the spectral norms of weights made of others: each read in training mode is a round."""
    with torch.no_grad():
        for module in system.modules():
            if parametrize.is_parametrized(module, "weight"):
                for _ in range(POWER_ITERATIONS):
                    _ = module.weight


def fields_of_parent(
    system: str, spec: DataSpec, defaults: Mapping[str, Any], parent: RunConfig
) -> dict[str, Any]:
    """Config fields of `parent` that shape the networks, as they suit a run of `system` on `spec`."""
    if parent.system != system and ":" in parent.system:
        return {}  # code of others, which this command does not name
    kind = find(system)
    theirs = find(parent.system)
    if parent.system in kind.inherits:
        return {own: parent.config[other] for own, other in kind.inherits[parent.system].fields.items()}
    try:
        there = blueprint(theirs, theirs.Config.model_validate(parent.config), parent.spec)
    except ValueError:
        return {}
    return suited_fields(kind, spec, defaults, there, parent.config)


def open_parent(path: str) -> Run:
    """The run that `--from` names."""
    try:
        return Run.open(Path(path).expanduser())
    except UserError as error:
        raise UserError(f"--from {path}: {error}") from error


def load_start(system: str, parent: Run, start_from: str) -> Start:
    """The weights of `parent`, the run that `--from` names, for one of `system`; averaged where it has some.

    Raises UserError where it has no checkpoint.
    """
    checkpoint = load_shared(parent.path / SHARED) if parent.shared else load_newest(parent.checkpoints)
    if checkpoint is None:
        raise UserError(f"--from {start_from}: that run has no checkpoint yet")
    if missing := {"system", "average"} - checkpoint.tensors.keys():
        raise UserError(
            f"--from {start_from}: checkpoint {checkpoint.path} has no {min(missing)}.safetensors"
        )
    weights = checkpoint.tensors["system"] | checkpoint.tensors["average"]
    step = checkpoint.state["step"]
    source = f"{start_from} at step {step}"
    inheritance = find(system).inherits.get(parent.config.system)
    if inheritance is None:
        return Start(weights, {}, parent.config, source)
    renamed = {
        own + key.removeprefix(other): tensor
        for own, other in inheritance.networks.items()
        for key, tensor in weights.items()
        if key.startswith(f"{other}.")
    }
    averaged = {name.partition(".")[0] for name in checkpoint.tensors["average"]}
    networks = {
        own: f"{'averaged ' if other in averaged else ''}{other} of {source}"
        for own, other in inheritance.networks.items()
    }
    return Start(weights | renamed, networks, parent.config, source)


def freeze_stages(system: System, count: int) -> None:
    """Exclude the first `count` stages of the discriminator, from the image on, from all updates.

    Mo et al. 2020, "Freeze the Discriminator", arXiv 2002.10964. Raises UserError where they are fewer.
    """
    names = [name for name in networks(system) if name.endswith(("discriminator", "critic"))]
    found = stages(system.get_submodule(names[0])) if names else []
    if not found:
        raise UserError(f"--freeze-discriminator {count}: no network here has stages to freeze: leave it out")
    if count > len(found):
        raise UserError(
            f"--freeze-discriminator {count}: the {names[0]} has {len(found)} stages: expected at most that"
        )
    for layer in (layer for stage in found[:count] for layer in stage):
        layer.requires_grad_(False)
