"""Small runs to serve: trained for two steps, since what they draw does not matter here."""

from pathlib import Path
from typing import Any

import pytest
from command import draw_images

import ganforge

TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan": ("images", {"width": 4, "batch": 4}),
    "cgan": ("mnist", {"batch": 4, "generator_units": (8, 8, 8)}),
    "pixelcnn": ("mnist", {"levels": 2, "width": 4, "layers": 1, "batch": 2, "conditional": True}),
    "gan": ("ring", {"generator_hidden": [8], "discriminator_hidden": [8], "batch": 4}),
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each of `TRAININGS`."""
    folder = tmp_path_factory.mktemp("served")
    images = draw_images(tmp_path_factory.mktemp("data") / "images", side=16)
    for name, (data, options) in TRAININGS.items():
        place = str(images) if data == "images" else data
        ganforge.train(name, place, run=folder / name, steps=2, quiet=True, device="cpu", **options)
    return folder
