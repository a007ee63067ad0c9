"""Trackio: a local dashboard, or a space on the Hugging Face hub, continued where the training is resumed."""

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import trackio

PROJECT = "ganforge"


class Trackio:
    """Writes to the project `ganforge` of the library's own database (TRACKIO_DIR)."""

    replays: ClassVar[bool] = False

    def __init__(self, run: Path, identity: str, config: Mapping[str, Any]) -> None:
        name = f"{run.resolve().name}-{identity[-6:]}"
        with redirect_stdout(io.StringIO()):  # how to show it, which `docs/runs.md` says
            trackio.init(project=PROJECT, name=name, config=dict(config), resume="allow", embed=False)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One curve for each name."""
        trackio.log(dict(values), step=step)

    def text(self, step: int, name: str, text: str) -> None:
        """A line of text."""
        trackio.log({name: text}, step=step)

    def image(self, step: int, name: str, path: Path) -> None:
        """An image among those of its name."""
        trackio.log({name: trackio.Image(str(path))}, step=step)

    def close(self) -> None:
        """Write what is left."""
        with redirect_stdout(io.StringIO()):
            trackio.finish()


def start(run: Path, identity: str, config: Mapping[str, Any], out: Path | None) -> Trackio:
    """A run of the library; `out` is not used, since its database is its own."""
    return Trackio(run, identity, config)
