"""How near pictures are to the originals: luma, PSNR, SSIM, and how sharp they are beside them.

All of `[count, ...]` in float64, values from 0 to 255, one number for each picture.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

LUMA = (65.481, 128.553, 24.966)  # ITU-R BT.601, studio swing: 16 is black, 235 white
WINDOW, SIGMA, K1, K2, PEAK = 11, 1.5, 0.01, 0.03, 255.0


def luma(pixels: Tensor) -> Tensor:
    """Y float64 `[count, height, width]` of uint8 `[count, 1 or 3, height, width]`, as MATLAB's `rgb2ycbcr`.

    16 + 65.481 R + 128.553 G + 24.966 B with R, G, B in [0, 1], not rounded. Grey pictures have no luma to
    take: they are returned as they are, from 0 to 255.
    """
    values = pixels.double()
    if pixels.shape[1] == 1:
        return values[:, 0]
    weights = torch.tensor(LUMA, dtype=torch.float64, device=pixels.device) / 255
    return 16 + torch.einsum("c,nchw->nhw", weights, values)


def without_border(pictures: Tensor, border: int) -> Tensor:
    """`pictures` `[..., height, width]` without `border` rows and columns on each side."""
    height, width = pictures.shape[-2:]
    return pictures[..., border : height - border, border : width - border]


def psnr(pictures: Tensor, originals: Tensor) -> Tensor:
    """10 log10(255^2 / mean squared error) in dB, `[count]`; infinite where they are equal."""
    errors = (pictures.double() - originals.double()).square().flatten(1).mean(1)
    return 10 * (PEAK**2 / errors).log10()


def ssim(pictures: Tensor, originals: Tensor) -> Tensor:
    """Structural similarity `[count]` of `[count, height, width]`: the mean over whole windows.

    Wang et al. 2004, sections III B and C: Gaussian windows of 11x11, standard deviation 1.5, K1 0.01,
    K2 0.03, range 255; only windows that lie inside the picture. Sides must be 11 or more.
    """
    x, y = pictures.double(), originals.double()
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x = _blurred(x * x) - mean_x.square()
    variance_y = _blurred(y * y) - mean_y.square()
    covariance = _blurred(x * y) - mean_x * mean_y
    first, second = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    likeness = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    likeness /= (mean_x.square() + mean_y.square() + first) * (variance_x + variance_y + second)
    return likeness.flatten(1).mean(1)


def mean_gradient(pictures: Tensor) -> Tensor:
    """The mean length of the gradient `[count]` of `[count, height, width]`, in levels per pixel.

    By differences to the next pixel across and down. The sharper a picture, or the noisier, the longer.
    """
    values = pictures.double()
    across = values[:, :-1, 1:] - values[:, :-1, :-1]
    down = values[:, 1:, :-1] - values[:, :-1, :-1]
    return torch.hypot(across, down).flatten(1).mean(1)


def _blurred(pictures: Tensor) -> Tensor:
    """Weighted means over all whole windows, rows and columns one after the other."""
    steps = range(-(WINDOW // 2), WINDOW // 2 + 1)
    bell = [math.exp(-0.5 * (step / SIGMA) ** 2) for step in steps]
    weights = torch.tensor(bell, dtype=torch.float64, device=pictures.device) / sum(bell)
    rows = conv2d(pictures[:, None], weights.reshape(1, 1, 1, -1))
    return conv2d(rows, weights.reshape(1, 1, -1, 1))[:, 0]
