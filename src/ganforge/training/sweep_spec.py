"""What a sweep searches: a TOML file, checked before anything is trained."""

import itertools
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
    model_validator,
)

from ganforge.data.options import DataOptions
from ganforge.errors import UserError, printable
from ganforge.runs.option_hints import unknown_options
from ganforge.runs.options import Metric, TrainOptions
from ganforge.systems.discovery import find

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
_OF_THE_SWEEP = ("data", "minutes", "evaluate_every", "keep_best", "partial")
"""Options that a sweep sets itself, or that do not go with it."""
MOST_OF_A_GRID = 10_000


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Strict):
    """All numbers from `low` to `high`, whole ones where both are; in steps, or evenly in the logarithm."""

    low: StrictInt | StrictFloat
    high: StrictInt | StrictFloat
    step: StrictInt | StrictFloat | None = None
    log: StrictBool = False

    @property
    def whole(self) -> bool:
        """Whether it has whole numbers only."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log goes with numbers above 0 and without step")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be above 0, got {self.step}")
        return self

    def values(self, name: str) -> list[int | float]:
        """The numbers of a grid, in order; raises UserError for a continuous range."""
        if self.log or (self.step is None and not self.whole):
            raise UserError(f"[space] {name}: a grid needs choices, or a range with step")
        step, values = self.step or 1, list[int | float]()
        while (value := self.low + len(values) * step) <= self.high * (1 + 1e-12):
            if len(values) == MOST_OF_A_GRID:
                raise UserError(f"[space] {name}: a grid of more than {MOST_OF_A_GRID:,}: give a larger step")
            values.append(value)
        return values


def _is_range(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "choices"


Space = Annotated[
    Annotated[list[Scalar | list[Scalar]], Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(_is_range),
]


class EarlyStopping(_Strict):
    """Successive halving: at `first` steps, and each time `factor` times as many, the best 1/factor stay."""

    first: PositiveInt
    factor: int = Field(3, ge=2)


class SweepSpec(_Strict):
    """A sweep: one system on one data set, fixed `options`, and a `space` of others to search."""

    system: str
    data: str
    score: Metric
    search: Literal["tpe", "random", "grid"] = "tpe"
    trials: PositiveInt | None = None
    seed: NonNegativeInt = 0
    options: dict[str, Any] = {}
    space: dict[str, Space]
    early_stopping: EarlyStopping | None = None

    @property
    def steps(self) -> int:
        """The steps of a trial that is not stopped early."""
        return int(self.options["steps"])

    @property
    def rungs(self) -> list[int]:
        """The steps at which a trial is scored, the last ones those of its end."""
        early = self.early_stopping
        if early is None:
            return [self.steps]
        counts = (early.first * early.factor**power for power in itertools.count())
        return [*itertools.takewhile(lambda count: count < self.steps, counts), self.steps]

    @property
    def grid(self) -> list[dict[str, Any]]:
        """All combinations, in the order in which the file names them."""
        axes = [
            [
                (name, label)
                for label in (axis.values(name) if isinstance(axis, Range) else map(label_of, axis))
            ]
            for name, axis in self.space.items()
        ]
        return [dict(combination) for combination in itertools.product(*axes)]

    @property
    def count(self) -> int:
        """The number of trials."""
        if self.search == "grid":
            return len(self.grid)
        assert self.trials is not None
        return self.trials

    def fields_of(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a trial, from the labels and numbers that were `chosen`."""
        fields = dict(self.options)
        for name, value in chosen.items():
            axis = self.space[name]
            labels = {} if isinstance(axis, Range) else {label_of(choice): choice for choice in axis}
            fields[name] = labels.get(value, value)
        return fields


def label_of(choice: Any) -> Any:
    """A choice as Optuna stores it: a scalar as it is, a list as JSON."""
    return json.dumps(choice) if isinstance(choice, list) else choice


