"""`ganforge train --config FILE` and `--like RUN`: options from a file or another run, below those typed."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ganforge.data.options import DataOptions
from ganforge.errors import UserError, printable
from ganforge.files.code import check_allowed
from ganforge.files.reading import read_regular
from ganforge.runs.data import find_place
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.option_hints import unknown_options
from ganforge.runs.options import TrainOptions
from ganforge.systems.discovery import find
from ganforge.training.plan import validated

GROUPS: dict[str, type[BaseModel]] = {"data": DataOptions, "train": TrainOptions}
OF_THE_IMAGES = ("fit", "range", "label_column", "sources", "text_encoder")
"""Options of the data that another run's values are not meant for where the data are others."""


@dataclass(frozen=True)
class Settings:
    """Defaults of `ganforge train`: of the data, of the training, and of the system's own `config`."""

    system: str | None = None
    run: Path | None = None
    start_from: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


def take_settings(words: Sequence[str]) -> tuple[Settings, list[str]]:
    """The settings that `--config` or `--like` names among `words`, and the other words.

    Raises UserError where both are named, or one cannot be read.
    """
    rest, named = list[str](), dict[str, str]()
    coming = iter(words)
    for word in coming:
        option, equals, value = word.partition("=")
        if option not in ("--config", "--like"):
            rest.append(word)
            continue
        named[option] = value if equals else next(coming, "")
        if not named[option]:
            raise UserError(f"{option}: expected {'a file' if option == '--config' else 'a run folder'}")
    if len(named) > 1:
        raise UserError("--config and --like both say what to train like: leave one of them out")
    other_data = any(word == "--data" or word.startswith("--data=") for word in rest)
    settings = Settings()
    if "--config" in named:
        settings = _of_file(Path(named["--config"]))
    elif "--like" in named:
        settings = _of_run(Run.open(Path(named["--like"])), other_data)
    if settings.system is not None and ":" in settings.system and settings.system not in rest:
        check_allowed(settings.system, "system")
    return settings, rest


def _of_run(run: Run, other_data: bool) -> Settings:
    """The options of `run`; for other data without those that followed from its own."""
    config = run.config
    data, fields = config.data.model_dump(), dict(config.config)
    if other_data:
        suggested = config.suggested or {}
        fields = {name: value for name, value in fields.items() if suggested.get(name, ...) != value}
        data = {name: value for name, value in data.items() if name not in OF_THE_IMAGES}
    elif not Path(config.data.data).exists():
        data["data"] = next(find_place(run, "data", config.data.data), config.data.data)
    train = config.train.model_dump() | {"minutes": None}  # the steps that these gave are in the config
    return Settings(config.system, None, config.start_from, data, train, fields)


def _of_file(path: Path) -> Settings:
    """The options in a JSON or TOML file: those of the command by name, or a run's config.json."""
    shown = printable(str(path))
    try:
        text = read_regular(path).decode("utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise UserError(f"--config {shown} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise UserError(f"--config {shown} is not {kind}: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise UserError(f'--config {shown}: expected options by name, such as {{"system": "dcgan"}}')
    if any(isinstance(value, dict) for value in values.values()):
        return _grouped(values, f"--config {shown}")
    return _flat(values, f"--config {shown}")


def _flat(values: Mapping[str, Any], where: str) -> Settings:
    """Options by the names of the command, with dashes or underscores."""
    named = {name.replace("-", "_"): value for name, value in values.items()}
    system, run = named.pop("system", None), named.pop("run", None)
    start_from = named.pop("from", named.pop("start_from", None))
    parts: dict[str, dict[str, Any]] = {"data": {}, "train": {}, "config": {}}
    for name, value in named.items():
        group = next((group for group, model in GROUPS.items() if name in model.model_fields), "config")
        parts[group][name] = value
    return _checked(system, run, start_from, parts, where)


def _grouped(values: Mapping[str, Any], where: str) -> Settings:
    """The form of a run's config.json, whose other entries follow from these."""
    known = {*RunConfig.model_fields}
    if unknown := sorted(set(values) - known):
        raise unknown_options(unknown, [*known], str, f"(in {where})")
    parts = {group: values.get(group, {}) for group in ("data", "train", "config")}
    if wrong := next((group for group, part in parts.items() if not isinstance(part, dict)), None):
        raise UserError(f"{where}: {wrong} is {type(parts[wrong]).__name__}: expected options by name")
    return _checked(values.get("system"), None, values.get("start_from"), parts, where)


def _checked(
    system: Any, run: Any, start_from: Any, parts: dict[str, dict[str, Any]], where: str
) -> Settings:
    """Settings whose values are valid; raises UserError of others."""
    for name, value in (("system", system), ("run", run), ("from", start_from)):
        if not isinstance(value, str | None):
            raise UserError(f"{where}: {name} is {value!r}: expected text")
    validated(DataOptions, {"data": "mnist"} | parts["data"])
    validated(TrainOptions, parts["train"])
    if system is not None:
        if ":" in system:
            check_allowed(system, "system")
        kind = find(system)
        known = [*kind.Config.model_fields]
        if unknown := [name for name in parts["config"] if name not in known]:
            every = [*known, *DataOptions.model_fields, *TrainOptions.model_fields]
            raise unknown_options(unknown, every, str, f"(in {where})")
        validated(kind.Config, parts["config"])
    return Settings(system, None if run is None else Path(run), start_from, **parts)
