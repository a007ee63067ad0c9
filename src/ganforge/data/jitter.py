"""Random crops of enlarged images, the same crop for an image and its source."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

FEW_COLOURS = 32
NUM_LOOKED_AT = 64


def has_few_colours(pixels: Tensor) -> bool:
    """Whether `pixels` uint8 `[count, channels, height, width]` have 32 colours in all, or fewer.

    Drawings and label maps do: mixed at the borders of regions, their colours would mean other classes.
    """
    colours = pixels.to(torch.int64).flatten(2).movedim(1, 2).flatten(0, 1)
    return len(colours.unique(dim=0)) <= FEW_COLOURS


def crop_enlarged(pixels: Tensor, corners: Tensor, jitter: int, *, nearest: bool = False) -> Tensor:
    """`pixels` uint8 enlarged by `jitter` pixels each way, cut back to their size from these corners.

    `pixels` `[batch, channels, height, width]`; `corners` int64 `[batch, 2]`, top and left, from 0 to
    `jitter`. Bilinear, or `nearest`, which makes no new colours.
    """
    height, width = pixels.shape[2:]
    size = (height + jitter, width + jitter)
    if nearest:
        large = interpolate(pixels, size, mode="nearest-exact")
    else:
        smooth = interpolate(pixels.float(), size, mode="bilinear", align_corners=False)
        large = smooth.round_().to(torch.uint8)
    cut = torch.empty_like(pixels)
    for row, (top, left) in enumerate(corners.tolist()):
        cut[row] = large[row, :, top : top + height, left : left + width]
    return cut
