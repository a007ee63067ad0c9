"""Train and resume from Python, as the command line does."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.runs.folder import Run
from ganforge.runs.option_hints import unknown_options
from ganforge.runs.options import FREE_TO_CHANGE, TrainOptions
from ganforge.runs.trained import Trained, load
from ganforge.systems.discovery import find, find_recorded
from ganforge.text.embeddings import data_of
from ganforge.training.automatic import AUTO, choose_system
from ganforge.training.loop import train as train_run
from ganforge.training.minutes import TWO_LENGTHS, plan_within, steps_of_minutes
from ganforge.training.plan import Plan, as_stored, on_disk, plan_to_resume, validated
from ganforge.training.resume import check_resumable


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

    The system "auto" is the one that suits the data best; `minutes=10` trains what fits this time.
    `options` are those of `ganforge train`, with underscores: `steps`, `seed`, `size`, `learning_rate`...
    Raises UserError for a mistake, and `training.loop.Stopped` after SIGINT or SIGTERM, with the run saved.
    """
    path, notes, dataset = None if run is None else Path(run), tuple[str, ...](), None
    if system == AUTO:
        early = {name: options[name] for name in DataOptions.model_fields.keys() & options.keys()}
        device = validated(TrainOptions, {"device": options.get("device", "auto")}).device
        system, notes, dataset = choose_system(
            validated(DataOptions, {"data": str(data), **early}), path, device
        )
    kind = find(system)
    groups: dict[Any, dict[str, Any]] = {DataOptions: {"data": str(data)}, TrainOptions: {}, kind.Config: {}}
    for name, value in options.items():
        owners = [model for model in groups if name in model.model_fields]
        if not owners:
            known = [field for model in groups for field in model.model_fields]
            raise unknown_options([name], known, str, f"(`ganforge train {system} --help`)")
        groups[owners[0]][name] = value
    data_options = validated(DataOptions, groups[DataOptions])
    train_options = validated(TrainOptions, groups[TrainOptions])
    disk = on_disk(system, data_options, path, start_from)
    stored = as_stored(data_options, disk)
    dataset = dataset if dataset is not None and stored == data_options else open_dataset(stored)
    plan = plan_within(system, dataset, train_options, groups[kind.Config], disk)
    plan = replace(plan, notes=(*notes, *plan.notes))
    command = f"ganforge.train({system!r}, {str(data)!r}, ...)"
    return load(train_run(plan, command=command, quiet=quiet).path, system=system)


CHANGEABLE = (
    "steps",
    *(
        name.removeprefix("train.")
        for name in FREE_TO_CHANGE
        if name.startswith("train.") and name != "train.partial"
    ),
)
"""Options that a run may be continued with in place of its own."""


def resume(
    run: str | Path,
    *,
    data: str | None = None,
    sources: str | None = None,
    system: str | None = None,
    quiet: bool = False,
    **changes: Any,
) -> Trained:
    """Continue the run in the folder `run` up to its steps, exactly; returns it ready to be sampled.

    `changes` are options that may change: `steps`, `device`, `checkpoint_every`... `data` and `sources` are
    where its data are now, if they have moved; `system` as of `load`. Raises UserError for a mistake, and
    `training.loop.Stopped` after SIGINT or SIGTERM, with the run saved.
    """
    for name in changes:
        if name not in CHANGEABLE:
            raise UserError(
                f"{name} cannot change in a run: expected some of {', '.join(CHANGEABLE)}; "
                f"for others start a new run with ganforge.train(..., start_from={str(run)!r})"
            )
    plan = open_to_resume(Path(run), changes, data=data, sources=sources, system=system)
    finished = train_run(plan, command=f"ganforge.resume({str(run)!r}, ...)", quiet=quiet)
    return load(finished.path, system=system)


def open_to_resume(
    path: Path,
    changes: Mapping[str, Any],
    *,
    data: str | None = None,
    sources: str | None = None,
    system: str | None = None,
) -> Plan:
    """The plan for continuing the run in `path`; raises UserError as `resume`."""
    run = Run.open(path)
    if run.packaged:
        raise UserError(
            f"{path} came with the package and stays as it is: start a new run with --from {path}"
        )
    check_resumable(run)
    find_recorded(run.config.system, system)  # before its data, which can take long to open
    minutes = validated(TrainOptions, {"minutes": changes.get("minutes")}).minutes
    if minutes is not None:
        if "steps" in changes:
            raise UserError(TWO_LENGTHS)
        changes = {**changes, "steps": steps_of_minutes(run, minutes)}
    return plan_to_resume(run, data_of(run, data, sources), changes, system)
