"""How near images are to the originals: luma, PSNR, and how sharp they are beside them.

SSIM is in `similarity`. All of `[count, ...]` in float64, values from 0 to 255, one number for each image.
"""

import torch
from torch import Tensor

LUMA = (65.481, 128.553, 24.966)  # ITU-R BT.601, studio swing: 16 is black, 235 white
PEAK = 255.0


def luma(pixels: Tensor) -> Tensor:
    """Y float64 `[count, height, width]` of uint8 `[count, 1 or 3, height, width]`, as MATLAB's `rgb2ycbcr`.

    16 + 65.481 R + 128.553 G + 24.966 B with R, G, B in [0, 1], not rounded. Grey images have no luma to
    take: they are returned as they are, from 0 to 255.
    """
    values = pixels.double()
    if pixels.shape[1] == 1:
        return values[:, 0]
    weights = torch.tensor(LUMA, dtype=torch.float64, device=pixels.device) / 255
    return 16 + torch.einsum("c,nchw->nhw", weights, values)


def without_border(images: Tensor, border: int) -> Tensor:
    """`images` `[..., height, width]` without `border` rows and columns on each side."""
    height, width = images.shape[-2:]
    return images[..., border : height - border, border : width - border]


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    """10 log10(255^2 / mean squared error) in dB, `[count]`; infinite where they are equal."""
    errors = (images.double() - originals.double()).square().flatten(1).mean(1)
    return 10 * (PEAK**2 / errors).log10()


def mean_gradient(images: Tensor) -> Tensor:
    """The mean length of the gradient `[count]` of `[count, height, width]`, in levels per pixel.

    By differences to the next pixel across and down. The sharper an image, or the noisier, the longer.
    """
    values = images.double()
    across = values[:, :-1, 1:] - values[:, :-1, :-1]
    down = values[:, 1:, :-1] - values[:, :-1, :-1]
    return torch.hypot(across, down).flatten(1).mean(1)
