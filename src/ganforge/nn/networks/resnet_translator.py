"""The residual generator of Zhu et al. 2017 (CycleGAN), after Johnson et al. 2016."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from ganforge.nn.layers import initialise_normal, keep_dropping, norm_of


class TranslatorBlock(nn.Module):
    """Maps to maps of the same shape: convolution, norm, ReLU, convolution and norm, added to the input.

    Maps are padded with their mirror image. With `drops` there is dropout of 0.5 in the middle, always on.
    """

    def __init__(self, width: int, norm: Literal["instance", "batch"], drops: bool) -> None:
        super().__init__()
        self.drops = drops
        self.convolution1 = nn.Conv2d(width, width, 3, bias=False)
        self.norm1 = norm_of(norm, width)
        self.convolution2 = nn.Conv2d(width, width, 3, bias=False)
        self.norm2 = norm_of(norm, width)

    def forward(self, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Maps."""
        hidden = relu(self.norm1(self.convolution1(_mirrored(maps, 1))))
        if self.drops:
            hidden = keep_dropping(hidden, generator)
        return maps + self.norm2(self.convolution2(_mirrored(hidden, 1)))


class ResNetTranslator(nn.Module):
    """Images to images in [-1, 1] of the same height and width, multiples of 4, 8 or more.

    A convolution of kernel 7, two that halve, `blocks` residual blocks, two transposed ones that double and
    one of kernel 7; `width` channels after the first, twice and four times as many in the middle. Norms and
    dropout are those of the U-Net: instance norm with gain and bias, or "batch"; dropout in `num_dropouts`
    blocks from number `first_dropout` on, the only noise. Only the last convolution has a bias.
    """

    multiple: ClassVar = 4

    def __init__(
        self,
        *,
        channels: int,
        outputs: int,
        width: int,
        blocks: int,
        num_dropouts: int = 0,
        first_dropout: int = 0,
        norm: Literal["instance", "batch"] = "instance",
    ) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        dropouts = range(first_dropout, first_dropout + num_dropouts)
        self.first = nn.Conv2d(channels, width, 7, bias=False)
        self.first_norm = norm_of(norm, width)
        self.halvings = nn.ModuleList(nn.Conv2d(size, 2 * size, 3, 2, 1, bias=False) for size in widths[:2])
        self.halving_norms = nn.ModuleList(norm_of(norm, size) for size in widths[1:])
        self.blocks = nn.ModuleList(
            TranslatorBlock(widths[-1], norm, index in dropouts) for index in range(blocks)
        )
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(2 * size, size, 3, 2, 1, 1, bias=False) for size in reversed(widths[:2])
        )
        self.doubling_norms = nn.ModuleList(norm_of(norm, size) for size in reversed(widths[:2]))
        self.output = nn.Conv2d(width, outputs, 7)
        initialise_normal(self)

    def stop_dropping(self) -> None:
        """Leave the dropout out from now on."""
        for block in self.blocks:
            assert isinstance(block, TranslatorBlock)
            block.drops = False

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images in [-1, 1]; dropout draws from `generator`, or without one from torch's global state."""
        maps = relu(self.first_norm(self.first(_mirrored(images, 3))))
        for halve, norm in zip(self.halvings, self.halving_norms, strict=True):
            maps = relu(norm(halve(maps)))
        for block in self.blocks:
            maps = block(maps, generator)
        for double, norm in zip(self.doublings, self.doubling_norms, strict=True):
            maps = relu(norm(double(maps)))
        return torch.tanh(self.output(_mirrored(maps, 3)).float())


def _mirrored(maps: Tensor, margin: int) -> Tensor:
    return pad(maps, (margin, margin, margin, margin), "reflect")
