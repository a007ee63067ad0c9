"""PSNR, SSIM and luma against NumPy and SciPy written from the papers, and where the answer is known."""

import math

import numpy as np
import pytest
import torch
from imresize import by_formula
from scipy.signal import convolve2d

from ganforge.data.bicubic import resize
from ganforge.data.derived_pairs import downscale
from ganforge.evaluation.metrics.similarity import luma, mean_gradient, psnr, ssim, without_border


def pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def smooth(count=2, channels=3, side=48, seed=0):
    """Images with something to see, so that SSIM is neither 0 nor 1."""
    small = pixels(count, channels, side // 8, side // 8, seed=seed).double()
    return resize(small, side, side).round().clamp(0, 255).to(torch.uint8)


def y_by_formula(image):
    """`rgb2ycbcr` of one image `[3, height, width]`, from the matrix of its documentation."""
    red, green, blue = image.astype(np.float64) / 255
    return 16 + 65.481 * red + 128.553 * green + 24.966 * blue


def psnr_by_formula(one, other):
    return 10 * math.log10(255**2 / np.mean((one - other) ** 2))


def ssim_by_formula(one, other):
    """The reference code of Wang et al. 2004: `filter2` with a window in two dimensions, shape 'valid'."""
    x, y = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values):
        return convolve2d(values, window, mode="valid")

    m1, m2 = mean(one), mean(other)
    v1, v2, v12 = mean(one**2) - m1**2, mean(other**2) - m2**2, mean(one * other) - m1 * m2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return np.mean((2 * m1 * m2 + c1) * (2 * v12 + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2)))


@pytest.mark.parametrize("noise", [1, 20, 200])
def test_equals_the_formulas(noise):
    originals = smooth()
    other = (originals.int() + pixels(*originals.shape, seed=1).int() % noise).clamp(0, 255).to(torch.uint8)
    ys = luma(other), luma(originals)
    for index in range(2):
        first, second = y_by_formula(other[index].numpy()), y_by_formula(originals[index].numpy())
        assert np.abs(ys[0][index].numpy() - first).max() < 1e-9
        assert float(ssim(*(y[:, None] for y in ys))[index]) == pytest.approx(
            ssim_by_formula(first, second), abs=1e-9
        )
        if noise > 1:
            assert float(psnr(*ys)[index]) == pytest.approx(psnr_by_formula(first, second), abs=1e-9)


def test_bicubic_against_an_independent_chain():
    """Shrunk, enlarged, luma, border, PSNR: each step of the right side is the test's own, pixel by pixel."""
    original = (smooth(1, side=32) // 2) + pixels(1, 3, 32, 32) // 4
    large = resize(downscale(original, 4).double(), 32, 32).round().clamp(0, 255).to(torch.uint8)
    found = psnr(without_border(luma(large), 4), without_border(luma(original), 4))

    def rounded(planes):
        return np.clip(np.floor(planes + 0.5), 0, 255)

    small = rounded(np.array([by_formula(plane, 8, 8) for plane in original[0].double().numpy()]))
    again = rounded(np.array([by_formula(plane, 32, 32) for plane in small]))
    inside = np.s_[4:-4, 4:-4]
    expected = psnr_by_formula(y_by_formula(again)[inside], y_by_formula(original[0].numpy())[inside])
    assert 10 < expected < 40
    assert float(found) == pytest.approx(expected, abs=0.01)


def test_known_values():
    flat = torch.full((1, 16, 16), 100, dtype=torch.uint8)
    assert float(psnr(flat, flat + 1)) == pytest.approx(48.1308, abs=1e-4)
    assert float(psnr(flat, flat)) == math.inf
    plane = luma(smooth())[:, None]
    assert ssim(plane, plane).tolist() == pytest.approx([1, 1], abs=1e-12)
    assert torch.allclose(ssim(plane, plane.flip(0)), ssim(plane.flip(0), plane))
    white, black = torch.full((1, 3, 1, 1), 255), torch.zeros(1, 3, 1, 1)
    assert [float(luma(p.to(torch.uint8))) for p in (black, white)] == pytest.approx([16, 235])
    grey = pixels(2, 1, 4, 4)
    assert torch.equal(luma(grey), grey[:, 0].double())


def test_the_gradient_of_a_slope():
    slope = 3.0 * torch.arange(10)[None, :, None] + 4.0 * torch.arange(12)[None, None]
    assert float(mean_gradient(slope)) == pytest.approx(5)
    assert float(mean_gradient(without_border(slope, 2))) == pytest.approx(5)
    assert without_border(slope, 2).shape == (1, 6, 8)
