"""Whether a command means the run that is in its folder: what differs, in words, and the way on."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ganforge.data.spec import DataSpec
from ganforge.errors import UserError, printable
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.options import FREE_TO_CHANGE, LOCATIONS

SHOWN = 4
SHOWN_CLASSES = 6


def check_same(run: Run, config: RunConfig) -> None:
    """Raise UserError, with the differences and the way on, where `config` is not that of `run`.

    The path of the data does not count, their fingerprint does.
    """
    mine, theirs = run.config, config
    if mine.origin is not None:
        place = shlex.quote(str(run.path))
        raise UserError(
            f"{run.path} was imported and stays as it is: name a new folder with --run, and add "
            f"--from {place} --partial"
        )
    different = [
        f"{_option(name)} is {_value(there)} there and {_value(here)} here"
        for name, there, here in _differences(mine, theirs)
    ]
    if mine.system != theirs.system:
        different = [f"system is {mine.system} there and {theirs.system} here"]
    elif mine.fingerprint != theirs.fingerprint and not any(text.startswith("--size") for text in different):
        if not different:
            raise UserError(f"{run.path} was trained on other data: {ways_on(run, theirs.spec)}")
        different.insert(0, changes(mine.spec, theirs.spec))
    if different:
        shown = "; ".join(different[:SHOWN]) + ("; ..." if len(different) > SHOWN else "")
        raise UserError(
            f"{run.path} holds another run: {shown}: name a new folder with --run; {how_to_resume(run)}"
        )


def ways_on(run: Run, now: DataSpec) -> str:
    """What changed in the data of `run`, and what to do about it: ends a message."""
    folder = shlex.quote(str(run.path))
    return (
        f"{changes(run.config.spec, now)}: put the earlier data back, name their place with --data, or "
        f"start a new run with --run NEW --from {folder}"
    )


def how_to_resume(run: Run) -> str:
    """How `run` itself is continued: ends a message."""
    resume = f"`ganforge resume {shlex.quote(str(run.path))}` continues that run"
    command = original_command(run)
    return resume if command is None else f"{resume}, begun by `{command}`"


def original_command(run: Run) -> str | None:
    """The command that began `run`, from its log; None where the log does not have it."""
    commands = (line.get("command") for line in run.metrics("start"))
    return next((printable(str(command)) for command in commands if command), None)


def changes(then: DataSpec, now: DataSpec) -> str:
    """What differs between the data that a run was trained on and others, in words."""
    parts = []
    if then.num_images != now.num_images:
        parts.append(f"{then.num_images:,} training images then, {now.num_images:,} now")
    if then.shape != now.shape:
        parts.append(f"{_shape(then.shape)} then, {_shape(now.shape)} now")
    if then.class_names != now.class_names:
        parts.append(_changed_classes(then.class_names, now.class_names))
    if then.source_shape != now.source_shape:
        parts.append(f"{_sources(then)} then, {_sources(now)} now")
    if then.binary != now.binary:
        parts.append("black and white then, grey now" if then.binary else "grey then, black and white now")
    same = "as many training images of the same size, but other pixels, names, labels or held-out images"
    return "; ".join(parts) or same


def _changed_classes(then: tuple[str, ...], now: tuple[str, ...]) -> str:
    if not then or not now:
        return f"{_count(then)} then, {_count(now)} now"
    new, gone = [name for name in now if name not in then], [name for name in then if name not in now]
    words = [f"{label} {_names(names)}" for label, names in (("new:", new), ("gone:", gone)) if names]
    return f"{_count(then)} then, {_count(now)} now ({'; '.join(words) or 'in another order'})"


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} classes" if names else "no classes"


def _names(names: Iterable[str]) -> str:
    shown = [printable(name) for name in names]
    return ", ".join(shown[:SHOWN_CLASSES]) + (", ..." if len(shown) > SHOWN_CLASSES else "")


def _shape(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'color'}"


def _sources(spec: DataSpec) -> str:
    return "no sources" if spec.source_shape is None else f"sources of {_shape(spec.source_shape)}"


def _differences(mine: RunConfig, theirs: RunConfig) -> list[tuple[str, Any, Any]]:
    """Options with different values: name with its group, value there, value here.

    What follows from the data (`spec`, `fingerprint`) is none, nor is a place of files.
    """
    different = []
    for group in ("config", "data", "train"):
        there, here = _group(mine, group), _group(theirs, group)
        for name in sorted(there.keys() | here.keys()):
            full = f"{group}.{name}"
            if full in FREE_TO_CHANGE or full in LOCATIONS or there.get(name) == here.get(name):
                continue
            different.append((full, there.get(name), here.get(name)))
    return different


def _group(config: RunConfig, name: str) -> Mapping[str, Any]:
    values: Mapping[str, Any] = config.model_dump(mode="json")[name]
    return values


def _option(name: str) -> str:
    return f"--{name.partition('.')[2].replace('_', '-')}"


def _value(value: object) -> str:
    """A value as a message shows it; of a SHA-256 the beginning."""
    text = repr(value)
    return f"{text[:13]}...'" if isinstance(value, str) and len(value) == 64 else text
