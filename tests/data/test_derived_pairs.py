"""What is made of images, on images where the answer is known."""

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.data.derived_pairs import blur, derivation, derived_shape, downscale, edges, grey, mask
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.arrays import Arrays
from ganforge.data.split import Split, in_memory


def random_pixels(count=3, channels=3, height=16, width=24):
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_grey_is_that_of_pillow():
    pixels = random_pixels()
    expected = np.stack(
        [np.asarray(Image.fromarray(p.permute(1, 2, 0).numpy()).convert("L")) for p in pixels]
    )
    assert (grey(pixels)[:, 0].int() - torch.from_numpy(expected).int()).abs().max() <= 1
    assert torch.equal(grey(pixels[:, :1]), pixels[:, :1])


def test_a_step_is_a_line_one_pixel_wide():
    pixels = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    pixels[:, 2, :, 8:] = 200  # a colour alone
    black = edges(pixels) == 0
    assert black.shape == (1, 1, 16, 16)
    assert black[0, 0].sum(1).tolist() == [1] * 16
    assert int(black[0, 0, 5].int().argmax()) in (7, 8)
    assert torch.equal(edges(pixels.transpose(2, 3))[0, 0].sum(0), edges(pixels)[0, 0].sum(1))


def test_a_square_has_a_closed_outline():
    pixels = torch.full((1, 1, 24, 24), 255, dtype=torch.uint8)
    pixels[..., 6:18, 6:18] = 0
    black = (edges(pixels) == 0)[0, 0]
    assert 36 <= int(black.sum()) <= 52
    assert not black[9:15, 9:15].any()
    assert black[4:8].any(0)[8:16].all()
    assert black[16:20].any(0)[8:16].all()


def test_flat_images_have_no_edges():
    for level in (0, 100, 255):
        assert (edges(torch.full((1, 3, 8, 8), level, dtype=torch.uint8)) == 255).all()


@pytest.mark.parametrize("pairs", ["edges", "grey", "blur", "mask", "downscale:4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_on_its_own(pairs, channels):
    pixels = random_pixels(count=40, channels=channels)
    before = pixels.clone()
    made = derivation(pairs, 16, 24)(pixels)
    assert made.shape == (40, *derived_shape(pairs, (channels, 16, 24)))
    assert made.shape[2:] == ((4, 6) if pairs == "downscale:4" else (16, 24))
    assert made.dtype == torch.uint8
    assert torch.equal(made[37:38], derivation(pairs, 16, 24)(pixels[37:38]))
    assert torch.equal(pixels, before)


def test_constants_survive_blurring_and_shrinking():
    flat = torch.full((1, 3, 16, 16), 77, dtype=torch.uint8)
    assert torch.equal(blur(flat), flat)
    assert torch.equal(downscale(flat, 4), flat[..., :4, :4])


def test_blur_spreads_a_point_and_keeps_its_sum():
    point = torch.zeros(1, 1, 33, 33, dtype=torch.uint8)
    point[..., 16, 16] = 255
    spread = blur(point)[0, 0].float()
    assert 0.95 < float(spread.sum()) / 255 < 1.05
    assert torch.equal(spread, spread.T)
    assert torch.equal(spread, spread.flip(0))


def test_shrinking_forgets_fine_detail():
    board = torch.arange(32) % 2 * 255
    fine = board.expand(1, 1, 16, 32).to(torch.uint8)
    small = downscale(fine, 4).int() - 127
    assert small[..., 2:-2].abs().max() <= 3  # without antialiasing: 127
    assert small.abs().max() <= 20  # at the border the mirror image doubles a stripe


def test_mask_hides_the_centre_alone():
    pixels = random_pixels()
    holed = mask(pixels)
    inside = torch.zeros(16, 24, dtype=torch.bool)
    inside[4:12, 6:18] = True
    assert (holed[..., inside] == 128).all()
    assert torch.equal(holed[..., ~inside], pixels[..., ~inside])


def test_pairs_of_a_lazy_split_are_those_of_one_in_memory():
    pixels = random_pixels(channels=1)
    whole = in_memory(pixels).with_derived(edges, (1, 16, 24))
    lazy = Split((1, 16, 24), lambda rows: pixels[rows], 3).with_derived(edges, (1, 16, 24))
    rows = torch.tensor([2, 0])
    assert torch.equal(whole.read_pairs(rows)[1], lazy.read_pairs(rows)[1])
    assert whole.source_shape == lazy.source_shape == (1, 16, 24)


def test_built_in_digits_can_be_binary_with_sources(monkeypatch):
    digits = np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8, 1)
    arrays = Arrays({"train": digits}, {}, ())
    monkeypatch.setattr("ganforge.data.open.locate", lambda options: arrays)
    dataset = open_dataset(DataOptions(data="mnist", pairs="blur", binarise="static"))
    assert dataset.splits["train"].pixels.unique().tolist() == [0, 255]
    assert dataset.splits["train"].sources.unique().numel() > 2
