"""A run before it starts: what was requested and what is on disk, turned into one plan."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from ganforge.data.batch import DataSpec
from ganforge.data.dataset import Dataset
from ganforge.data.options import DataOptions
from ganforge.distributed import num_processes
from ganforge.errors import UserError, printable
from ganforge.runs.checkpoint import committed
from ganforge.runs.compatibility import without_unknown
from ganforge.runs.data import places_of
from ganforge.runs.device import check_device, choose_device, choose_precision
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.identity import check_same
from ganforge.runs.options import TrainOptions
from ganforge.system import ChecksStart, ParentRun, System, SystemConfig
from ganforge.systems.discovery import check_needs, find, find_recorded
from ganforge.systems.families.perceptual import PerceptualConfig, with_weights
from ganforge.text.embeddings import with_texts
from ganforge.text.encoders import FOLDER, open_encoder
from ganforge.training.warm_start import fields_of_parent, open_parent
from ganforge.version import __version__

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class OnDisk:
    """What a new command finds on disk, read once: the run in its folder, and the parent run of `--from`."""

    path: Path
    run: Run | None
    start_from: str | None
    parent: Run | None
    """None without `--from`, and where the run in `path` has a checkpoint: its parent may be gone by then."""


@dataclass(frozen=True)
class Plan:
    """A run before it starts; `run` is the one that it resumes, `parent` the one whose weights it takes."""

    config: RunConfig
    dataset: Dataset
    path: Path
    run: Run | None
    parent: Run | None
    notes: tuple[str, ...] = ()
    """What was chosen for the user, in lines; a new run logs them."""


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """`model` of these values; raises UserError naming the option, its value and what was expected."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        option = f"--{name.replace('_', '-')}: " if name else ""
        value = f", got {first['input']!r}" if name else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{option}{message[0].lower()}{message[1:]}{value}") from error


def on_disk(
    system: str, data: DataOptions, path: Path | None = None, start_from: str | None = None
) -> OnDisk:
    """What is in the run folder `path` (left out: `runs/SYSTEM-DATA`) and in the run `start_from`.

    Raises UserError where one of them cannot be read.
    """
    path = path or default_path(system, data)
    run = Run.open(path) if (path / "config.json").is_file() else None
    if start_from is None or (run is not None and committed(run.checkpoints)):
        return OnDisk(path, run, start_from, None)
    return OnDisk(path, run, start_from, open_parent(start_from))


def as_stored(data: DataOptions, disk: OnDisk) -> DataOptions:
    """`data` with what it leaves to the images as the run on disk has it: a run keeps what it once chose."""
    if disk.run is None:
        return data
    stored, left = disk.run.config.data, dict[str, str | None](fit="auto", label_column="auto", range="data")
    if disk.run.config.train.minutes is not None:
        left["size"] = None
    changes = {name: getattr(stored, name) for name, open_ in left.items() if getattr(data, name) == open_}
    return data.model_copy(update=changes)


def default_fields(system: str, spec: DataSpec, device: str, disk: OnDisk) -> dict[str, Any]:
    """Config values that the data suggest on this device, or that are inherited from the parent run."""
    suggested = suggested_fields(system, spec, device, disk.run)
    return suggested | inherited_fields(system, spec, suggested, disk)


def inherited_fields(
    system: str, spec: DataSpec, suggested: Mapping[str, Any], disk: OnDisk
) -> dict[str, Any]:
    """Config values from the parent run; of an existing run those that it had from there when it began."""
    if disk.run is None:
        return {} if disk.parent is None else fields_of_parent(system, spec, suggested, disk.parent.config)
    config = disk.run.config  # these are what it inherited, whatever its parent is by now
    names = set(config.start_fields)
    if config.start_networks:
        names |= {name for each in find(system).inherits.values() for name in each.fields}
    if config.system != system:
        return {}
    return {name: config.config[name] for name in sorted(names) if name in config.config}


def suggested_fields(system: str, spec: DataSpec, device: str, run: Run | None) -> dict[str, Any]:
    """Config values that the data suggest; of an existing run those that were suggested when it began.

    A run that has no record of them keeps all of its values that would be suggested today.
    """
    suggested = {name: value for name, (value, _) in find(system).suggest(spec, device).items()}
    if run is None or run.config.system != system:
        return suggested
    if run.config.suggested is not None:
        return run.config.suggested
    return {name: run.config.config[name] for name in suggested if name in run.config.config}


