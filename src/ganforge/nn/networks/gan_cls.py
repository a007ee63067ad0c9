"""The 64x64 pair of Reed et al. 2016, both networks conditioned on a caption (`main_cls_int.lua`)."""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganforge.nn.layers import initialise_normal


class Bottleneck(nn.Module):
    """Maps plus what three convolutions make of them, 1x1 to `inner` channels and back by 3x3, rectified.

    Batch norm after each; `slope` is that of the rectifiers on the negative side.
    """

    def __init__(self, channels: int, inner: int, slope: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.LeakyReLU(slope),
            nn.Conv2d(inner, inner, 3, 1, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.LeakyReLU(slope),
            nn.Conv2d(inner, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.rectify = nn.LeakyReLU(slope)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        return self.rectify(maps + self.layers(maps))


class TextGenerator(nn.Module):
    """Latents `[batch, latent_size]` and embeddings `[batch, embedding_size]` to images in [-1, 1].

    The embedding becomes `text_size` numbers next to the latents. Transposed convolutions double the maps
    from `start` on, `doublings` times; `width` channels come before the last one, twice as many at each
    coarser map. The first two maps have a bottleneck.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        embedding_size: int,
        text_size: int,
        channels: int,
        start: int,
        doublings: int,
        width: int,
    ) -> None:
        super().__init__()
        self.of_text = nn.Sequential(nn.Linear(embedding_size, text_size), nn.LeakyReLU(0.2))
        widths = [width * 2**i for i in reversed(range(doublings))]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_size + text_size, widths[0], start, bias=False),
            nn.BatchNorm2d(widths[0]),
            Bottleneck(widths[0], max(1, widths[0] // 4), 0.0),
        ]
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs)]
            layers.append(nn.ReLU() if index else Bottleneck(outputs, max(1, outputs // 4), 0.0))
        layers.append(nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1))
        self.layers = nn.Sequential(*layers)
        initialise_normal(self)

    def forward(self, latents: Tensor, embeddings: Tensor) -> Tensor:
        """Images."""
        inputs = torch.cat([latents, self.of_text(embeddings)], 1)
        return torch.tanh(self.layers(inputs[:, :, None, None]).float())


class TextDiscriminator(nn.Module):
    """Images and embeddings to logits `[batch]`, high for real images that match the text.

    `look` turns images into maps of side `start`: stride-2 convolutions of `width` channels, doubled each
    time, and a bottleneck; `logits` appends the text to them, as `text_size` numbers at every position. The
    maps of an image serve several texts.
    """

    image_first: ClassVar = "trunk"

    def __init__(
        self, *, embedding_size: int, text_size: int, channels: int, start: int, doublings: int, width: int
    ) -> None:
        super().__init__()
        self.start = start
        layers: list[nn.Module] = []
        inputs, outputs = channels, width
        for index in range(doublings):
            outputs = width * 2**index
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
            if index:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2))
            inputs = outputs
        self.trunk = nn.Sequential(*layers, Bottleneck(outputs, max(1, outputs // 4), 0.2))
        self.of_text = nn.Sequential(
            nn.Linear(embedding_size, text_size), nn.BatchNorm1d(text_size), nn.LeakyReLU(0.2)
        )
        # No batch norm: its statistics would reveal whether a batch holds matching or mismatched pairs.
        self.joint = nn.Sequential(
            nn.Conv2d(outputs + text_size, outputs, 1, bias=False),
            nn.GroupNorm(1, outputs),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Linear(outputs * start * start, 1)
        initialise_normal(self)

    def look(self, images: Tensor) -> Tensor:
        """Maps `[batch, n, start, start]` of images."""
        return self.trunk(images)

    def logits(self, maps: Tensor, embeddings: Tensor) -> Tensor:
        """Logits of maps with a text each."""
        texts = self.of_text(embeddings)[:, :, None, None].expand(-1, -1, self.start, self.start)
        return self.head(self.joint(torch.cat([maps, texts], 1)).flatten(1)).squeeze(1)

    def forward(self, images: Tensor, embeddings: Tensor) -> Tensor:
        """Logits of images with a text each."""
        return self.logits(self.look(images), embeddings)
