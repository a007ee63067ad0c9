"""Networks of other people's code, rebuilt from their published layer lists, and their files of weights."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class TutorialGenerator(nn.Module):
    """The generator of PyTorch's DCGAN tutorial and pytorch/examples: latents `[n, nz, 1, 1]` to images."""

    def __init__(self, nz: int = 10, ngf: int = 4, nc: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = [nz, 8 * ngf, 4 * ngf, 2 * ngf, ngf]
        for index, (before, after) in enumerate(pairwise(sizes)):
            stride, padding = (2, 1) if index else (1, 0)
            layers += [nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        """Images."""
        images: Tensor = self.main(latents)
        return images


Norm = type[nn.BatchNorm2d] | type[nn.InstanceNorm2d]


class UnetGenerator(nn.Module):
    """The U-Net of pytorch-CycleGAN-and-pix2pix for sides of 2 to the power of `depth`."""

    def __init__(
        self, depth: int, ngf: int, norm: Norm, *, channels: int = 3, outputs: int = 3, dropout: bool = True
    ) -> None:
        super().__init__()
        sizes = [ngf * min(2**level, 8) for level in range(depth)]
        block: UnetBlock | None = None
        for level in reversed(range(1, depth)):
            drops = dropout and depth - 1 > level > 3
            block = UnetBlock(sizes[level - 1], sizes[level], sizes[level - 1], block, norm, drops=drops)
        assert block is not None
        self.model = UnetBlock(outputs, ngf, channels, block, norm, outermost=True)

    def forward(self, images: Tensor) -> Tensor:
        """Images."""
        translated: Tensor = self.model(images)
        return translated


class UnetBlock(nn.Module):
    """One level: halve, the next level, double; its input is joined to its output but at the outermost."""

    def __init__(
        self,
        outer: int,
        inner: int,
        inputs: int,
        below: nn.Module | None,
        norm: Norm,
        *,
        outermost: bool = False,
        drops: bool = False,
    ) -> None:
        super().__init__()
        self.outermost, bias = outermost, norm is nn.InstanceNorm2d
        down = nn.Conv2d(inputs, inner, 4, 2, 1, bias=bias)
        if outermost:
            assert below is not None
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1)
            layers: list[nn.Module] = [down, below, nn.ReLU(inplace=True), up, nn.Tanh()]
        elif below is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2, inplace=True), down, nn.ReLU(inplace=True), up, norm(outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2, inplace=True), down, norm(inner), below]
            layers += [nn.ReLU(inplace=True), up, norm(outer), *([nn.Dropout(0.5)] if drops else [])]
        self.model = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps, or images."""
        result: Tensor = self.model(maps)
        return result if self.outermost else torch.cat([maps, result], 1)


class ResnetGenerator(nn.Module):
    """The residual generator of pytorch-CycleGAN-and-pix2pix."""

    def __init__(
        self,
        blocks: int,
        ngf: int,
        norm: Norm,
        *,
        channels: int = 3,
        outputs: int = 3,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        bias = norm is nn.InstanceNorm2d
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, ngf, 7, bias=bias)]
        layers += [norm(ngf), nn.ReLU(inplace=True)]
        for size in (ngf, 2 * ngf):
            layers += [nn.Conv2d(size, 2 * size, 3, 2, 1, bias=bias), norm(2 * size), nn.ReLU(inplace=True)]
        layers += [ResnetBlock(4 * ngf, norm, dropout) for _ in range(blocks)]
        for size in (4 * ngf, 2 * ngf):
            layers += [nn.ConvTranspose2d(size, size // 2, 3, 2, 1, 1, bias=bias)]
            layers += [norm(size // 2), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, outputs, 7), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        """Images."""
        translated: Tensor = self.model(images)
        return translated


class ResnetBlock(nn.Module):
    """Two padded convolutions added to their input."""

    def __init__(self, size: int, norm: Norm, dropout: bool) -> None:
        super().__init__()
        bias = norm is nn.InstanceNorm2d
        layers: list[nn.Module] = [nn.ReflectionPad2d(1), nn.Conv2d(size, size, 3, bias=bias), norm(size)]
        layers += [nn.ReLU(inplace=True), *([nn.Dropout(0.5)] if dropout else [])]
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(size, size, 3, bias=bias), norm(size)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps."""
        result: Tensor = maps + self.conv_block(maps)
        return result


class MimicryGenerator(nn.Module):
    """mimicry's SNGAN generator for images of that `side`; `ngf` channels at the coarsest maps."""

    def __init__(self, side: int, ngf: int, nz: int = 12) -> None:
        super().__init__()
        self.bottom = 6 if side == 48 else 4
        halves = {32: (1, 1, 1, 1), 48: (1, 2, 4, 8), 64: (1, 2, 4, 8, 16), 128: (1, 1, 2, 4, 8, 16)}[side]
        widths = [ngf // half for half in halves]
        self.l1 = nn.Linear(nz, self.bottom**2 * ngf)
        self.names = [f"block{number}" for number in range(2, len(widths) + 1)]
        for name, sizes in zip(self.names, pairwise(widths), strict=True):
            self.add_module(name, MimicryBlock(*sizes))
        self.last = len(widths) + 1
        self.add_module(f"b{self.last}", nn.BatchNorm2d(widths[-1]))
        self.add_module(f"c{self.last}", nn.Conv2d(widths[-1], 3, 3, 1, padding=1))

    def forward(self, latents: Tensor) -> Tensor:
        """Images."""
        maps = self.l1(latents).view(len(latents), -1, self.bottom, self.bottom)
        for name in (*self.names, f"b{self.last}"):
            maps = self.get_submodule(name)(maps)
        return torch.tanh(self.get_submodule(f"c{self.last}")(torch.relu(maps)))


class MimicryBlock(nn.Module):
    """Its residual block of a generator, which doubles maps bilinearly."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.b1, self.b2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.c_sc = nn.Conv2d(inputs, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps."""
        hidden = self.c1(_bilinear(torch.relu(self.b1(maps))))
        result: Tensor = self.c2(torch.relu(self.b2(hidden))) + self.c_sc(_bilinear(maps))
        return result


def _bilinear(maps: Tensor) -> Tensor:
    return interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def trained(network: nn.Module, inputs: Tensor, seed: int = 0) -> nn.Module:
    """`network` in evaluation mode with weights that a training could have left: no norm does nothing.

    The running statistics of its batch norms are those of `inputs`.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.weight.normal_(0, 1 / module.weight[0].numel() ** 0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1, 0.2, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
                module.momentum = None  # plain means of what is seen
        with torch.random.fork_rng(devices=[]):
            network.train()(inputs)
    return network.eval()


def save(tensors: Mapping[str, Tensor], path: Path) -> Path:
    """Write a file of weights in the form that the ending of `path` says; returns `path`."""
    if path.suffix == ".pth":
        torch.save(tensors, path)
    else:
        safetensors.torch.save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    return path
