"""Pydantic configs as command-line arguments: tyro reads the text, pydantic judges the values."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import Annotated, Any, Union

import tyro
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ganforge.errors import UserError

_STYLE = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
_BOX = "│╭╮╰╯─"


def arguments_of(model: type[BaseModel], defaults: Mapping[str, Any], positional: Sequence[str] = ()) -> type:
    """A dataclass with the fields, help texts and defaults of `model`, for tyro.

    tyro fills it without judging ranges, so that a wrong value is reported by pydantic as one line.
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
    """The fields of what `arguments_of` made, by name."""
    return {field.name: getattr(arguments, field.name) for field in dataclasses.fields(arguments)}


def parse(kind: Any, arguments: Sequence[str], program: str, description: str) -> Any:
    """What tyro reads as `kind`; a mistake becomes a UserError in one line instead of tyro's box."""
    return _call(kind, arguments, program, description, unknown=False)


def parse_known(kind: Any, arguments: Sequence[str], program: str) -> Any:
    """What tyro reads as `kind`, leaving alone the arguments it does not know."""
    return _call(kind, arguments, program, "", unknown=True)[0]


def _call(kind: Any, arguments: Sequence[str], program: str, description: str, unknown: bool) -> Any:
    said = io.StringIO()
    try:
        with redirect_stderr(said):
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
            _one_line(said.getvalue()) or f"{program}: bad arguments, see {program} --help"
        ) from None


def _one_line(box: str) -> str:
    """The words of a tyro box, without its frame and title."""
    lines = [line.strip(_BOX + " \n") for line in box.splitlines()]
    return " ".join(line for line in lines[1:] if line)


def print_completion(verbs: Mapping[str, Any], shell: str) -> None:
    """Print tyro's completion script of the whole command line, `verbs` being nested by subcommand."""
    tyro.cli(
        _subcommands(verbs),
        prog="ganforge",
        args=["--tyro-print-completion", shell],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _subcommands(verbs: Mapping[str, Any]) -> Any:
    kinds: list[Any] = []
    for name, kind in verbs.items():
        if isinstance(kind, Mapping):
            kind = dataclasses.make_dataclass(name, [("verb", _subcommands(kind))], frozen=True)
        kinds.append(Annotated[kind, tyro.conf.subcommand(name=name)])
    return Union[tuple(kinds)]  # noqa: UP007 - made of a list
