"""The MNIST pair of Mirza and Osindero 2014, section 4.1: a path for the label in both networks."""

import math

import torch
from torch import Tensor, nn

from ganforge.nn.layers import Maxout
from ganforge.nn.networks.mlp import SigmoidGenerator


def _initialise(network: nn.Module, of_classes: nn.Linear) -> None:
    """Draw weights from U(-b, b), b^2 = 6 / inputs (He et al. 2015, equation 10), and set biases to 0.

    A one-hot vector counts as one input, so that the label has as much influence as the latents or the image
    from the first step on. With the +-0.05 and +-0.005 of `mnist.yaml` (Goodfellow et al. 2014) neither the
    latents nor the label vary the first images visibly, and they collapse to a single one.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (1 if module is of_classes else module.in_features))
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)


class ConditionalGenerator(nn.Module):
    """Noise `[batch, noise_size]` in [0, 1] and one-hot classes `[batch, num_classes]` to pixels in [-1, 1].

    `units` are those of the latents' layer, of the classes' layer and of the joint one, all rectified. The
    noise is `latent_size` latents and a number for each hidden unit, which is dropped where the number is
    below `dropout` and divided by `1 - dropout` elsewhere, in training and in sampling.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        num_classes: int,
        shape: tuple[int, int, int],
        units: tuple[int, int, int] = (200, 1000, 1200),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        of_latents, of_classes, joint = units
        self.dropout = dropout
        self.noise_sizes = latent_size, of_latents + of_classes, joint
        self.of_latents = nn.Linear(latent_size, of_latents)
        self.of_classes = nn.Linear(num_classes, of_classes)
        self.joint = nn.Linear(of_latents + of_classes, joint)
        self.output = SigmoidGenerator(latent_size=joint, hidden=(), shape=shape)
        _initialise(self, self.of_classes)

    @property
    def noise_size(self) -> int:
        """Numbers of noise behind one image."""
        return sum(self.noise_sizes)

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        latents, first, second = noise.split(self.noise_sizes, 1)
        hidden = self._drop(torch.cat([self.of_latents(latents), self.of_classes(classes)], 1), first)
        return self.output(self._drop(self.joint(hidden), second))

    def _drop(self, units: Tensor, noise: Tensor) -> Tensor:
        return torch.relu(units) * (noise >= self.dropout) / (1 - self.dropout)


class ConditionalDiscriminator(nn.Module):
    """Images and one-hot classes `[batch, num_classes]` to logits `[batch]`; sees pixels in [0, 1].

    `units` and `pieces` are those of the images' maxout layer, of the classes' and of the joint one;
    `dropout` is the probability of dropping a hidden unit in training (inverted dropout).
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        num_classes: int,
        units: tuple[int, int, int] = (240, 50, 240),
        pieces: tuple[int, int, int] = (5, 5, 4),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        of_images, of_classes, joint = units
        self.of_images = Maxout(math.prod(shape), of_images, pieces[0])
        self.of_classes = Maxout(num_classes, of_classes, pieces[1])
        self.joint = nn.Sequential(
            nn.Dropout(dropout),
            Maxout(of_images + of_classes, joint, pieces[2]),
            nn.Dropout(dropout),
            nn.Linear(joint, 1),
        )
        _initialise(self, self.of_classes.linear)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """Logits."""
        hidden = [self.of_images((images.flatten(1) + 1) / 2), self.of_classes(classes)]
        return self.joint(torch.cat(hidden, 1)).squeeze(1)