def read_spec(path: Path) -> SweepSpec:
    """The sweep in a TOML file; raises UserError for what is wrong in it, before anything is trained."""
    try:
        spec = SweepSpec.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{printable(str(path))} cannot be read: TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if str(part).isidentifier())
        unknown = first["type"] == "extra_forbidden"
        text = f"unknown, expected {', '.join(SweepSpec.model_fields)}" if unknown else first["msg"]
        text = text.removeprefix("Value error, ")
        raise UserError(f"{printable(str(path))}: {printable(place)}: {text[0].lower()}{text[1:]}") from error
    _check_space(spec)
    _check_options(spec)
    return spec


def _check_space(spec: SweepSpec) -> None:
    """Raise UserError for an empty space or grid, and for choices that repeat."""
    if not spec.space:
        raise UserError("[space] is empty: name at least one option to search, such as width = [16, 32]")
    for name, axis in spec.space.items():
        if name in spec.options:
            raise UserError(f"{printable(name)} is in [options] and in [space]: leave one out")
        if isinstance(axis, Range):
            continue
        if not axis:
            raise UserError(f"[space] {printable(name)} has no choices: expected at least one")
        labels = [json.dumps(choice) for choice in axis]
        if again := next((label for label in labels if labels.count(label) > 1), None):
            raise UserError(f"[space] {printable(name)}: {again} is there twice: name each choice once")
    if (spec.search == "grid") != (spec.trials is None):
        raise UserError(
            "trials: a grid has as many as it has combinations: leave it out"
            if spec.search == "grid"
            else f'trials is missing: search = "{spec.search}" needs their number, such as trials = 20'
        )
    if spec.search == "grid" and spec.count > MOST_OF_A_GRID:
        raise UserError(f"the grid has {spec.count:,} combinations: expected at most {MOST_OF_A_GRID:,}")


def _check_options(spec: SweepSpec) -> None:
    """Raise UserError for options that the system or a training does not have, and for invalid values."""
    kind = find(spec.system)
    models: tuple[type[BaseModel], ...] = (DataOptions, TrainOptions, kind.Config)
    for part, names in (("options", spec.options), ("space", spec.space)):
        for name in names:
            if name in _OF_THE_SWEEP or (part == "space" and name == "steps"):
                raise UserError(f"[{part}] {name} does not go with a sweep: leave it out")
            if not any(name in model.model_fields for model in models):
                known = [field for model in models for field in model.model_fields]
                raise unknown_options(
                    [name], known, str, f"in [{part}] (`ganforge train {spec.system} --help`)"
                )
    if "steps" not in spec.options:
        raise UserError("[options] steps is missing: how long each trial trains, such as steps = 2000")
    for model in models:
        own = {"data": spec.data} if model is DataOptions else {}
        own |= {name: value for name, value in spec.options.items() if name in model.model_fields}
        for name, value in own.items():
            _check_value(model, own, name, value, "options")
        for name, axis in spec.space.items():
            if name in model.model_fields:
                values: list[Any] = [axis.low, axis.high] if isinstance(axis, Range) else list(axis)
                for each in values:
                    _check_value(model, own, name, each, "space")
    if spec.early_stopping is not None and not spec.early_stopping.first < spec.steps:
        raise UserError(
            f"[early_stopping] first = {spec.early_stopping.first}: expected fewer than the "
            f"{spec.steps} steps of a trial"
        )


def _check_value(model: type[BaseModel], own: Mapping[str, Any], name: str, value: Any, part: str) -> None:
    """Raise UserError where an option does not take `value`, whatever the others are."""
    try:
        model.model_validate({**own, name: value})
    except ValidationError as error:
        for each in error.errors():
            if each["loc"][:1] == (name,):
                text = each["msg"].removeprefix("Value error, ")
                raise UserError(
                    f"[{part}] {name}: {text[0].lower()}{text[1:]}, got {printable(repr(value))}"
                ) from error
