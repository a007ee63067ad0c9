"""What some generators need around them to be used alone: from latents or sources to images in [-1, 1].

Each module is a plain one of tensors, so that a generator can be exported without its system.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganforge.nn.likelihoods import LikelihoodName, likelihood_of
from ganforge.nn.networks.resnet_translator import ResNetTranslator
from ganforge.nn.networks.unet import UNet


class OfLabels(nn.Module):
    """Latents and labels int64 `[batch]` to the images of a network that takes one-hot classes."""

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network, self.num_classes = network, num_classes

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images."""
        return self.network(latents, one_hot(labels, self.num_classes).to(latents.dtype))


class FirstOutput(nn.Module):
    """The first of several results of a network that takes latents, or latents and a condition."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images."""
        return self.network(latents)[0] if condition is None else self.network(latents, condition)[0]


class Clamped(nn.Module):
    """Images clamped to [-1, 1]; of latents and labels, or latents alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images."""
        images: Tensor = self.network(latents) if labels is None else self.network(latents, labels)
        return images.clamp(-1, 1)


class Means(nn.Module):
    """Latents to the means of p(x|z), of `shape`, whose parameters a decoder gives."""

    def __init__(
        self, decoder: nn.Module, likelihood: LikelihoodName, bounded: bool, shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.decoder, self.shape = decoder, shape
        self.likelihood = likelihood_of(likelihood, bounded)

    def forward(self, latents: Tensor) -> Tensor:
        """Images or points."""
        return self.likelihood.mean(self.decoder(latents)).unflatten(1, self.shape)


class TwoStages(nn.Module):
    """Latents and embeddings to refined images; the first `own` numbers of a latent are the sketch's."""

    def __init__(self, sketch: nn.Module, refiner: nn.Module, own: int) -> None:
        super().__init__()
        self.sketch, self.refiner, self.own = sketch, refiner, own

    def forward(self, latents: Tensor, embeddings: Tensor) -> Tensor:
        """Images."""
        sketches = self.sketch(latents[:, : self.own], embeddings)[0]
        return self.refiner(sketches, embeddings, latents[:, self.own :])[0]


class Enlarged(nn.Module):
    """Sources in [-1, 1] to large images in [-1, 1], by a network that takes sources in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sources: Tensor) -> Tensor:
        """Images."""
        return torch.clamp(self.network((sources + 1) / 2), -1, 1)


class WithoutDropout(nn.Module):
    """Sources to the images of a network of its own without dropout: one image for each source."""

    def __init__(self, network: UNet | ResNetTranslator) -> None:
        super().__init__()
        network.stop_dropping()
        self.network = network

    def forward(self, sources: Tensor) -> Tensor:
        """Images."""
        images: Tensor = self.network(sources)
        return images
