"""The pair of Liu et al. 2021 (FastGAN), for images of any size: gates between far maps, and decoders."""

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, interpolate

from ganforge.nn.layers import initialise_normal, normalise_spectrally
from ganforge.nn.stages import Sides, Start, sides_of

SMALL_STAGE = 5
"""Doublings up to the maps of the generator's second, smaller output: 128x128 from 4x4."""


def _share(width: int, factor: float) -> int:
    return max(1, int(width * factor))


def generator_channels(width: int, stage: int) -> int:
    """Channels of the maps after so many doublings: 16, 8, 4, 2, 2, 1, 1/2, 1/4, ... times `width`."""
    return _share(width, 2.0 ** ((4 if stage < 4 else 5) - stage))


class Noise(nn.Module):
    """Adds the same noise to every channel, with a learned strength that starts from 0.

    Fresh in training; fixed in evaluation mode, so that a latent has one image.
    """

    fixed: Tensor

    def __init__(self, sides: Sides) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed", torch.randn(1, 1, *sides))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        noise = torch.randn_like(maps[:, :1]) if self.training else self.fixed.to(maps.dtype)
        return maps + self.strength * noise


class Gate(nn.Module):
    """Skip-layer excitation: a factor in (0, 1) for each channel of far larger maps, from small ones.

    Maps `[batch, inputs, ...]` to factors `[batch, outputs, 1, 1]`: section 3.1, figure 3.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(inputs, outputs, 4, bias=False),
            nn.SiLU(inplace=True),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Factors."""
        return self.layers(maps)


class GLU(nn.Module):
    """The first half of the channels times the sigmoid of the second, as `nn.GLU`.

    The gradient of torch's own does not lie channels-last, and the backward pass of a batch norm before it is
    slow then.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Half of the channels."""
        values, gates = maps.chunk(2, 1)
        return values * gates.sigmoid()


