"""What a run will be, settled before anything is built: its data, its fields and the reasons for them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from ganforge.data.batch import DataSpec
from ganforge.data.dataset import Dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError, printable
from ganforge.runs.device import choose_device
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.options import TrainOptions
from ganforge.system import ChecksStart, ParentRun, System, SystemConfig
from ganforge.systems.discovery import check_needs, find
from ganforge.systems.families.perceptual import PerceptualConfig, with_weights
from ganforge.text.embeddings import with_texts
from ganforge.text.encoders import FOLDER, open_encoder
from ganforge.training.warm_start import open_start
from ganforge.version import __version__

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Plan:
    """A run before it starts."""

    config: RunConfig
    dataset: Dataset
    path: Path


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """`model` of these values; raises UserError naming the option, what came and what is expected."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        option = f"--{name.replace('_', '-')}: " if name else ""
        came = f", got {first['input']!r}" if name else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{option}{message[0].lower()}{message[1:]}{came}") from error


def suggested_fields(system: str, spec: DataSpec, device: str) -> dict[str, Any]:
    """Values of the system's config that this data, on this device, suggests."""
    return {name: value for name, (value, _) in find(system).suggest(spec, device).items()}


def default_fields(
    system: str, spec: DataSpec, device: str, path: Path, start_from: str | None
) -> dict[str, Any]:
    """Values of the system's config that the data suggest, or that are taken over from the run `start_from`.

    In a run folder that is begun already these are what it has, so that the other run may be gone by then.
    """
    inherits, inherited = find(system).inherits, dict[str, Any]()
    if (path / "config.json").is_file():
        begun = Run.open(path).config
        if begun.system == system and begun.start_networks:
            names = {name for each in inherits.values() for name in each.fields}
            inherited = {name: begun.config[name] for name in sorted(names)}
    elif start_from is not None:
        earlier = open_start(start_from).config
        if earlier.system in inherits:
            fields = inherits[earlier.system].fields
            inherited = {own: earlier.config[other] for own, other in fields.items()}
    return suggested_fields(system, spec, device) | inherited


def device_to_suggest_for(asked: str, path: Path) -> Literal["cpu", "cuda"]:
    """The kind of device that suggestions are for: where the run in `path` began, else the one asked for."""
    if (path / "config.json").is_file():
        return Run.open(path).config.suggested_for
    return "cuda" if choose_device(asked).type == "cuda" else "cpu"


def make_plan(
    system: str,
    dataset: Dataset,
    train_options: TrainOptions,
    fields: Mapping[str, Any],
    run: Path | None = None,
    start_from: str | None = None,
) -> Plan:
    """The plan for `system` on `dataset` with these config `fields`; the rest is suggested or the paper's.

    Without `run` the folder is `runs/SYSTEM-DATA`, so that the same command resumes.
    """
    kind = find(system)
    path = run or default_path(system, dataset.options)
    begun = (path / "config.json").is_file()
    if start_from is not None and "embeddings" in kind.needs:
        dataset = _with_encoder_of(start_from, dataset, begun)
    dataset = with_texts(dataset, kind.needs, path / FOLDER if begun else None)
    check_needs(kind, system, dataset.spec)
    device = device_to_suggest_for(train_options.device, path)
    system_config: SystemConfig = validated(
        kind.Config, {**default_fields(system, dataset.spec, device, path, start_from), **fields}
    )
    if isinstance(system_config, PerceptualConfig):
        system_config = with_weights(system_config)
    if not begun:
        earlier = None if start_from is None else open_start(start_from).config
        start = None if earlier is None else ParentRun(earlier.system, earlier.spec)
        if isinstance(kind, ChecksStart):
            kind.check_start(system_config, dataset.spec, start)
    config = RunConfig(
        ganforge=__version__,
        system=system,
        data=dataset.options,
        train=train_options,
        config=system_config.model_dump(mode="json"),
        spec=spec_for(kind, dataset.spec),
        fingerprint=dataset.fingerprint,
        suggested_for=device,
        start_from=start_from,
    )
    return Plan(config, dataset, path)


def _with_encoder_of(start_from: str, dataset: Dataset, begun: bool) -> Dataset:
    """`dataset` with the text encoder of the run `start_from`, so that sentences go on to mean the same."""
    asked = dataset.options.text_encoder
    if asked is None:
        options = dataset.options.model_copy(update={"text_encoder": start_from})
        return replace(dataset, options=options)
    if begun or not (open_start(start_from).path / FOLDER).is_dir():
        return dataset
    if open_encoder(asked).key != open_encoder(start_from).key:
        raise UserError(
            f"--text-encoder {printable(asked)}: the run {printable(start_from)} was trained with another "
            "encoder: leave --text-encoder out"
        )
    return dataset


def spec_for(kind: type[System], spec: DataSpec) -> DataSpec:
    """`spec` as a run of the system `kind` notes it: captions only where it takes them."""
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
    found = {}
    suggestions = find(plan.config.system).suggest(plan.config.spec, plan.config.suggested_for)
    for name, (value, why) in suggestions.items():
        asked = plan.config.config[name]
        if (list(value) if isinstance(value, tuple) else value) == asked:
            found[name] = f"{asked}: {why}"
    return found
