"""The Python door: `train`, as the command line does it."""

import time
from pathlib import Path
from typing import Any

from ganforge.data.datasets import open_dataset
from ganforge.data.options import DataOptions
from ganforge.engine.start import Start
from ganforge.engine.train import train as train_run
from ganforge.errors import UserError, unknown_name
from ganforge.plan import Plan, make_plan, open_start, validated
from ganforge.runs.checkpoint import load_newest
from ganforge.runs.folder import Run
from ganforge.runs.options import TrainOptions
from ganforge.runs.trained import Trained, load
from ganforge.sentences import FOLDER, discard, keep_encoder, open_encoder
from ganforge.systems.discovery import find


def train(
    system: str,
    data: str,
    *,
    run: str | Path | None = None,
    start_from: str | None = None,
    quiet: bool = False,
    **options: Any,
) -> Trained:
    """Train `system` on `data`, or go on with the run in the folder `run`, and return it ready to be sampled.

    `options` are those of `ganforge train`, with underscores: `steps`, `seed`, `size`, `learning_rate`...
    Raises UserError for a mistake and `ganforge.engine.train.Stopped` after SIGINT or SIGTERM, the run saved.
    """
    kind = find(system)
    groups: dict[Any, dict[str, Any]] = {DataOptions: {"data": str(data)}, TrainOptions: {}, kind.Config: {}}
    for name, value in options.items():
        owners = [model for model in groups if name in model.model_fields]
        if not owners:
            known = [field for model in groups for field in model.model_fields]
            raise unknown_name("option", name, known, f"(`ganforge train {system} --help`)")
        groups[owners[0]][name] = value
    dataset = open_dataset(validated(DataOptions, groups[DataOptions]))
    train_options = validated(TrainOptions, groups[TrainOptions])
    path = None if run is None else Path(run)
    plan = make_plan(system, dataset, train_options, groups[kind.Config], path, start_from)
    command = f"ganforge.train({system!r}, {str(data)!r}, ...)"
    return load(carry_out(plan, command=command, quiet=quiet).path)


def carry_out(plan: Plan, *, command: str, quiet: bool = False, started: float | None = None) -> Run:
    """Train what was planned."""
    started = time.monotonic() if started is None else started
    config, start = plan.config, None
    if config.start_from is not None and load_newest(plan.path / "checkpoints") is None:
        start = load_start(config.system, config.start_from)
        config = config.model_copy(update={"start_networks": start.networks})
    kept = None
    if config.data.text_encoder is not None and not (plan.path / "config.json").exists():
        kept = plan.path / FOLDER
        if kept.exists():
            raise UserError(f"{kept} is there, but no run: remove it, or name another folder with --run")
    try:
        if kept is not None and config.data.text_encoder is not None:
            keep_encoder(open_encoder(config.data.text_encoder), plan.dataset, kept)
        return train_run(
            config,
            plan.dataset,
            plan.path,
            command=command,
            quiet=quiet,
            started=started,
            start=start,
        )
    finally:
        if kept is not None and not (plan.path / "config.json").exists():
            discard(plan.path)


def load_start(system: str, start_from: str) -> Start:
    """The weights of the run `start_from` that one of `system` begins with, averaged ones where it has some.

    Raises UserError where there is no such run, it has no checkpoint, or lacks a network to be taken over.
    """
    earlier = open_start(start_from)
    checkpoint = load_newest(earlier.checkpoints)
    if checkpoint is None:
        raise UserError(f"--from {start_from}: that run has no checkpoint yet")
    weights = checkpoint.tensors["system"] | checkpoint.tensors["average"]
    inheritance = find(system).inherits.get(earlier.config.system)
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
