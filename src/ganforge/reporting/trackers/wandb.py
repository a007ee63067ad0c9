"""Weights & Biases: one run there for each training, continued where the training is resumed."""

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import wandb

PROJECT = "ganforge"


class WeightsAndBiases:
    """Sends to the project `ganforge`, or where WANDB_PROJECT, WANDB_MODE and so on say."""

    replays: ClassVar[bool] = False

    def __init__(self, run: Path, identity: str, config: Mapping[str, Any], out: Path | None) -> None:
        settings = wandb.Settings(silent=True, console="off")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.resolve().name,
            id=identity,
            resume="allow",
            config=dict(config),
            dir=str(run if out is None else out),
            settings=settings,
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One curve for each name."""
        self._run.log(dict(values), step=step)

    def text(self, step: int, name: str, text: str) -> None:
        """A line of HTML."""
        self._run.log({name: wandb.Html(escape(text))}, step=step)

    def image(self, step: int, name: str, path: Path) -> None:
        """An image among those of its name."""
        self._run.log({name: wandb.Image(str(path))}, step=step)

    def close(self) -> None:
        """Wait until all is sent."""
        self._run.finish()


def start(run: Path, identity: str, config: Mapping[str, Any], out: Path | None) -> WeightsAndBiases:
    """A run of the library, whose local files are in `out`, by default in the run folder."""
    return WeightsAndBiases(run, identity, config, out)
