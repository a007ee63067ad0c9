"""Pydantic configs as command-line arguments: tyro parses the text, pydantic validates the values."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import Annotated, Any

import tyro
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ganforge.errors import UserError

_STYLE = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
_BOX = "│╭╮╰╯─"
WEIGHTS = tyro.conf.arg(help="The averaged networks, or the raw ones of the last step.")
SYSTEM = tyro.conf.arg(help="package.module:Class, to allow a run whose system is code outside of ganforge.")
CHECKPOINT = tyro.conf.arg(help="The newest checkpoint, or the best, as kept by `train --keep-best`.")


def arguments_of(model: type[BaseModel], defaults: Mapping[str, Any], positional: Sequence[str] = ()) -> type:
    """A dataclass with the fields, help texts and defaults of `model`, for tyro.

    tyro fills it without checking ranges: pydantic reports a wrong value in one line.
    """
    fields: list[Any] = []
    for name, info in model.model_fields.items():
        kind: Any = Annotated[info.annotation, tyro.conf.arg(help=info.description)]
        if name in positional:
            kind = Annotated[kind, tyro.conf.Positional]
        default = defaults.get(name, info.get_default(call_default_factory=True))
        if default is PydanticUndefined:
            fields.insert(0, (name, kind))
        else:
            fields.append((name, kind, dataclasses.field(default=default)))
    return dataclasses.make_dataclass(f"{model.__name__}Arguments", fields, frozen=True)


def values_of(arguments: Any) -> dict[str, Any]:
    """The field values of an `arguments_of` object, by name."""
    return {field.name: getattr(arguments, field.name) for field in dataclasses.fields(arguments)}


def parse(kind: Any, arguments: Sequence[str], program: str, description: str) -> Any:
    """The `arguments` as `kind`; a mistake is a UserError in one line instead of tyro's box."""
    return _call(kind, arguments, program, description, unknown=False)


def parse_known(kind: Any, arguments: Sequence[str], program: str) -> Any:
    """The `arguments` as `kind`; unknown ones are ignored."""
    return _call(kind, arguments, program, "", unknown=True)[0]


def _call(kind: Any, arguments: Sequence[str], program: str, description: str, unknown: bool) -> Any:
    output = io.StringIO()
    try:
        with redirect_stderr(output):
            return tyro.cli(  # type: ignore[call-overload]
                kind,
                prog=program,
                description=description,
                args=list(arguments),
                return_unknown_args=unknown,
                config=_STYLE,
            )
    except SystemExit as ended:
        if ended.code in (0, None):
            raise
        raise UserError(
            _one_line(output.getvalue()) or f"{program}: bad arguments, see {program} --help"
        ) from None


def _one_line(box: str) -> str:
    """The text of a tyro box, without its frame and title."""
    lines = [line.strip(_BOX + " \n") for line in box.splitlines()]
    return " ".join(line for line in lines[1:] if line)
