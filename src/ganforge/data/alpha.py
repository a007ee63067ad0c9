"""Images with alpha as networks see them: four channels, colours multiplied by alpha.

Premultiplied, transparent pixels have one value whatever colour their file hides there, resampling needs no
care, and a generator that is wrong about an edge gives a shade of the right colour. In [-1, 1], -1 of
the colours is black and that of alpha is clear.
"""

import torch
from PIL import ImageColor
from torch import Tensor

CHANNELS = 4
CHECKS = (1.0, 0.6)
"""The greys of a checkerboard, in [-1, 1]."""
CHECK_SIDE = 8  # pixels


def on_background(images: Tensor, background: str) -> Tensor:
    """`images` `[n, 4, height, width]`, premultiplied in [-1, 1], on a colour: `[n, 3, height, width]`."""
    paper = torch.tensor(ImageColor.getrgb(background)[:3], device=images.device) / 127.5 - 1
    return _over(images, paper.view(3, 1, 1))


def on_checkerboard(images: Tensor, scale: int = 1) -> Tensor:
    """`images` as of `on_background`, on grey checks, for images that are shown `scale` times as large."""
    side = max(1, CHECK_SIDE // scale)
    rows, columns = (torch.arange(length, device=images.device) // side for length in images.shape[2:])
    dark = (rows[:, None] + columns) % 2
    return _over(images, torch.where(dark == 1, CHECKS[1], CHECKS[0]))


def straight(images: Tensor) -> Tensor:
    """`images` with alpha as files have them, in [-1, 1]: colours not multiplied by alpha.

    Colours are at most alpha; where nothing is visible they are black.
    """
    alpha = ((images[:, 3:] + 1) / 2).clamp(0, 1)
    colours = ((images[:, :3] + 1) / 2).clamp(min=0).minimum(alpha) / alpha.clamp(min=1e-6)
    return torch.cat([colours, alpha], 1) * 2 - 1


def _over(images: Tensor, paper: Tensor) -> Tensor:
    alpha = ((images[:, 3:] + 1) / 2).clamp(0, 1)
    colours = ((images[:, :3] + 1) / 2).clamp(min=0).minimum(alpha)
    return 2 * colours + (1 - alpha) * (paper + 1) - 1
