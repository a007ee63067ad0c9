"""The Python door: `train`, as the command line does it."""

import time
from pathlib import Path
from typing import Any

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError, unknown_name
from ganforge.runs.checkpoint import load_newest
from ganforge.runs.folder import Run
from ganforge.runs.options import TrainOptions
from ganforge.runs.trained import Trained, load
from ganforge.systems.discovery import find
from ganforge.text.embeddings import keep_encoder
from ganforge.text.encoders import FOLDER, discard, open_encoder
from ganforge.training.loop import train as train_run
from ganforge.training.plan import Plan, make_plan, validated
from ganforge.training.warm_start import load_start


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
    Raises UserError for a mistake, and `training.loop.Stopped` after SIGINT or SIGTERM, with the run saved.
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
