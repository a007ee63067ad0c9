"""Trackers: the same record as `metrics.jsonl`, shown elsewhere; one adapter file each, an extra each."""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ganforge.errors import UserError

LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}
"""Tracker -> the library that its adapter, the file of its name here, imports. The extra has its name."""


class Tracker(Protocol):
    """Where numbers, texts and images of a run go; steps never go back."""

    replays: ClassVar[bool]
    """Whether it is made anew from the whole log at every start, rather than continued."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name."""
        ...

    def text(self, step: int, name: str, text: str) -> None:
        """A line of text."""
        ...

    def image(self, step: int, name: str, path: Path) -> None:
        """The PNG at `path`."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def check_tracker(name: str | None) -> None:
    """Raise UserError where the library of the tracker `name` is not installed."""
    if name is not None and importlib.util.find_spec(LIBRARIES[name]) is None:
        raise UserError(f"{name} needs the library {LIBRARIES[name]}: type `pip install 'ganforge[{name}]'`")


def open_tracker(
    name: str, run: Path, identity: str, config: Mapping[str, Any], out: Path | None = None
) -> Tracker:
    """The tracker `name` for the run folder `run`, whose training is `identity`.

    `out` is where it writes files. Raises UserError where its library is not installed, or cannot start.
    """
    check_tracker(name)
    adapter = importlib.import_module(f"ganforge.reporting.trackers.{name}")
    try:
        tracker: Tracker = adapter.start(run, identity, config, out)
    except Exception as error:  # whatever the library raises, such as for want of a login
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{name} cannot start: {first}") from error
    return tracker
