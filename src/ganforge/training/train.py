"""Train and resume from Python, as the command line does."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.own import OwnData, name_of
from ganforge.distributed import rank_of_process
from ganforge.errors import UserError
from ganforge.files.code import allow, is_name
from ganforge.runs.build import trust
from ganforge.runs.folder import Run
from ganforge.runs.option_hints import unknown_options
from ganforge.runs.options import FREE_TO_CHANGE, TrainOptions
from ganforge.runs.trained import Trained, load
from ganforge.systems.discovery import find, find_recorded
from ganforge.systems.families.own_parts import PARTS
from ganforge.text.embeddings import data_of
from ganforge.training.automatic import AUTO, choose_system
from ganforge.training.loop import train as train_run
from ganforge.training.minutes import TWO_LENGTHS, plan_within, steps_of_minutes
from ganforge.training.parallel import follow
from ganforge.training.plan import Plan, as_stored, on_disk, plan_to_resume, validated
from ganforge.training.resume import check_resumable
from ganforge.training.state import OnStep


def train(
    system: str,
    data: str | Path | OwnData,
    *,
    run: str | Path | None = None,
    start_from: str | None = None,
    quiet: bool = False,
    on_step: OnStep | None = None,
    **options: Any,
) -> Trained:
    """Train `system` on `data`, or resume the run in the folder `run`; returns it ready to be sampled.

    `data` is a name or path, or images themselves: a `torch.utils.data.Dataset` of images, or of images and
    class numbers, an array, a tensor or a list of PIL images, or a dict of them with the splits train,
    validation and test. The system "auto" is the one that suits the data best; `minutes=10` trains what fits
    this time. `on_step` is called with the `Training` after every step, and changes no random numbers.
    `options` are those of `ganforge train`, with underscores: `steps`, `seed`, `size`, `learning_rate`...;
    `generator`, `discriminator` and `loss` may be the class or function itself.
    Several processes of torchrun train one run together; `on_step` is called in the first.
    Raises UserError for a mistake, and `training.loop.Stopped` after SIGINT or SIGTERM, with the run saved.
    """
    own = None if isinstance(data, str | Path) else data
    if rank_of_process():
        return _followed(own, system)
    data = str(data) if isinstance(data, str | Path) else name_of(data)
    options = {name: _by_name(name, value) if name in PARTS else value for name, value in options.items()}
    allow([data, *(str(options[part]) for part in PARTS if part in options)])
    path, notes, dataset = None if run is None else Path(run), tuple[str, ...](), None
    if system == AUTO:
        early = {name: options[name] for name in DataOptions.model_fields.keys() & options.keys()}
        device = validated(TrainOptions, {"device": options.get("device", "auto")}).device
        named = validated(DataOptions, {"data": data, **early})
        system, notes, dataset = choose_system(named, path, device, own)
    kind = find(system)
    groups: dict[Any, dict[str, Any]] = {DataOptions: {"data": data}, TrainOptions: {}, kind.Config: {}}
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
    dataset = dataset if dataset is not None and stored == data_options else open_dataset(stored, own)
    plan = plan_within(system, dataset, train_options, groups[kind.Config], disk)
    plan = replace(plan, notes=(*notes, *plan.notes))
    command = f"ganforge.train({system!r}, {data!r}, ...)"
    return load(train_run(plan, command=command, quiet=quiet, on_step=on_step).path, system=system)


def _followed(own: OwnData | None, system: str | None) -> Trained:
    """What process 0 of torchrun has trained, with this one following."""
    path = follow(own)
    if path is None:
        raise UserError("process 0 has trained nothing, and says why")
    return load(path, system=None if system == AUTO else system)


def _by_name(part: str, value: Any) -> Any:
    """The name of a network class or loss function, by which its run finds it again."""
    if value is None or isinstance(value, str):
        return value
    name = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    if not is_name(name) or name.startswith("__main__:"):
        raise UserError(
            f"{part}: expected a class or function of a module that a later program can import, or its name, "
            "package.module:name; put it into a file of its own"
        )
    return name


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
    data: str | OwnData | None = None,
    sources: str | None = None,
    system: str | None = None,
    trust_code: bool = False,
    quiet: bool = False,
    on_step: OnStep | None = None,
    **changes: Any,
) -> Trained:
    """Continue the run in the folder `run` up to its steps, exactly; returns it ready to be sampled.

    `changes` are options that may change: `steps`, `device`, `checkpoint_every`... `data` and `sources` are
    where its data are now, if they have moved, or the data that a program passed to `train`, passed again;
    `system` and `trust_code` as of `load`, `on_step` as of `train`. Raises UserError for a mistake, and
    `training.loop.Stopped` after SIGINT or SIGTERM, with the run saved.
    """
    if rank_of_process():
        return _followed(None if isinstance(data, str) else data, system)
    if trust_code:
        trust(Run.open(Path(run)).config)
    for name in changes:
        if name not in CHANGEABLE:
            raise UserError(
                f"{name} cannot change in a run: expected some of {', '.join(CHANGEABLE)}; "
                f"for others start a new run with ganforge.train(..., start_from={str(run)!r})"
            )
    plan = open_to_resume(Path(run), changes, data=data, sources=sources, system=system)
    command = f"ganforge.resume({str(run)!r}, ...)"
    finished = train_run(plan, command=command, quiet=quiet, on_step=on_step)
    return load(finished.path, system=system)


def open_to_resume(
    path: Path,
    changes: Mapping[str, Any],
    *,
    data: str | OwnData | None = None,
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
