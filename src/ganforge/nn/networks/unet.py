"""The generators of Isola et al. 2016: an encoder and a decoder, with skips (U-Net) or without."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from ganforge.nn.layers import initialise_normal, keep_dropping, norm_of

MOST_DEPTH = 8


def depth_of(height: int, width: int) -> int:
    """How often both sides can be halved, at most `MOST_DEPTH` times: 8 for 256x256, 6 for 64x64."""
    depth = 0
    while depth < MOST_DEPTH and height % 2 ** (depth + 1) == 0 and width % 2 ** (depth + 1) == 0:
        depth += 1
    return depth


class UNet(nn.Module):
    """Images to images in [-1, 1] of the same height and width, multiples of 2 to the power of `depth`.

    `depth` convolutions that halve (kernel 4, leaky ReLU 0.2 before each) and as many transposed ones that
    double (ReLU before each); `width` channels after the first, doubled at each up to eightfold. With `skips`
    each decoder block is also given the encoder's maps of its size, as they are before their activation.

    Instance norm with gain and bias, of each image's own statistics in training and in evaluation alike, is
    what batch norm does to a batch of one; none after the first convolution, at the bottleneck, where 1x1
    maps would become 0, and at the output. `norm` "batch" has the batch's statistics in training and running
    ones in evaluation. No convolution has a bias, with `biases` those without a norm. Dropout of 0.5 after
    the norm of `num_dropouts` decoder blocks, from number `first_dropout` on, is the generator's only noise:
    always on, in evaluation too.
    """

    def __init__(
        self,
        *,
        channels: int,
        outputs: int,
        depth: int,
        width: int,
        skips: bool,
        num_dropouts: int = 3,
        first_dropout: int = 0,
        norm: Literal["instance", "batch"] = "instance",
        biases: bool = False,
    ) -> None:
        super().__init__()
        self.skips, self.multiple = skips, 2**depth
        self.dropouts = range(first_dropout, first_dropout + num_dropouts)
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.encoder = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1, bias=biases and level in (0, depth - 1))
            for level, (before, after) in enumerate(zip([channels, *widths[:-1]], widths, strict=True))
        )
        self.encoder_norms = nn.ModuleList(norm_of(norm, after) for after in widths[1:-1])
        inner = widths[
            -2::-1
        ]  # outputs of the decoder blocks: the widths of the maps that they are joined with
        joined = [widths[-1], *(2 * maps if skips else maps for maps in inner)]
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, 2, 1, bias=biases and level == depth - 1)
            for level, (before, after) in enumerate(zip(joined, [*inner, outputs], strict=True))
        )
        self.decoder_norms = nn.ModuleList(norm_of(norm, after) for after in inner)
        initialise_normal(self)

    def stop_dropping(self) -> None:
        """Leave the dropout out from now on."""
        self.dropouts = range(0)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images in [-1, 1]; dropout draws from `generator`, or without one from torch's global state."""
        maps, kept = images, []
        for level, convolution in enumerate(self.encoder):
            maps = convolution(leaky_relu(maps, 0.2) if level else maps)
            if 0 < level < len(self.encoder) - 1:
                maps = self.encoder_norms[level - 1](maps)
            kept.append(maps)
        kept.pop()  # the bottleneck has no skip
        for level, norm in enumerate(self.decoder_norms):
            maps = norm(self.decoder[level](relu(maps)))
            if level in self.dropouts:
                maps = keep_dropping(maps, generator)
            skip = kept.pop()
            if self.skips:
                maps = torch.cat([maps, skip], 1)
        return torch.tanh(self.decoder[-1](relu(maps)).float())
