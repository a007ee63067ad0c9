"""Encoders and decoders: dense ones, and convolutional ones for square images."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganforge.nn.networks.mlp import Activation, dense_layers


class DenseEncoder(nn.Module):
    """Images to codes `[batch, outputs]` through dense layers; sees pixels in [0, 1].

    Weights start uniform as in Glorot and Bengio 2010, biases at 0.
    """

    def __init__(
        self, *, shape: tuple[int, int, int], hidden: Sequence[int], outputs: int, activation: Activation
    ) -> None:
        super().__init__()
        self.layers = dense_layers([math.prod(shape), *hidden, outputs], activation)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Codes."""
        return self.layers((images.flatten(1) + 1) / 2)


class DenseDecoder(nn.Module):
    """Latents `[..., latent_size]` to `[..., outputs]` through dense layers that start as the encoder's."""

    def __init__(
        self, *, latent_size: int, hidden: Sequence[int], outputs: int, activation: Activation
    ) -> None:
        super().__init__()
        self.layers = dense_layers([latent_size, *hidden, outputs], activation)
        _initialise(self)

    def set_output_bias(self, bias: Tensor) -> None:
        """Let zero activations decode to `bias` `[outputs]`."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(bias)

    def forward(self, latents: Tensor) -> Tensor:
        """Outputs."""
        return self.layers(latents)


class ConvolutionalEncoder(nn.Module):
    """Images to codes `[batch, outputs]`: stride-2 4x4 convolutions with ReLU, then a dense layer.

    `width` counts the channels of the first convolution; they double at each coarser map. No batch norm, so
    that every image is encoded on its own.
    """

    image_first: ClassVar = "layers"

    def __init__(self, *, channels: int, start: int, doublings: int, width: int, outputs: int) -> None:
        super().__init__()
        widths = [width * 2**index for index in range(doublings)]
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * start * start, outputs)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Codes."""
        return self.head(self.layers(images).flatten(1))


class ConvolutionalDecoder(nn.Module):
    """Latents `[..., latent_size]` to `[..., channels * height * width]`: the encoder's mirror image.

    The numbers of one channel lie side by side.
    """

    def __init__(self, *, latent_size: int, channels: int, start: int, doublings: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**index for index in reversed(range(doublings))]
        self.start = start
        self.dense = nn.Linear(latent_size, widths[0] * start * start)
        layers: list[nn.Module] = []
        for before, after in zip(widths, [*widths[1:], channels], strict=True):
            layers += [nn.ReLU(inplace=True), nn.ConvTranspose2d(before, after, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def set_output_bias(self, bias: Tensor) -> None:
        """Let zero activations decode to the means over each channel of `bias` `[outputs]`."""
        last = self.layers[-1]
        assert isinstance(last, nn.ConvTranspose2d)
        assert last.bias is not None
        with torch.no_grad():
            last.bias.copy_(bias.unflatten(0, (last.out_channels, -1)).mean(1))

    def forward(self, latents: Tensor) -> Tensor:
        """Outputs."""
        dense = self.dense(latents.flatten(0, -2))
        outputs = self.layers(dense.unflatten(1, (-1, self.start, self.start))).flatten(1)
        return outputs.unflatten(0, latents.shape[:-1])


def dense_pair(
    *,
    shape: tuple[int, int, int],
    hidden: Sequence[int],
    codes: int,
    latent_size: int,
    outputs: int,
    activation: Activation = "relu",
) -> tuple[DenseEncoder, DenseDecoder]:
    """An encoder of images to `codes` numbers and its mirror image, a decoder of latents to `outputs`."""
    encoder = DenseEncoder(shape=shape, hidden=hidden, outputs=codes, activation=activation)
    return encoder, DenseDecoder(
        latent_size=latent_size, hidden=hidden[::-1], outputs=outputs, activation=activation
    )


def convolutional_pair(
    *,
    channels: int,
    stages: tuple[int, int],
    width: int,
    codes: int,
    latent_size: int,
    outputs_per_value: int = 1,
) -> tuple[ConvolutionalEncoder, ConvolutionalDecoder]:
    """The same of convolutions; `stages` are the side of the smallest maps and the number of doublings."""
    start, doublings = stages
    sizes = {"start": start, "doublings": doublings, "width": width}
    encoder = ConvolutionalEncoder(channels=channels, outputs=codes, **sizes)
    return encoder, ConvolutionalDecoder(
        latent_size=latent_size, channels=channels * outputs_per_value, **sizes
    )


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
