"""The two stages of Zhang et al. 2016: conditioning augmentation, a sketch, and its refinement."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganforge.nn.layers import initialise_normal


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution of 3x3, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Up(nn.Module):
    """Maps at twice the size, by repeating pixels, then a convolution of 3x3, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = _block(inputs, outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps `[batch, outputs, 2 height, 2 width]`."""
        return self.block(interpolate(maps, scale_factor=2.0, mode="nearest"))


class Residual(nn.Module):
    """Maps plus two convolutions of them, each with batch norm, rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _block(channels, channels),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        return torch.relu(maps + self.layers(maps))


class ConditioningAugmentation(nn.Module):
    """Embeddings `[batch, embedding_size]` to draws of N(mean, diag(std^2)), both affine in the embedding.

    `noise` `[batch, size]` of N(0, 1) makes the draws. Returns them and the mean over the batch of
    KL(N(mean, std^2) || N(0, 1)) in nats, summed over the numbers. With `augment` false the draw is the mean,
    the divergence 0, and the noise has no numbers. Zhang et al. 2016, arXiv 1612.03242, section 3.2.
    """

    def __init__(self, embedding_size: int, size: int, augment: bool) -> None:
        super().__init__()
        self.dense = nn.Linear(embedding_size, 2 * size if augment else size)
        self.augment = augment
        self.noise_size = size if augment else 0

    def forward(self, embeddings: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws and their divergence."""
        parameters = self.dense(embeddings).to(noise.dtype)  # not in bf16: an exponential follows
        if not self.augment:
            return parameters, parameters.new_zeros(())
        mean, log_std = parameters.chunk(2, 1)
        draws = mean + log_std.exp() * noise
        divergence = 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std
        return draws, divergence.sum(1).mean()


class SketchGenerator(nn.Module):
    """Stage I: latents and embeddings to images in [-1, 1] and the divergence of the conditioning.

    A latent is `latent_size` numbers and then the noise of the conditioning.
    A dense layer to maps of side `start`, then `doublings` times twice the size and half the channels, the
    last having `width`.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        embedding_size: int,
        text_size: int,
        augment: bool,
        channels: int,
        start: int,
        doublings: int,
        width: int,
    ) -> None:
        super().__init__()
        self.conditioning = ConditioningAugmentation(embedding_size, text_size, augment)
        first = width * 2**doublings
        self.start = start
        self.dense = nn.Linear(latent_size + text_size, first * start * start, bias=False)
        self.dense_norm = nn.BatchNorm1d(first * start * start)
        self.layers = nn.Sequential(*[Up(first // 2**i, first // 2 ** (i + 1)) for i in range(doublings)])
        self.output = nn.Conv2d(width, channels, 3, 1, 1)
        initialise_normal(self)

    def forward(self, latents: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Images and divergence."""
        own = latents.shape[1] - self.conditioning.noise_size
        conditions, divergence = self.conditioning(embeddings, latents[:, own:])
        dense = self.dense_norm(self.dense(torch.cat([latents[:, :own], conditions], 1)))
        maps = torch.relu(dense).unflatten(1, (-1, self.start, self.start))
        return torch.tanh(self.output(self.layers(maps)).to(latents.dtype)), divergence


class RefiningGenerator(nn.Module):
    """Stage II: images of stage I, embeddings and noise to images four times as large, and the divergence.

    The sketch is halved twice, joined by a conditioning of its own at every place, goes through `blocks`
    residual blocks and is doubled four times. `width` channels are those of the sketch's first maps.
    """

    def __init__(
        self, *, embedding_size: int, text_size: int, augment: bool, channels: int, width: int, blocks: int
    ) -> None:
        super().__init__()
        self.conditioning = ConditioningAugmentation(embedding_size, text_size, augment)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
        )
        widths = [max(1, 4 * width // 2**i) for i in range(5)]
        self.joint = _block(4 * width + text_size, 4 * width)
        self.blocks = nn.Sequential(*[Residual(4 * width) for _ in range(blocks)])
        self.layers = nn.Sequential(*[Up(widths[i], widths[i + 1]) for i in range(4)])
        self.output = nn.Conv2d(widths[-1], channels, 3, 1, 1)
        initialise_normal(self)

    def forward(self, sketches: Tensor, embeddings: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Images and divergence."""
        conditions, divergence = self.conditioning(embeddings, noise)
        maps = self.encoder(sketches)
        texts = conditions.to(maps.dtype)[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        maps = self.layers(self.blocks(self.joint(torch.cat([maps, texts], 1))))
        return torch.tanh(self.output(maps).to(noise.dtype)), divergence