def device_to_suggest_for(device: str, disk: OnDisk) -> Literal["cpu", "cuda"]:
    """The kind of device that suggestions are for: where the existing run began, else the requested one."""
    if disk.run is not None:
        return disk.run.config.suggested_for
    return "cuda" if choose_device(device).type == "cuda" else "cpu"


def make_plan(
    system: str, dataset: Dataset, train_options: TrainOptions, fields: Mapping[str, Any], disk: OnDisk
) -> Plan:
    """The plan for `system` on `dataset` with these config `fields`; the rest is suggested or the paper's.

    The only place that decides what a run is: its data, fields, device, precision, encoder and weights of
    VGG. Raises UserError for a mistake, and where `disk` has another run than this.
    """
    kind = find(system)
    if disk.start_from is not None and "embeddings" in kind.needs:
        dataset = _with_parent_encoder(dataset, disk)
    dataset = with_texts(dataset, kind.needs, None if disk.run is None else disk.path / FOLDER)
    check_needs(kind, system, dataset.spec)
    device = device_to_suggest_for(train_options.device, disk)
    suggested = suggested_fields(system, dataset.spec, device, disk.run)
    inherited = inherited_fields(system, dataset.spec, suggested, disk)
    system_config: SystemConfig = validated(kind.Config, {**suggested, **inherited, **fields})
    if train_options.freeze_discriminator and disk.start_from is None and disk.run is None:
        raise UserError(
            "--freeze-discriminator keeps what --from takes over: add --from RUN, or leave it out"
        )
    _check_shared(system_config, train_options)
    if isinstance(system_config, PerceptualConfig):
        system_config = with_weights(system_config)
    if disk.run is None:
        parent = None if disk.parent is None else disk.parent.config
        start = None if parent is None else ParentRun(parent.system, parent.spec)
        if isinstance(kind, ChecksStart):
            kind.check_start(system_config, dataset.spec, start)
    config = RunConfig(
        ganforge=__version__,
        system=system,
        data=dataset.options,
        train=_with_precision(train_options, disk.run),
        config=system_config.model_dump(mode="json"),
        spec=spec_for(kind, dataset.spec),
        fingerprint=dataset.fingerprint,
        suggested_for=device,
        suggested=suggested_fields(system, dataset.spec, device, None)
        if disk.run is None
        else disk.run.config.suggested,
        start_from=disk.start_from,
        start_fields=tuple(sorted(inherited)),
        places=places_of(dataset.options, disk.start_from),
    )
    if disk.run is None:
        return Plan(config, dataset, disk.path, None, disk.parent)
    check_same(_with_new_fields(disk.run, kind), config)
    _check_encoder(disk.run, dataset.options.text_encoder)
    return _plan_to_resume(disk.run, config, dataset, disk.parent)


def plan_to_resume(run: Run, dataset: Dataset, changes: Mapping[str, Any], system: str | None = None) -> Plan:
    """The plan for continuing `run` on `dataset`, its own data, with `changes` of what is free to change.

    `system` as of `find_recorded`. Raises UserError for an invalid value.
    """
    kind, recorded = find_recorded(run.config.system, system), run.config
    options = {name: value for name, value in changes.items() if name != "steps"}
    fields = recorded.config | ({"steps": changes["steps"]} if "steps" in changes else {})
    system_config = validated(
        kind.Config, without_unknown(kind.Config, fields, str(run.path / "config.json"))
    )
    train_options = validated(TrainOptions, recorded.train.model_dump() | options)
    _check_shared(system_config, train_options)
    config = recorded.model_copy(
        update={
            "ganforge": __version__,
            "train": train_options,
            "config": fields,
            "places": places_of(dataset.located or dataset.options),
        }
    )
    return _plan_to_resume(run, config, dataset, None)


def _plan_to_resume(run: Run, config: RunConfig, dataset: Dataset, parent: Run | None) -> Plan:
    """A plan whose data have the names that they had when `run` began, and the places where they are now."""
    located = dataset.located or dataset.options
    same = {"data": run.config.data, "places": run.config.places | config.places}
    dataset = replace(dataset, options=run.config.data, located=located)
    return Plan(config.model_copy(update=same), dataset, run.path, run, parent)


