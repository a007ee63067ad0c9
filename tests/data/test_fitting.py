"""`--fit auto` cuts off no content."""

import numpy as np
import pytest
from drawn import encode, noise
from PIL import Image, ImageDraw

from ganforge.data.check import check
from ganforge.data.decode import decode_exactly
from ganforge.data.fitting import loses_content
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions


def figure(width, height, ground, reach=1.0, mode="RGB"):
    """A cross whose arms reach this share of the way to the borders."""
    image = Image.new(mode, (width, height), ground)
    draw = ImageDraw.Draw(image)
    across, down = reach * (width - 1) / 2, reach * (height - 1) / 2
    middle, centre = (width - 1) / 2, (height - 1) / 2
    ink = (200, 30, 30, 255)[: len(mode)]
    draw.line((middle - across, centre, middle + across, centre), fill=ink, width=3)
    draw.line((middle, centre - down, middle, centre + down), fill=ink, width=3)
    return np.asarray(image)


@pytest.mark.parametrize("size", [(20, 40), (40, 20), (30, 33)])
@pytest.mark.parametrize(
    ("mode", "ground"), [("RGB", (255, 255, 255)), ("RGB", (90, 120, 30)), ("RGBA", (9, 9, 9, 0))]
)
def test_limbs_outside_of_the_centre_are_noticed(size, mode, ground):
    assert loses_content(decode_exactly(encode(figure(size[0], size[1], ground, mode=mode))), 1.0)
    assert not loses_content(decode_exactly(encode(figure(size[0], size[1], ground, 0.4, mode))), 1.0)


def test_jpeg_noise_is_no_content():
    data = encode(figure(80, 40, (255, 255, 255), 0.3), "JPEG", quality=75)
    assert not loses_content(decode_exactly(data), 1.0)


def test_photos_are_cropped_unless_half_is_lost():
    assert not loses_content(decode_exactly(encode(noise(1, 20, 30))), 1.0)
    assert loses_content(decode_exactly(encode(noise(1, 20, 50))), 1.0)


def sprites(fill, reach, count=8):
    sizes = [(20 + number, 40 - number) for number in range(count)]
    arrays = [figure(*size, (0, 0, 0, 0), reach, "RGBA") for size in sizes]
    return fill({f"{number}.png": encode(array) for number, array in enumerate(arrays)})


def test_auto_pads_where_a_crop_would_cut_and_says_why(fill):
    path = sprites(fill, 1.0)
    dataset = open_dataset(DataOptions(data=str(path), size=32))
    assert dataset.options.fit == "pad"
    assert any(
        "--fit pad is chosen, since a crop would cut off content of about 8 of 8" in n for n in dataset.notes
    )
    report = check(DataOptions(data=str(path), size=32))
    assert any(line.startswith("fit         pad: a crop would cut off") for line in report.lines())
    explicit = open_dataset(DataOptions(data=str(path), size=32, fit="crop"))
    assert explicit.options.fit == "crop"
    assert explicit.fingerprint != dataset.fingerprint


def test_auto_crops_where_nothing_is_lost(fill):
    dataset = open_dataset(DataOptions(data=str(sprites(fill, 0.3)), size=32))
    assert dataset.options.fit == "crop"


def test_images_of_one_size_are_never_padded(fill):
    path = fill({f"{number}.png": encode(figure(20, 40, (255, 255, 255))) for number in range(3)})
    dataset = open_dataset(DataOptions(data=str(path)))
    assert dataset.options.fit == "crop"
    assert dataset.spec.shape == (3, 40, 20)
    assert not any("smaller" in line for line in check(DataOptions(data=str(path))).warnings)
    assert any("smaller than 64x64" in line for line in check(DataOptions(data=str(path), size=64)).warnings)
