"""The pair of networks that DCGAN and its variants share: the convolutions of DCGAN, or plain layers."""

from typing import Literal

from torch import Tensor, nn

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError
from ganforge.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from ganforge.nn.networks.mlp import PlainDiscriminator, PlainGenerator
from ganforge.nn.networks.wgan_gp import initialise_plain
from ganforge.systems.families.resolutions import stages_for


def network_pair(
    name: str,
    data: DataSpec,
    *,
    network: Literal["convolutional", "mlp"],
    width: int,
    latent_size: int,
    shape: tuple[int, int, int],
    kernel_size: int = 5,
    critic: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator of inputs of that `shape`; a `critic` has no output bias.

    Raises UserError where `data` does not fit the convolutions.
    """
    if network == "mlp":
        return plain_pair(data, width=width, latent_size=latent_size, shape=shape, critic=critic)
    start, doublings = stages_for(name, data)
    generator = DCGANGenerator(
        latent_size=latent_size,
        channels=data.channels,
        start=start,
        doublings=doublings,
        width=width,
        kernel_size=kernel_size,
    )
    discriminator = DCGANDiscriminator(
        channels=shape[0],
        start=start,
        doublings=doublings,
        width=width,
        kernel_size=kernel_size,
        output_bias=not critic,
    )
    return generator, discriminator


def plain_pair(
    data: DataSpec, *, width: int, latent_size: int, shape: tuple[int, int, int], critic: bool
) -> tuple[nn.Module, nn.Module]:
    """Two hidden layers each; of a `critic` three, initialised as by Gulrajani et al. 2017."""
    hidden = (width,) * (3 if critic else 2)
    generator = PlainGenerator(
        latent_size=latent_size, hidden=hidden, shape=data.shape, bounded=data.values == "pixels"
    )
    if not critic:
        return generator, PlainDiscriminator(shape=shape, hidden=hidden, activation="leaky_relu")
    discriminator = PlainDiscriminator(shape=shape, hidden=hidden, output_bias=False)
    initialise_plain(generator)
    initialise_plain(discriminator)
    return generator, discriminator


def pooled_features(discriminator: nn.Module, pack: int, images: Tensor) -> Tensor:
    """Pooled maps of a convolutional discriminator; raises UserError for plain layers, and for packs."""
    if not isinstance(discriminator, DCGANDiscriminator) or pack > 1:
        raise UserError(
            "only convolutional discriminators of single images give features: use a run without "
            "--network mlp and --pack, or one of vae"
        )
    return discriminator.features(images)
