"""Drawings of any size and pen become lines one pixel wide; what is no drawing is left alone."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ganforge.data.derived_pairs import edges
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.generation.lines import find_drawing, is_thin, thinned


def ring(side: int, pen: int, ground: str = "white", ink: str = "black") -> torch.Tensor:
    """A circle of that pen, float `[3, side, side]` in [0, 1]; the middle of its line is 0.35 sides out."""
    image = Image.new("RGB", (side, side), ground)
    reach = 0.35 * side + pen / 2
    box = (side / 2 - reach, side / 2 - reach, side / 2 + reach - 1, side / 2 + reach - 1)
    ImageDraw.Draw(image).ellipse(box, outline=ink, width=pen)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


@pytest.mark.parametrize(
    ("side", "pen"), [(64, 1), (64, 4), (64, 8), (256, 1), (256, 12), (512, 2), (512, 12)]
)
def test_any_pen_on_any_size_becomes_the_same_line(side: int, pen: int) -> None:
    drawing = find_drawing(ring(side, pen), 64, 64)
    assert drawing is not None
    assert drawing.thin.shape == (64, 64)
    rows, columns = drawing.thin.nonzero(as_tuple=True)
    distance = torch.hypot(rows - 31.5, columns - 31.5)
    assert float((distance - 0.35 * 64).abs().max()) < 2.5
    around = torch.atan2(rows - 31.5, columns - 31.5)
    assert len(torch.histc(around, 24, -3.15, 3.15).nonzero()) == 24  # the circle is closed
    assert 120 < len(rows) < 220  # one pixel wide: the circumference is 141


@pytest.mark.parametrize(("ground", "ink"), [("white", "red"), ("#202040", "white"), ("#f0f0e0", "#8080ff")])
def test_pens_and_grounds_of_any_colour(ground: str, ink: str) -> None:
    plain, other = (find_drawing(ring(256, 6, *colours), 64, 64) for colours in ((), (ground, ink)))
    assert plain is not None
    assert other is not None
    assert torch.equal(plain.thin, other.thin)


def test_edges_of_training_are_thin_already() -> None:
    split = open_dataset(DataOptions(data="emoji")).splits["test"]
    for lines in edges(split.read(torch.arange(0, 400, 20))):
        drawing = find_drawing(lines / 255, 64, 64)
        assert drawing is not None
        assert is_thin(drawing)
        assert torch.equal(drawing.ink, lines[0] == 0)


def test_photos_and_flat_colours_are_no_drawings() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    shaded = torch.stack([rows, columns, (rows + columns) / 2])
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    disc = torch.where(torch.hypot(rows - 0.5, columns - 0.5) < 0.3, 0.0, 1.0)[None]
    for image in (shaded, noise, disc, torch.full((3, 64, 64), 0.5)):
        assert find_drawing(image, 64, 64) is None


def test_a_filled_shape_among_lines_gets_an_outline() -> None:
    image = ring(256, 3)
    image[:, 110:146, 110:146] = 0
    drawing = find_drawing(image, 256, 256)
    assert drawing is not None
    assert not drawing.thin[120:136, 120:136].any()
    assert drawing.thin[105:151, 105:151].any()


def test_thinning_keeps_ends_and_leaves_nothing_wide() -> None:
    bar = torch.zeros(20, 60, dtype=torch.bool)
    bar[7:12, 5:55] = True
    line = thinned(bar)
    assert (line.sum(0) <= 1).all()
    assert 42 <= int(line.sum()) <= 50
    assert torch.equal(thinned(line), line)
