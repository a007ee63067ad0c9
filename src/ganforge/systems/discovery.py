"""Finding a system by its file name."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isabstract
from pathlib import Path

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError, printable, unknown_name
from ganforge.system import System

KINDS = {"pixels": "images", "points": "2-D points"}


def available() -> list[str]:
    """Names of the systems of this package: the files of `ganforge/systems`, but for this one."""
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in modules if not module.ispkg and module.name != "discovery")


def find(name: str) -> type[System]:
    """The system `name`: a file of `ganforge/systems`, or `package.module:Class` from outside.

    The user has typed `name`: the module is imported. Raises UserError with the closest names where there
    is none.
    """
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        if not all(map(str.isidentifier, (*module_name.split("."), class_name))):
            raise UserError(f"{printable(name)!r} is no system: expected package.module:Class")
        try:
            with _current_folder_importable():
                member = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise UserError(f"cannot import the system {name!r}: {error}") from error
        if not (isinstance(member, type) and issubclass(member, System)) or isabstract(member):
            raise UserError(f"{name!r} is no system: expected a subclass of ganforge.System with its methods")
        return member
    if name not in available():
        raise unknown_name("system", name, available(), "(`ganforge list systems`)")
    module = importlib.import_module(f"ganforge.systems.{name}")
    for member in vars(module).values():
        if isinstance(member, type) and issubclass(member, System) and member.__module__ == module.__name__:
            return member
    raise AssertionError(f"{module.__name__} defines no System")


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Within this context modules of the current folder are found, which a console script does not do."""
    folder = os.getcwd()
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def find_recorded(name: str, typed: str | None = None) -> type[System]:
    """The system that a run folder names; `typed` is the name that the user typed besides, if any.

    A file never makes a module of its choice be imported: raises UserError where `name` is from outside of
    ganforge and not `typed`, or `typed` is another.
    """
    if typed not in (None, name):
        raise UserError(f"--system {typed}: the run is one of {printable(name)[:200]}")
    if ":" in name and typed is None:
        shown = printable(name)[:200]
        raise UserError(
            f"the run names the system {shown}, code outside of ganforge, which is not imported unasked: if "
            f"you trust it add --system {shown}, or in Python load(path, system={shown!r})"
        )
    return find(name)


def check_needs(system: type[System], name: str, data: DataSpec) -> None:
    """Raise UserError where `system` does not accept the values of `data`, or needs what it lacks."""
    if data.values not in system.accepts:
        kind, others = KINDS[data.values], [n for n in available() if data.values in find(n).accepts]
        raise UserError(
            f"{name} does not accept {kind}: use other data, or {', '.join(others[:-1])} or {others[-1]}"
        )
    missing = sorted(system.needs - data.offers)
    if missing:
        has = ", ".join(sorted(data.offers)) or "images only"
        hint = "add --pairs edges or downscale:4, or --sources FOLDER; " if "sources" in missing else ""
        if "embeddings" in missing and "captions" in data.offers:
            hint = "add --text-encoder RUN, a run of `ganforge train text_encoder`; "
        elif missing[0] in ("captions", "embeddings"):
            hint = "a caption for each image in a column `text` of metadata.jsonl, or in a .txt next to it; "
        raise UserError(
            f"{name} needs {' and '.join(missing)}; this data has {has}: {hint}see `ganforge data check`"
        )
