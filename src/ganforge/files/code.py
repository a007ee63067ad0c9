"""Code outside of ganforge, imported by name: only what the user named in this process, or trusts."""

import hashlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganforge.errors import UserError, printable

TRUST = "--trust-code"
NAMING = ("--data", "--discriminator", "--generator", "--loss", "--system")
"""Options whose values name code."""
_named: set[str] = set()
_EVERYTHING = "*"


def is_name(name: str) -> bool:
    """Whether `name` is one of a member: package.module:member."""
    module, colon, member = name.partition(":")
    return bool(colon) and all(map(str.isidentifier, (*module.split("."), member)))


def allow(names: Iterable[str]) -> None:
    """Let these `package.module:member` be imported in this process: the user has named them."""
    _named.update(name.removeprefix("python:") for name in names)


def allow_typed(words: Sequence[str]) -> None:
    """Allow what the words of a command name after options that name code; with `--trust-code` everything.

    Nothing else: what an earlier command of this process was trusted with is forgotten.
    """
    _named.clear()
    for option, value in zip(words, [*words[1:], ""], strict=True):
        name, equals, rest = option.partition("=")
        if name in NAMING:
            allow([rest if equals else value])
    if TRUST in words:
        allow([_EVERYTHING])


def trust_of_children() -> list[str]:
    """The option that gives a child process the trust that this one was given."""
    return [TRUST] if _EVERYTHING in _named else []


def allowed() -> list[str]:
    """What this process may import, to `allow` it in a child of it too."""
    return sorted(_named)


def is_allowed(name: str) -> bool:
    """Whether `name` may be imported."""
    return name in _named or _EVERYTHING in _named


def check_allowed(name: str, what: str) -> None:
    """Raise UserError where a file alone names this code: a file never makes a module be imported."""
    if not is_allowed(name):
        shown = printable(name)[:200]
        ways, call = TRUST, "trust_code=True"
        if what == "system":
            ways, call = f"{TRUST} or --system {shown}", f"load(path, system={shown!r})"
        raise UserError(
            f"the run names the {what} {shown}, code outside of ganforge, which is not imported unasked: if "
            f"you trust it add {ways}, or in Python {call}"
        )


def import_allowed(name: str, what: str) -> Any:
    """The member `name`; raises UserError where it is not allowed or cannot be imported."""
    check_allowed(name, what)
    return import_member(name, what)


def import_member(name: str, what: str) -> Any:
    """The member `name`, `what` in words, of a module that the user has named.

    Modules of the current folder are found, which a console script does not do. Raises UserError where there
    is none.
    """
    if not is_name(name):
        raise UserError(f"{printable(name)!r} is no {what}: expected package.module:name")
    module, _, member = name.partition(":")
    try:
        with _current_folder_importable():
            return getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise UserError(f"cannot import the {what} {name!r}: {error}") from error


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = os.getcwd()
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def source_hash(name: str) -> str:
    """The SHA-256, in hex, of the file that an imported member's module is in; empty where there is none."""
    module = sys.modules.get(name.partition(":")[0])
    path = getattr(module, "__file__", None)
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""
