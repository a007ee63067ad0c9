"""Pydantic configs as command-line arguments: tyro parses the text, pydantic validates the values."""

import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ganforge.errors import UserError
from ganforge.runs.option_hints import unknown_options

_STYLE = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
_POSITIONAL = get_args(tyro.conf.Positional[int])[1]
_BOX = "│╭╮╰╯─"
WEIGHTS = tyro.conf.arg(help="The averaged networks, or the raw ones of the last step.")
SYSTEM = tyro.conf.arg(help="package.module:Class, to allow a run whose system is code outside of ganforge.")
TRUNCATION = tyro.conf.arg(help="Draw numbers of a latent beyond this again, such as 1.5: less varied.")
MOVED = tyro.conf.arg(help="Where the run's own data are now, if they have moved.")
JSON = tyro.conf.arg(help="Print JSON instead of text.")
OVERWRITE = tyro.conf.arg(help="Also replace files that ganforge did not write, and samples of another draw.")
CHECKPOINT = tyro.conf.arg(
    help="newest; best, as kept by `train --keep-best`; or the step of a kept one, such as 4000."
)


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
        if isinstance(default, list):  # of a config.json: JSON has no tuples
            default = tuple(default)
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
                readable(kind),
                prog=program,
                description=description,
                args=list(arguments),
                return_unknown_args=unknown,
                config=_STYLE,
            )
    except SystemExit as ended:
        if ended.code in (0, None):
            raise
        raise _mistake(kind, output.getvalue(), program) from None


def options_of(kind: Any) -> dict[str, list[str]]:
    """The options of a dataclass of arguments, groups included, without its positional arguments."""
    options: dict[str, list[str]] = {}
    for field in dataclasses.fields(kind):
        annotation, *notes = get_args(field.type) if get_origin(field.type) is Annotated else (field.type,)
        if dataclasses.is_dataclass(annotation):
            options |= options_of(annotation)
        elif _POSITIONAL not in notes:
            name = next((note.name for note in notes if getattr(note, "name", None)), field.name)
            prefix = "--no-" if field.default is True else "--"
            options[f"{prefix}{name.replace('_', '-')}"] = _choices(annotation)
    return options


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def readable(kind: type) -> type:
    """The dataclass `kind` with help that says PATH instead of `{None}|PATH` and no default that is none."""
    fields = []
    for field in dataclasses.fields(kind):
        annotation, *notes = get_args(field.type) if get_origin(field.type) is Annotated else (field.type,)
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(annotation):
            annotation = readable(annotation)  # type: ignore[arg-type]
            if default is not dataclasses.MISSING:
                default = annotation(**values_of(default))
        more = {} if default is dataclasses.MISSING else {"default": default}
        if metavar := _metavar(annotation):
            hint = {None: "", dataclasses.MISSING: "(required)"}.get(default)
            notes.append(tyro.conf.arg(metavar=metavar, help_behavior_hint=hint))
        shown = Annotated[(annotation, *notes)] if notes else annotation
        fields.append((field.name, shown, dataclasses.field(**more)))
    return dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True)


def _metavar(annotation: Any) -> str:
    """What stands for the value of an optional argument, or of one that takes several; else nothing."""
    parts = [part for part in get_args(annotation) if part not in (type(None), Ellipsis)]
    optional = type(None) in get_args(annotation)
    plain = [get_args(part)[0] if get_origin(part) is Annotated else part for part in parts]
    if len(plain) > 1 and optional and all(isinstance(part, type) for part in plain):
        return "|".join(part.__name__.upper() for part in plain)
    if len(plain) != 1 or not (optional or Ellipsis in get_args(annotation)):
        return ""
    (part,) = plain
    if get_origin(part) is Literal:
        name = f"{{{','.join(map(str, get_args(part)))}}}"
    elif isinstance(part, type):
        name = part.__name__.upper()
    else:
        return ""
    return name if optional else f"{name} ..."


def _mistake(kind: Any, output: str, program: str) -> UserError:
    """The error in one line for what tyro printed."""
    text, more = _one_line(output), f"({program} --help)"
    unknown = re.search(r"Unrecognized options: (.+?)(?= Perhaps you meant| For full helptext|$)", text)
    if unknown is None:
        text = re.sub(r"\.? For full helptext,? run:? .+$", "", text)
        text = re.sub(r"^Missing from .+?: (.+?)(?: \(required\))?$", r"missing: \1", text)
        return UserError(f"{text or 'these arguments cannot be read'} {more}")
    words = re.split(r",? ", unknown[1])
    names = [word.partition("=")[0] for word in words if word.startswith("-")]
    if hint := getattr(kind, "unknown", ""):
        return UserError(f"Unrecognized options: {', '.join(names or words)}: {hint}")
    if not names:
        return UserError(f"unexpected {', '.join(map(repr, words))}: expected options only {more}")
    spelled = {option.removeprefix("--").replace("-", "_"): option for option in options_of(kind)}
    spelled |= {"start_from": "--from"} if "from" in spelled else {}
    return unknown_options(names, spelled, spelled.__getitem__, more)


def _one_line(box: str) -> str:
    """The text of a tyro box, without its frame and title."""
    lines = [line.strip(_BOX + " \n") for line in box.splitlines()]
    return " ".join(line for line in lines[1:] if line)


def check_token(token: str | None) -> None:
    """Raise UserError for a token that no header could carry."""
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
        raise UserError("the token: expected printable ASCII characters, without spaces around")
