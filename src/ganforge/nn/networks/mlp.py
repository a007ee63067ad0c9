"""Fully connected networks: the MNIST pair of Goodfellow et al. 2014 and plain ones for 2-D points."""

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ganforge.nn.layers import Maxout, initialise_normal, initialise_uniform

Activation = Literal["relu", "leaky_relu", "tanh"]


def _activation(name: Activation) -> nn.Module:
    return {"relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(0.2), "tanh": nn.Tanh()}[name]


def dense_layers(sizes: Sequence[int], activation: Activation) -> nn.Sequential:
    """Linear layers of these sizes with the activation between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), _activation(activation)]
    return nn.Sequential(*layers[:-1])


class SigmoidGenerator(nn.Module):
    """Latents `[batch, latent_size]` to pixels in [-1, 1] through rectified layers and a sigmoid.

    Weights start in U(-0.05, 0.05) (`mnist.yaml` of Goodfellow et al. 2014).
    """

    def __init__(
        self,
        *,
        latent_size: int,
        hidden: Sequence[int],
        shape: tuple[int, int, int],
        init_range: float = 0.05,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.layers = dense_layers([latent_size, *hidden, math.prod(shape)], "relu")
        initialise_uniform(self, init_range)

    def set_output_mean(self, mean: Tensor) -> None:
        """Set the output bias so that zero activations decode to `mean`, an image in [-1, 1].

        The mean is kept away from black and white by 1e-3, whose logits would be infinite.
        """
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(torch.logit((mean.flatten() + 1) / 2, eps=1e-3))

    def forward(self, latents: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        return (2 * torch.sigmoid(self.layers(latents).float()) - 1).unflatten(1, self.shape)


class MaxoutDiscriminator(nn.Module):
    """Images to logits `[batch]` through maxout layers with inverted dropout; sees pixels in [0, 1].

    `input_keep` and `hidden_keep` are the probabilities of keeping an input of the first and of later layers.
    """

    image_first: ClassVar = "layers"

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        units: Sequence[int],
        pieces: int,
        input_keep: float = 0.8,
        hidden_keep: float = 0.5,
        init_range: float = 0.005,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = math.prod(shape)
        for index, width in enumerate(units):
            layers += [nn.Dropout(1 - (hidden_keep if index else input_keep)), Maxout(inputs, width, pieces)]
            inputs = width
        layers += [nn.Dropout(1 - hidden_keep), nn.Linear(inputs, 1)]
        self.layers = nn.Sequential(*layers)
        initialise_uniform(self, init_range)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.layers((images.flatten(1) + 1) / 2).squeeze(1)


class PlainGenerator(nn.Module):
    """Latents to values through plain layers; the output is unbounded for points, tanh for pixels.

    With no hidden layer it is one affine map. Weights and biases start in N(0, init_std); None keeps
    the framework's own uniform initialisation, which deeper networks need.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        hidden: Sequence[int],
        shape: tuple[int, int, int],
        activation: Activation = "relu",
        bounded: bool = False,
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.bounded = bounded
        self.layers = dense_layers([latent_size, *hidden, math.prod(shape)], activation)
        if init_std is not None:
            initialise_normal(self, init_std, biases=True)

    def forward(self, latents: Tensor) -> Tensor:
        """Values `[batch, *shape]`."""
        values = self.layers(latents).float().unflatten(1, self.shape)
        return torch.tanh(values) if self.bounded else values


class PlainDiscriminator(nn.Module):
    """Values to logits `[batch]` through plain layers; initialised as `PlainGenerator` is.

    A Wasserstein critic has no `output_bias`, which its loss does not depend on.
    """

    image_first: ClassVar = "layers"

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        hidden: Sequence[int],
        activation: Activation = "relu",
        init_std: float | None = None,
        output_bias: bool = True,
    ) -> None:
        super().__init__()
        self.layers = dense_layers([math.prod(shape), *hidden, 1], activation)
        if not output_bias:
            self.layers[-1].register_parameter("bias", None)
        if init_std is not None:
            initialise_normal(self, init_std, biases=True)

    def forward(self, values: Tensor) -> Tensor:
        """Logits."""
        return self.layers(values.flatten(1)).squeeze(1)
