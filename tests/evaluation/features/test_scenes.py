"""Scenes are read back from their pixels: nearly always those of real images, and damage is seen."""

import numpy as np
import pytest
import torch

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.arrays import Arrays
from ganforge.data.sources.catalogue import locate
from ganforge.data.sources.scene_attributes import COLOUR, FIRST, KIND, NONE, PLACE, SECOND
from ganforge.data.sources.scenes import draw_scenes, sorted_digits
from ganforge.evaluation.features.scenes import UNREADABLE, read_scenes


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return open_dataset(DataOptions(data="scenes"))


def test_real_images_read_back_right(scenes: Dataset) -> None:
    assert scenes.scenes is not None
    attributes = scenes.scenes["test"]
    right = read_scenes(scenes.splits["test"].read(torch.arange(len(attributes)))) == attributes
    assert float(right.all(1).float().mean()) >= 0.99
    others = [column for column in range(9) if column not in (FIRST + KIND, SECOND + KIND)]
    assert float(right[:, others].all(1).float().mean()) >= 0.999
    shapes = attributes[:, FIRST + KIND] >= 10
    assert float(right[shapes, FIRST + KIND].float().mean()) >= 0.995


def test_real_images_of_64_pixels(scenes: Dataset) -> None:
    assert scenes.scenes is not None
    mnist = locate(DataOptions(data="mnist"))
    assert isinstance(mnist, Arrays)
    attributes = scenes.scenes["test"][:400]
    drawn = draw_scenes(attributes.numpy(), sorted_digits(mnist, "test"), 64, np.random.default_rng(0))
    assert float((read_scenes(torch.from_numpy(drawn)) == attributes).all(1).float().mean()) >= 0.99


def test_damage_is_seen(scenes: Dataset) -> None:
    """Other colours, mirrored places, objects taken away, and images that show nothing."""
    assert scenes.scenes is not None
    attributes = scenes.scenes["test"][:200]
    images = scenes.splits["test"].read(torch.arange(200))
    mirrored = read_scenes(images.flip(3))
    sideways = (attributes[:, FIRST + PLACE] < 2) & (attributes[:, SECOND + KIND] == NONE)
    assert torch.equal(mirrored[sideways, FIRST + PLACE], 1 - attributes[sideways, FIRST + PLACE])
    swapped = read_scenes(images[:, [1, 0, 2]])  # red and green change places
    red = (attributes[:, FIRST + COLOUR] == 0) & (attributes[:, SECOND + KIND] == NONE)
    assert set(swapped[red, FIRST + COLOUR].tolist()) == {1}
    empty = read_scenes(torch.full((3, 3, 32, 32), 128, dtype=torch.uint8))
    assert bool((empty[:, FIRST:] == UNREADABLE).all())
    noise = torch.randint(256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    assert bool((read_scenes(noise)[:, FIRST] == UNREADABLE).all())
    two = attributes[:, SECOND + KIND] != NONE
    apart = two & (attributes[:, FIRST + PLACE] == 0)
    halved = images[apart].clone()
    halved[:, :, :, 16:] = halved[:, :, :1, :1]
    assert bool((read_scenes(halved)[:, SECOND + KIND] == NONE).all())
