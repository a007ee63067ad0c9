"""The image of samples that goes along with a model."""

from pathlib import Path

from PIL import Image

from ganforge.reporting import grids
from ganforge.runs.trained import Trained
from ganforge.system import LatentSystem, generates_images

NUM_SHOWN = 64


def write_samples(trained: Trained, path: Path) -> bool:
    """A grid of samples where latents alone make them, else the last preview up to its step, if any."""
    system = trained.system
    if not generates_images(system):
        return False
    if isinstance(system, LatentSystem) and not system.needs & {"embeddings", "sources"}:
        samples = trained.sample(NUM_SHOWN)
        points = trained.run.config.spec.values == "points"
        (grids.scatter(samples[:, :, 0, 0]) if points else grids.grid(samples)).save(path)
        return True
    previews = [p for p in (trained.run.path / "samples").glob("[0-9]*.png") if p.stem.isdigit()]
    earlier = [preview for preview in previews if int(preview.stem) <= trained.step]
    if earlier:
        with Image.open(max(earlier, key=lambda preview: int(preview.stem))) as image:
            image.save(path)
    return bool(earlier)
