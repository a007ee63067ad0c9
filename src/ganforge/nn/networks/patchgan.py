"""The discriminators of Isola et al. 2016, which score every patch of an image (PatchGAN)."""

from itertools import pairwise
from typing import ClassVar, Literal

from torch import Tensor, nn

from ganforge.nn.layers import initialise_normal

Patch = Literal["1", "16", "70", "286"]
HALVINGS: dict[Patch, int] = {"1": 0, "16": 1, "70": 3, "286": 5}
"""Side of a patch in pixels -> convolutions of stride 2."""


def smallest_side(patch: Patch) -> int:
    """The shortest side, in pixels, whose maps a discriminator of this patch can normalise: 24 for 70."""
    return 2 if patch == "1" else 3 * 2 ** HALVINGS[patch]


class PatchDiscriminator(nn.Module):
    """Images to logits `[batch, height, width]`, one for each patch of `patch` x `patch` pixels.

    `patch` 70: convolutions of kernel 4, three of stride 2 and two of stride 1, of `width`, 2, 4 and 8 times
    as many channels and 1, so 30x30 logits of 256x256 pixels; 16 and 286: one and five of stride 2. Patches
    overlap and reach over the border. `patch` 1: three convolutions of kernel 1, so that each pixel is scored
    on its own. Leaky ReLU 0.2; instance norm, as in the generator, except after the first convolution; no
    biases.
    """

    image_first: ClassVar = "layers"

    def __init__(self, *, channels: int, width: int, patch: Patch) -> None:
        super().__init__()
        halvings = HALVINGS[patch]
        kernel_size, padding = (1, 0) if patch == "1" else (4, 1)
        widths = [width * min(2**level, 8) for level in range(halvings + 1)]
        if patch == "1":
            widths = [width, 2 * width]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(pairwise([channels, *widths])):
            stride = 2 if level < halvings else 1
            layers.append(nn.Conv2d(before, after, kernel_size, stride, padding, bias=False))
            if level:
                layers.append(nn.InstanceNorm2d(after, affine=True))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(nn.Conv2d(widths[-1], 1, kernel_size, 1, padding, bias=False))
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of patches."""
        return self.layers(images).squeeze(1)