def _check_shared(config: SystemConfig, options: TrainOptions) -> None:
    """Raise UserError where the processes of torchrun cannot share the batch."""
    if (processes := num_processes()) == 1:
        return
    if options.compile == "on":
        raise UserError(f"--compile on is for one process, torchrun started {processes}: use --compile off")
    pack = getattr(config, "pack", 1)
    each = processes * pack
    if config.batch % each:
        nearest = max(each, round(config.batch / each) * each)
        packs = f", each with packs of {pack}" if pack > 1 else ""
        raise UserError(
            f"--batch {config.batch} cannot be shared by {processes} processes{packs}: use --batch {nearest}"
        )


def _check_encoder(run: Run, requested: str | None) -> None:
    """Raise UserError where --text-encoder names another encoder than that of `run`, wherever it lies."""
    recorded = run.config.data.text_encoder
    if requested is None or requested == recorded:
        return
    kept = run.path / FOLDER
    place = str(kept) if kept.is_dir() else recorded
    if place is None or open_encoder(requested).key != open_encoder(place).key:
        raise UserError(
            f"--text-encoder {printable(requested)}: {run.path} was trained with another encoder: leave "
            "--text-encoder out"
        )


def _with_new_fields(run: Run, kind: type[System]) -> Run:
    """`run` with the defaults of the fields that the version which began it did not have."""
    defaults = {name: field.default for name, field in kind.Config.model_fields.items()}
    return Run(run.path, run.config.model_copy(update={"config": defaults | run.config.config}))


def _with_precision(options: TrainOptions, run: Run | None) -> TrainOptions:
    """Replace "auto" by the precision of the run that is resumed, or by the faster one of this device."""
    device, precision = choose_device(options.device), options.precision
    if precision == "auto":
        precision = choose_precision("auto", device) if run is None else run.config.train.precision
    check_device(device, precision, options)
    return options.model_copy(update={"precision": precision})


def _with_parent_encoder(dataset: Dataset, disk: OnDisk) -> Dataset:
    """`dataset` with the text encoder of the parent run, so that embeddings keep their meaning."""
    assert disk.start_from is not None
    requested = dataset.options.text_encoder
    if requested is None:
        options = dataset.options.model_copy(update={"text_encoder": disk.start_from})
        return replace(dataset, options=options)
    if disk.run is not None or disk.parent is None or not (disk.parent.path / FOLDER).is_dir():
        return dataset
    if open_encoder(requested).key != open_encoder(disk.start_from).key:
        raise UserError(
            f"--text-encoder {printable(requested)}: the run {printable(disk.start_from)} was trained with "
            "another encoder: leave --text-encoder out"
        )
    return dataset


def spec_for(kind: type[System], spec: DataSpec) -> DataSpec:
    """`spec` as a run of the system `kind` records it: captions only where it uses them."""
    unused = {} if "captions" in kind.needs else {"caption_alphabet": "", "caption_length": 0}
    return spec.model_copy(update=unused)


def default_path(system: str, data: DataOptions) -> Path:
    """The run folder of a system on a data set where none is named."""
    name = Path(data.data.rpartition(":")[2]).name.removesuffix(".zip") or "data"
    if data.pairs not in ("auto", "none"):
        name += f"-{data.pairs.replace(':', '')}"
    return Path("runs") / f"{system.rpartition(':')[2].lower()}-{name}"


def reasons(plan: Plan) -> dict[str, str]:
    """Why fields that the data suggested have the value they have: `field` -> "value: reason"."""
    inherited = {name: plan.config.config[name] for name in plan.config.start_fields}
    texts = {name: f"{value}: with it {plan.config.start_from} fits" for name, value in inherited.items()}
    suggestions = find(plan.config.system).suggest(plan.config.spec, plan.config.suggested_for)
    for name, (value, why) in suggestions.items():
        if name in inherited:
            continue
        chosen = plan.config.config[name]
        if (list(value) if isinstance(value, tuple) else value) == chosen:
            texts[name] = f"{chosen}: {why}"
    return texts
