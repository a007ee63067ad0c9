"""SSIM and MS-SSIM: laws, and a twin written from the formulas with SciPy."""

import numpy
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.metrics.similarity import SCALE_WEIGHTS, ms_ssim, num_scales, sample_pairs, ssim


def images(count: int, channels: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


def by_hand(left: numpy.ndarray, right: numpy.ndarray) -> tuple[float, float]:
    """SSIM and contrast-structure of two planes, by SciPy's Gaussian filter, where the window fits."""

    def smooth(plane: numpy.ndarray) -> numpy.ndarray:
        return gaussian_filter(plane, 1.5, radius=5, mode="constant")[5:-5, 5:-5]

    x, y = smooth(left), smooth(right)
    xx, yy, xy = smooth(left**2) - x**2, smooth(right**2) - y**2, smooth(left * right) - x * y
    c1, c2 = 2.55**2, 7.65**2
    contrast = (2 * xy + c2) / (xx + yy + c2)
    return float(((2 * x * y + c1) / (x**2 + y**2 + c1) * contrast).mean()), float(contrast.mean())


def related(side: int) -> tuple[Tensor, Tensor]:
    """Two images that are alike, so that no scale's mean is negative."""
    left = images(1, 2, side).double()
    return left, (0.7 * left + 0.3 * images(1, 2, side, 1).double()).clamp(0, 255)


@pytest.mark.parametrize("side", [11, 28])
def test_ssim_equals_the_definition(side: int) -> None:
    left, right = related(side)
    planes = [by_hand(left[0, c].numpy(), right[0, c].numpy())[0] for c in range(2)]
    assert ssim(left, right).item() == pytest.approx(numpy.mean(planes), rel=1e-9)


@pytest.mark.parametrize("side", [28, 64, 176])
def test_ms_ssim_equals_the_definition(side: int) -> None:
    left, right = related(side)
    scales = num_scales(side, side)
    weights = numpy.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    found = []
    for channel in range(2):
        x, y, value = left[0, channel].numpy(), right[0, channel].numpy(), 1.0
        for scale, weight in enumerate(weights):
            value *= by_hand(x, y)[0 if scale == scales - 1 else 1] ** weight
            x, y = (p[: len(p) // 2 * 2, : len(p) // 2 * 2] for p in (x, y))
            x, y = (p.reshape(len(p) // 2, 2, len(p) // 2, 2).mean((1, 3)) for p in (x, y))
        found.append(value)
    assert ms_ssim(left, right).item() == pytest.approx(numpy.mean(found), rel=1e-9)


@pytest.mark.parametrize(
    ("side", "scales"), [(10, 0), (11, 1), (28, 2), (32, 2), (64, 3), (175, 4), (176, 5), (999, 5)]
)
def test_as_many_scales_as_windows_fit(side: int, scales: int) -> None:
    assert num_scales(side, side + 3) == num_scales(side + 3, side) == scales


@pytest.mark.parametrize("function", [ssim, ms_ssim])
def test_equal_images_score_one_and_no_order_matters(function) -> None:
    left, right = images(3, 3, 32), images(3, 3, 32, 1)
    assert function(left, left).tolist() == pytest.approx([1, 1, 1], abs=1e-12)
    assert torch.equal(function(left, right), function(right, left))
    assert (function(left, right) < 0.6).all()
    alone = torch.cat([function(left[i : i + 1], right[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(function(left, right), alone, rtol=1e-12, atol=0)


def test_constant_images_have_a_closed_form() -> None:
    left, right = torch.full((1, 1, 20, 20), 100.0), torch.full((1, 1, 20, 20), 50.0)
    c1 = 2.55**2
    assert ssim(left, right).item() == pytest.approx((2 * 100 * 50 + c1) / (100**2 + 50**2 + c1), rel=1e-9)


def test_pairs_are_of_one_class_and_never_of_one_image() -> None:
    labels = torch.tensor([0, 1, 0, 2, 1, 1, 0])
    pairs = sample_pairs(7, labels, 50)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert torch.equal(labels[pairs[:, 0]], labels[pairs[:, 1]])
    assert set(labels[pairs[:, 0]].tolist()) == {0, 1}  # the single 2 has no other
    assert torch.equal(pairs, sample_pairs(7, labels, 50))
    assert (sample_pairs(7, None, 50) < 7).all()


def test_mistakes_are_named() -> None:
    small = images(1, 1, 10)
    for function in (ssim, ms_ssim):
        with pytest.raises(UserError, match="11 pixels or more"):
            function(small, small)
    with pytest.raises(UserError, match="equal shapes"):
        ssim(images(1, 1, 20), images(2, 1, 20))
    with pytest.raises(UserError, match="no two of one class"):
        sample_pairs(2, torch.tensor([0, 1]), 3)
