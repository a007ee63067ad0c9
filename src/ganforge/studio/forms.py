"""Forms for a training: the fields of data, system and training with their help, values and reasons."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ganforge.data.batch import to_float
from ganforge.data.check import check
from ganforge.data.dataset import Dataset, some_rows
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.reporting import grids
from ganforge.runs.folder import Run
from ganforge.runs.options import TrainOptions
from ganforge.system import System
from ganforge.systems.discovery import check_needs, find
from ganforge.training.automatic import AUTO, choose_system
from ganforge.training.plan import OnDisk, default_fields, default_path, device_to_suggest_for, validated

NUM_THUMBNAILS = 24
FIRST = ("steps", "minutes", "batch", "seed", "learning_rate", "size", "flip", "augment", "width")
"""Fields that are shown at once; the others wait behind a button."""
HIDDEN = ("data", "partial", "freeze_discriminator")
"""Fields that the form has a place of its own for, or that need a warm start."""


@dataclass(frozen=True)
class Start:
    """A training that could begin: its system, data and the values that they suggest."""

    system: str
    options: Mapping[str, Any]
    dataset: Dataset
    suggested: Mapping[str, Any]
    notes: tuple[str, ...]


def describe_start(start: Start, like: Run | None, device: str, taken: set[str]) -> dict[str, Any]:
    """The form of a training: groups of fields, why the system was chosen, and a free name.

    Values are those of the run `like`, where one is to be cloned; `taken` are names that are not free.
    """
    kind = find(start.system)
    reasons = {name: why for name, (_, why) in kind.suggest(start.dataset.spec, device).items()}
    values: dict[str, Any] = dict(start.options)
    if like is not None:
        values |= like.config.train.model_dump(mode="json") | like.config.config
        if like.config.train.precision != "auto":
            values["precision"] = "auto"  # settled anew
    groups: list[tuple[str, type[BaseModel], Mapping[str, Any]]] = [
        ("System", kind.Config, start.suggested),
        ("Training", TrainOptions, {}),
        ("Data", DataOptions, {}),
    ]
    data = DataOptions(data=start.dataset.options.data)
    name = like.path.name if like is not None else default_path(start.system, data).name
    return {
        "system": start.system,
        "summary": (kind.__doc__ or "").strip().partition("\n")[0],
        "why": list(start.notes),
        "data": data.data,
        "name": free_name(name, taken),
        "shape": list(start.dataset.spec.shape),
        "images": start.dataset.spec.num_images,
        "groups": [
            {"title": title, "fields": _fields(model, defaults, values, reasons)}
            for title, model, defaults in groups
        ],
    }


def free_name(name: str, taken: set[str]) -> str:
    """`name`, or with the first number behind it that makes it a new one."""
    if name not in taken:
        return name
    return next(other for number in range(2, 10_000) if (other := f"{name}-{number}") not in taken)


def _fields(
    model: type[BaseModel], defaults: Mapping[str, Any], values: Mapping[str, Any], reasons: Mapping[str, str]
) -> list[dict[str, Any]]:
    schema, fields = model.model_json_schema()["properties"], []
    for name, info in model.model_fields.items():
        if name in HIDDEN:
            continue
        default = defaults.get(name, info.get_default(call_default_factory=True))
        default = list(default) if isinstance(default, tuple) else default
        kinds = [part for part in schema[name].get("anyOf", [schema[name]]) if part.get("type") != "null"]
        fields.append(
            {
                "name": name,
                "option": f"--{name.replace('_', '-')}",
                "help": info.description or "",
                "default": default,
                "value": values.get(name, default),
                "reason": reasons.get(name, "") if name in defaults else "",
                "type": kinds[0].get("type", "string"),
                "choices": [str(choice) for part in kinds for choice in part.get("enum", [])],
                "optional": len(kinds) < len(schema[name].get("anyOf", [schema[name]])),
                "place": FIRST.index(name) if name in FIRST else None,
            }
        )
    return fields


def open_start(system: str, options: Mapping[str, Any], device: str) -> Start:
    """Open the data for `system` ("auto": the one that suits them); raises UserError for a mistake."""
    data = validated(DataOptions, options)
    notes, dataset = tuple[str, ...](), None
    if system == AUTO:
        system, notes, dataset = choose_system(data, None, device)
    kind: type[System] = find(system)
    dataset = dataset or open_dataset(data)
    if "embeddings" not in kind.needs:  # an encoder is chosen in the form
        check_needs(kind, system, dataset.spec)
    disk = OnDisk(default_path(system, data), None, None, None)
    suggested = default_fields(system, dataset.spec, device_to_suggest_for(device, disk), disk)
    return Start(system, data.model_dump(mode="json"), dataset, suggested, notes)


def check_data(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `ganforge data check` finds, with thumbnails where training could start."""
    report = check(validated(DataOptions, options))
    found = {"lines": report.lines(), "problems": report.problems, "warnings": report.warnings}
    return found | {"thumbnails": None if report.problems else _thumbnails(options)}


def _thumbnails(options: Mapping[str, Any]) -> str | None:
    """A PNG of some training images, as training sees them, as a data address."""
    dataset = open_dataset(validated(DataOptions, options))
    images = dataset.splits["train"]
    rows = some_rows(images, NUM_THUMBNAILS)
    pixels, sources = images.read_pairs(rows)
    if dataset.spec.values == "points":
        sheet = grids.draw(images.read(some_rows(images, 1_000)), dataset.spec)
    elif sources is None:
        sheet = grids.grid(to_float(pixels), 8)
    else:
        sheet = grids.pairs_grid(to_float(sources), to_float(pixels))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
