"""Train from Python, as the command line does."""

from pathlib import Path
from typing import Any

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import unknown_name
from ganforge.runs.options import TrainOptions
from ganforge.runs.trained import Trained, load
from ganforge.systems.discovery import find
from ganforge.training.loop import train as train_run
from ganforge.training.plan import make_plan, on_disk, validated


def train(
    system: str,
    data: str,
    *,
    run: str | Path | None = None,
    start_from: str | None = None,
    quiet: bool = False,
    **options: Any,
) -> Trained:
    """Train `system` on `data`, or resume the run in the folder `run`; returns it ready to be sampled.

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
    disk = on_disk(system, dataset.options, None if run is None else Path(run), start_from)
    plan = make_plan(system, dataset, train_options, groups[kind.Config], disk)
    command = f"ganforge.train({system!r}, {str(data)!r}, ...)"
    return load(train_run(plan, command=command, quiet=quiet).path, system=system)
