"""TensorBoard: event files, written by tensorboardX; made anew from the log at every start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter

FOLDER = "tensorboard"
EVENTS = "events.out.tfevents.*"


class TensorBoard:
    """Writes one event file; those of earlier starts of the run are removed."""

    replays: ClassVar[bool] = True

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob(EVENTS):
            earlier.unlink()
        self._writer = SummaryWriter(str(folder), flush_secs=10)
        self._writer.add_text(
            "config", "\n".join(f"    {name}: {value}" for name, value in config.items()), 0
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One curve for each name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        """A line in the tab of texts."""
        self._writer.add_text(name, text, step)

    def image(self, step: int, name: str, path: Path) -> None:
        """An image in the tab of images."""
        with Image.open(path) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def start(run: Path, identity: str, config: Mapping[str, Any], out: Path | None) -> TensorBoard:
    """Event files in `out`, by default a folder of the run."""
    return TensorBoard(run / FOLDER if out is None else out, config)
