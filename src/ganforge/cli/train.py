"""The arguments of `ganforge train`, which depend on the system and on the data."""

from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ganforge.cli.arguments import arguments_of
from ganforge.data.options import DataOptions
from ganforge.runs.options import TrainOptions
from ganforge.systems.discovery import find


def early_arguments() -> type:
    """What decides the defaults of all other arguments of `ganforge train`: data, run folder and device."""
    device = TrainOptions.model_fields["device"]
    return make_dataclass(
        "EarlyArguments",
        [
            ("data", arguments_of(DataOptions, {})),
            ("run", Path | None, field(default=None)),
            ("device", device.annotation, field(default=device.default)),
            ("start_from", Annotated[str | None, tyro.conf.arg(name="from")], field(default=None)),
        ],
        frozen=True,
    )


def train_arguments(name: str, defaults: dict[str, Any]) -> type:
    """Arguments of `ganforge train NAME`: what the run is, the data, the engine, the system."""

    def option(kind: Any, default: Any, text: str, name: str | None = None) -> tuple[Any, Any]:
        return Annotated[kind, tyro.conf.arg(help=text, name=name)], field(default=default)

    return make_dataclass(
        "TrainArguments",
        [
            ("data", arguments_of(DataOptions, {})),
            ("run", *option(Path | None, None, "The run folder; left out: runs/SYSTEM-DATA.")),
            ("start_from", *option(str | None, None, "Start from the weights of this run.", name="from")),
            ("dry_run", *option(bool, False, "Show what would be done and what it would cost, and stop.")),
            ("train", *_optional(arguments_of(TrainOptions, {}))),
            ("system", *_optional(arguments_of(find(name).Config, defaults))),
        ],
        frozen=True,
    )


def _optional(kind: type) -> tuple[type, Any]:
    """Type and default of a group of arguments that all have defaults."""
    return kind, field(default=kind())
