"""Bicubic resampling against one written from the published formula."""

import numpy as np
import pytest
import torch
from imresize import by_formula
from PIL import Image

from ganforge.data.bicubic import resize
from ganforge.data.derived_pairs import downscale


@pytest.mark.parametrize(
    ("own", "new"),
    [((16, 24), (4, 6)), ((16, 24), (8, 12)), ((6, 5), (24, 20)), ((9, 13), (4, 5)), ((3, 2), (12, 1))],
)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_equals_the_formula(own, new, precision):
    image = np.random.default_rng(0).random(own)
    found = resize(torch.from_numpy(image)[None, None].to(precision), *new)
    assert found.dtype == precision
    assert np.abs(found[0, 0].numpy() - by_formula(image, *new)).max() < 1e-6


def test_downscale_rounds_the_formula():
    pixels = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8, generator=torch.manual_seed(0))
    made = downscale(pixels, 4)
    for image, small in zip(pixels.flatten(0, 1), made.flatten(0, 1), strict=True):
        exact = by_formula(image.double().numpy(), 4, 6).clip(0, 255)
        assert np.abs(small.double().numpy() - exact).max() <= 0.5 + 1e-3


def test_the_interior_is_that_of_pillow():
    """At borders Pillow cuts the kernel off, where MATLAB mirrors the image."""
    image = np.random.default_rng(1).random((64, 64)).astype(np.float32)
    other = np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC))
    found = resize(torch.from_numpy(image)[None, None], 16, 16)[0, 0].numpy()
    difference = np.abs(found - other)
    assert difference[2:-2, 2:-2].max() < 1e-3
    assert difference.max() > 1e-2


def test_turns_and_mirrors_go_with_it():
    image = torch.rand(1, 1, 12, 20, dtype=torch.float64)
    small = resize(image, 3, 5)
    assert torch.allclose(resize(image.flip(3), 3, 5), small.flip(3))
    assert torch.allclose(resize(image.transpose(2, 3), 5, 3), small.transpose(2, 3))
    assert torch.equal(resize(image, 12, 20), image)
