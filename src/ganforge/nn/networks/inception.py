"""Inception-v3 as TensorFlow released it on 5 December 2015: the network whose features FID is defined by."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution without bias, batch norm (epsilon 0.001) and a ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, maps: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h', w']`, never negative."""
        return F.relu(self.bn(self.conv(maps)), inplace=True)


def _average(maps: Tensor) -> Tensor:
    # TensorFlow's average leaves the border's zeros out of its count.
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """1x1, 5x5 and double 3x3 convolutions and a pool, side by side, at 35x35."""

    def __init__(self, inputs: int, pool_width: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(inputs, pool_width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, 224 + pool_width, h, w]`."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        wide = self.branch5x5_2(self.branch5x5_1(maps))
        return torch.cat([self.branch1x1(maps), wide, double, self.branch_pool(_average(maps))], 1)


class BlockB(nn.Module):
    """Halves the maps, 35 to 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, 480 + inputs, (h - 1) / 2, (w - 1) / 2]`."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return torch.cat([self.branch3x3(maps), double, F.max_pool2d(maps, 3, stride=2)], 1)


class BlockC(nn.Module):
    """Convolutions of 7x7 as pairs of 1x7 and 7x1, at 17x17."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(768, 192, 1)
        self.branch7x7_1 = Convolution(768, width, 1)
        self.branch7x7_2 = Convolution(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = Convolution(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = Convolution(768, width, 1)
        self.branch7x7dbl_2 = Convolution(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = Convolution(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = Convolution(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = Convolution(width, 192, (1, 7), padding=(0, 3))
        self.branch_pool = Convolution(768, 192, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """`[n, 768, h, w]` to the same."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(maps)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(maps)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(maps), single, double, self.branch_pool(_average(maps))], 1)


class BlockD(nn.Module):
    """Halves the maps, 17 to 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(768, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(768, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """`[n, 768, h, w]` to `[n, 1280, (h - 1) / 2, (w - 1) / 2]`."""
        wide = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(maps))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(maps)), wide, F.max_pool2d(maps, 3, stride=2)], 1)


class BlockE(nn.Module):
    """Convolutions that fan out into 1x3 and 3x1, at 8x8; the last block pools by the maximum."""

    def __init__(self, inputs: int, *, pools_maximum: bool) -> None:
        super().__init__()
        self.pools_maximum = pools_maximum
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, 2048, h, w]`."""
        single = self.branch3x3_1(maps)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(maps))
        # Averaging in both would be the paper's; the released graph takes the maximum in its last block.
        pooled = F.max_pool2d(maps, 3, stride=1, padding=1) if self.pools_maximum else _average(maps)
        fans = [
            self.branch1x1(maps),
            *(self.branch3x3_2a(single), self.branch3x3_2b(single)),
            *(self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)),
            self.branch_pool(pooled),
        ]
        return torch.cat(fans, 1)


class InceptionV3(nn.Module):
    """Szegedy et al. 2015, "Rethinking the Inception Architecture", arXiv 1512.00567, as released in 2015.

    Images float `[n, 3, 299, 299]`, `(pixel - 128) / 128`. The names of the parameters are those of the
    pytorch-fid port of the released graph, so that its weights fit. No auxiliary classifier; 1,008 logits.
    Differs from the paper: averages do not count the border's zeros, and the last block pools by the maximum,
    both as in the released graph.
    """

    feature_size = 2_048

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(128)
        self.Mixed_6c = BlockC(160)
        self.Mixed_6d = BlockC(160)
        self.Mixed_6e = BlockC(192)
        self.Mixed_7a = BlockD()
        self.Mixed_7b = BlockE(1280, pools_maximum=False)
        self.Mixed_7c = BlockE(2048, pools_maximum=True)
        self.fc = nn.Linear(2048, 1008)

    def maps(self, images: Tensor) -> Tensor:
        """The last maps, `[n, 2048, 8, 8]`."""
        maps = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        maps = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(maps, 3, stride=2)))
        maps = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(maps, 3, stride=2))))
        maps = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(maps)))
        maps = self.Mixed_6e(self.Mixed_6d(maps))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(maps)))

    def forward(self, images: Tensor) -> Tensor:
        """The features `[n, 2048]` that FID takes ("pool3"): the mean of the last maps."""
        return self.maps(images).mean(dim=(2, 3))
