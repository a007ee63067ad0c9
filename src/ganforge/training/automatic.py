"""The system for data that were given without one."""

import shlex
from pathlib import Path
from typing import NamedTuple

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.own import OwnData
from ganforge.runs.device import choose_device
from ganforge.runs.folder import Run
from ganforge.systems.discovery import find_recorded, suggest_system
from ganforge.training.plan import default_path

AUTO = "auto"
"""The name of no system, for the one that suits the data."""


class Chosen(NamedTuple):
    """A system, lines that say why, and the data as opened for the choice."""

    system: str
    notes: tuple[str, ...]
    dataset: Dataset | None


def choose_system(data: DataOptions, run: Path | None, device: str, own: OwnData | None = None) -> Chosen:
    """The system for these data on this device; that of the run in the folder `run` where there is one.

    Raises UserError where the data cannot be opened or are too few.
    """
    if run is not None and (run / "config.json").is_file():
        recorded = Run.open(run).config.system
        find_recorded(recorded)
        return Chosen(recorded, (), None)
    dataset = open_dataset(data, own)
    spec = dataset.spec
    kind = "cuda" if choose_device(device).type == "cuda" else "cpu"
    name, why = suggest_system(spec, kind)
    if data.text_encoder is not None:
        name, why = "gan_cls", "images from captions"
    lines = [f"{name} for this data: {why}; others: ganforge list systems"]
    name_of_data = shlex.quote(data.data)
    if name in ("dcgan", "r3gan") and spec.caption_alphabet:
        encoder = shlex.quote(str(default_path("text_encoder", data)))
        lines.append(
            "the captions are not used; for images from text: ganforge train text_encoder --data "
            f"{name_of_data}, then ganforge train gan_cls --data {name_of_data} --text-encoder {encoder}"
        )
    elif name in ("dcgan", "r3gan") and spec.class_names:
        lines.append(f"the classes are not used; to ask for one: ganforge train acgan --data {name_of_data}")
    return Chosen(name, tuple(lines), dataset)
