"""Networks and first weights of the code released with Gulrajani et al. 2017."""

import math
from typing import ClassVar, Literal

from torch import Tensor, nn

from ganforge.nn.layers import ProjectionHead
from ganforge.nn.networks.dcgan import DCGANGenerator
from ganforge.nn.networks.mlp import PlainDiscriminator, PlainGenerator
from ganforge.nn.stages import Start, sides_of


def convolutional_generator(
    *, latent_size: int, channels: int, start: Start, doublings: int, width: int
) -> DCGANGenerator:
    """The generator of `gan_cifar.py`: that of DCGAN, with kernels of 5, from other first weights."""
    generator = DCGANGenerator(
        latent_size=latent_size,
        channels=channels,
        start=start,
        doublings=doublings,
        width=width,
        kernel_size=5,
    )
    initialise_by_fans(generator)
    return generator


class ConvolutionalCritic(nn.Module):
    """Images to critic values `[batch]`: stride-2 convolutions with leaky ReLU 0.2, then a dense layer.

    `width` counts the channels of the first convolution, doubled at every halving (32x32, width 64: 64, 128,
    256). No batch norm, because the gradient penalty is one of single images. `norm` "layer" puts layer norm
    after every convolution but the first: over all values of an image, with a gain and a bias for each
    channel. The last layer is computed in float32 and has no bias, which no Wasserstein loss depends on.
    """

    image_first: ClassVar = "layers"

    def __init__(
        self, *, channels: int, start: Start, doublings: int, width: int, norm: Literal["none", "layer"]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for index in range(doublings):
            outputs = width * 2**index
            layers.append(nn.Conv2d(inputs, outputs, 5, 2, 2))
            if index and norm == "layer":
                layers.append(nn.GroupNorm(1, outputs))  # one group of all channels
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.head = ProjectionHead(inputs * math.prod(sides_of(start)))
        initialise_by_fans(self)

    def forward(self, images: Tensor) -> Tensor:
        """Critic values."""
        return self.head(self.layers(images).flatten(1))


def initialise_by_fans(network: nn.Module) -> None:
    """Draw every weight from a uniform distribution whose variance is set by the layer's inputs and outputs.

    4 / (inputs + outputs) for convolutions, where a stride of 2 leaves a quarter of the outputs of an input
    (of a transposed one: of the inputs of an output), 2 / (inputs + outputs) for dense layers. Biases 0,
    batch-norm gains 1. From `tflib/ops` of the released code.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            pixels, strides = math.prod(module.kernel_size), math.prod(module.stride)
            inputs, outputs = module.in_channels * pixels, module.out_channels * pixels
            if isinstance(module, nn.Conv2d):
                outputs //= strides
            else:
                inputs //= strides
            bound = math.sqrt(3 * 4 / (inputs + outputs))
            nn.init.uniform_(module.weight, -bound, bound)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        _clear_bias(module)


def initialise_plain(network: PlainGenerator | PlainDiscriminator) -> None:
    """He's uniform weights where a ReLU follows, Glorot's in the last layer, biases 0, as in `gan_toy.py`."""
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    for linear in linears[:-1]:
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
        _clear_bias(linear)
    nn.init.xavier_uniform_(linears[-1].weight)
    _clear_bias(linears[-1])


def _clear_bias(module: nn.Module) -> None:
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor):
        nn.init.zeros_(bias)