def _gated_convolution(inputs: int, outputs: int, noise: Sides | None = None) -> list[nn.Module]:
    """A convolution to twice the channels, noise where its sides are given, batch norm, and a GLU."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, 2 * outputs, 3, padding=1, bias=False)]
    if noise is not None:
        layers.append(Noise(noise))
    return [*layers, nn.BatchNorm2d(2 * outputs), GLU()]


class FastGANGenerator(nn.Module):
    """Latents `[batch, latent_size]` to images in [-1, 1]; from 6 doublings on also smaller ones.

    Maps double by nearest neighbours and a convolution with batch norm and a GLU; at every other size, from
    the first doubling on, there is a second such convolution, and noise after both. The maps four doublings
    later are multiplied by a `Gate` of each; with fewer doublings the last maps by one of the first.
    """

    def __init__(self, *, latent_size: int, channels: int, start: Start, doublings: int, width: int) -> None:
        super().__init__()
        height, across = self.start = sides_of(start)
        counts = [generator_channels(width, stage) for stage in range(doublings + 1)]
        self.dense = nn.Linear(latent_size, 2 * counts[0] * height * across, bias=False)
        self.dense_norm = nn.BatchNorm2d(2 * counts[0])
        self.dense_activation = GLU()
        self.layers = nn.ModuleList()
        for stage in range(1, doublings + 1):
            inputs, outputs = counts[stage - 1 : stage + 1]
            noise = (height * 2**stage, across * 2**stage) if stage % 2 else None
            block = [nn.Upsample(scale_factor=2), *_gated_convolution(inputs, outputs, noise)]
            if stage % 2:
                block += _gated_convolution(outputs, outputs, noise)
            self.layers.append(nn.Sequential(*block))
        self.skip = min(4, doublings)
        self.gates = nn.ModuleList(
            Gate(counts[stage], counts[stage + self.skip])
            for stage in range(min(4, doublings + 1 - self.skip))
        )
        self.output = nn.Conv2d(counts[-1], channels, 3, padding=1, bias=False)
        self.small_output = (
            nn.Conv2d(counts[SMALL_STAGE], channels, 1, bias=False) if doublings > SMALL_STAGE else None
        )
        initialise_normal(self)

    def forward(self, latents: Tensor) -> tuple[Tensor, ...]:
        """The images, and from 6 doublings on smaller ones of the same latents."""
        first = self.dense(latents).unflatten(1, (-1, *self.start))
        maps = [self.dense_activation(self.dense_norm(first))]
        for stage, double in enumerate(self.layers, start=1):
            doubled = double(maps[-1])
            source = stage - self.skip
            if 0 <= source < len(self.gates):
                doubled = doubled * self.gates[source](maps[source])
            maps.append(doubled)
        outputs = [self.output(maps[-1])]
        if self.small_output is not None:
            outputs.append(self.small_output(maps[SMALL_STAGE]))
        return tuple(torch.tanh(images.float()) for images in outputs)


def _halving(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    ]


class Down(nn.Module):
    """Half the height and width: the mean of two convolutions and of average pooling with one of 1x1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_halving(inputs, outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.direct = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps."""
        return (self.main(maps) + self.direct(maps)) / 2


class Decoder(nn.Module):
    """Maps to an image in [-1, 1] of 2^`doublings` times their sides, at most 4 doublings."""

    def __init__(self, inputs: int, channels: int, width: int, doublings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for factor in (2, 1, 1, 0.5)[:doublings]:
            outputs = _share(width, factor)
            layers += [nn.Upsample(scale_factor=2), *_gated_convolution(inputs, outputs)]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.output = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Images."""
        return torch.tanh(self.output(self.layers(maps)).float())


class FastGANDiscriminator(nn.Module):
    """Images to logits `[batch, patches]`, and with `reconstruct` its maps decoded to images.

    Halves down to maps of 5 to 9 pixels, whose patches of 4x4 have a logit each. Maps three blocks later are
    multiplied by a `Gate`. From 6 doublings on a second, plain branch has logits of the smaller images. With
    more than five halvings the first are convolutions without a block. Weights that no batch norm follows are
    spectrally normalised: of the others it would only undo the scale.
    """

    image_first: ClassVar = "layers"

    def __init__(self, *, channels: int, start: Start, doublings: int, width: int) -> None:
        super().__init__()
        height, across = sides_of(start)
        kept = 1 if min(height, across) <= 4 and doublings > 1 else 0  # doublings that are not undone
        halvings = doublings - kept
        blocks = min(halvings, 5)
        counts = [_share(width, 2.0 ** (3 - blocks + stage)) for stage in range(blocks + 1)]
        downs = [Down(inputs, outputs) for inputs, outputs in itertools.pairwise(counts)]
        self.layers = nn.ModuleList([_stem(channels, counts[0], halvings - blocks), *downs])
        # Counted from the last, so that they are the same for all sizes.
        self.gates = nn.ModuleList(Gate(counts[-4 - k], counts[-1 - k]) for k in range(blocks - 2))
        kernel = (min(4, height * 2**kept), min(4, across * 2**kept))
        self.head = nn.Sequential(
            nn.Conv2d(counts[-1], 2 * counts[-1], 1, bias=False),
            nn.BatchNorm2d(2 * counts[-1]),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * counts[-1], 1, kernel, bias=False),
        )
        self.decoder = Decoder(counts[-1], channels, width, halvings - 1)
        self.part_decoder = Decoder(counts[-2], channels, width, halvings - 1)
        plain: list[nn.Module] = [*self.layers[:1], *self.gates, self.head[-1]]
        decoders = [self.decoder, self.part_decoder]
        self.small: nn.Sequential | None = None
        if doublings > SMALL_STAGE:
            self.small_sides = height * 2**SMALL_STAGE, across * 2**SMALL_STAGE
            halvings = SMALL_STAGE - kept
            small = [_share(width, 2.0 ** (3 - halvings + stage)) for stage in range(halvings)]
            self.small = nn.Sequential(
                nn.Conv2d(channels, small[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)
            )
            for inputs, outputs in itertools.pairwise(small):
                self.small.extend(_halving(inputs, outputs))
            self.small_head = nn.Conv2d(small[-1], 1, kernel, bias=False)
            self.small_decoder = Decoder(small[-1], channels, width, halvings)
            plain += [self.small[0], self.small_head]
            decoders.append(self.small_decoder)
        initialise_normal(self)
        for layer in [*plain, *(decoder.output for decoder in decoders)]:
            normalise_spectrally(layer)

    def forward(self, images: Tensor, small: Tensor | None = None) -> Tensor:
        """Logits; `small` are the smaller images, those of `images` where they are left out."""
        maps, small_maps = self._maps(images, small)
        return self._logits(maps, small_maps)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits of `images`, and pairs of an image decoded from maps and the image that it should be.

        The whole images, half as large or smaller, from the last maps; a random quarter of each from the maps
        before; and the smaller images.
        """
        maps, small_maps = self._maps(images, None)
        down, across = torch.randint(2, (2, len(images)), device=images.device)
        pairs = [
            (self.decoder(maps[-1]), images),
            (self.part_decoder(quarter(maps[-2], down, across)), quarter(images, down, across)),
        ]
        if small_maps is not None:
            pairs.append((self.small_decoder(small_maps), images))
        decoded = [(made, interpolate(original, made.shape[2:])) for made, original in pairs]
        return self._logits(maps, small_maps), decoded

    def features(self, images: Tensor) -> Tensor:
        """The maps after the first layer and every block, max-pooled to 4x4: `[batch, n]`."""
        maps, _ = self._maps(images, None)
        return torch.cat([adaptive_max_pool2d(each, 4).flatten(1) for each in maps], 1)

    def _maps(self, images: Tensor, small: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        """The maps after the first layer and every block; the last maps of the smaller images."""
        maps: list[Tensor] = []
        for stage, layer in enumerate(self.layers):
            made = layer(maps[-1] if maps else images)
            from_last = len(self.layers) - 1 - stage
            if from_last < len(self.gates):
                made = made * self.gates[from_last](maps[stage - 3])
            maps.append(made)
        if self.small is None:
            return maps, None
        return maps, self.small(interpolate(images, self.small_sides) if small is None else small)

    def _logits(self, maps: list[Tensor], small_maps: Tensor | None) -> Tensor:
        logits = self.head(maps[-1]).flatten(1)
        if small_maps is None:
            return logits
        return torch.cat([logits, self.small_head(small_maps).flatten(1)], 1)


def _stem(channels: int, outputs: int, halvings: int) -> nn.Sequential:
    """What comes before the blocks: a convolution, or `halvings` that halve, each with twice the channels."""
    if not halvings:
        return nn.Sequential(
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.LeakyReLU(0.2, inplace=True)
        )
    first = _share(outputs, 2.0 ** (1 - halvings))
    layers = [nn.Conv2d(channels, first, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for stage in range(1, halvings):
        twice = outputs if stage == halvings - 1 else 2 * first
        layers += _halving(first, twice)
        first = twice
    return nn.Sequential(*layers)


def quarter(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Of each image `[batch, channels, height, width]` the upper or lower, left or right quarter.

    `down` and `across` int64 `[batch]` are 0 or 1; both sides must be even.
    """
    quarters = images.unflatten(3, (2, -1)).unflatten(2, (2, -1))
    return quarters[torch.arange(len(images), device=images.device), :, down, :, across]
