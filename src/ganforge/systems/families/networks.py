"""The pair of networks that DCGAN and its variants share: the convolutions of DCGAN, or plain layers."""

from typing import Any, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError
from ganforge.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from ganforge.nn.networks.mlp import PlainDiscriminator, PlainGenerator
from ganforge.nn.networks.wgan_gp import initialise_plain
from ganforge.nn.stages import rectangle_stages
from ganforge.system import Features, Suggestions
from ganforge.systems.families.own_parts import OwnPartsConfig, own_networks
from ganforge.systems.families.resolutions import rectangle_for

Hidden = tuple[PositiveInt, ...] | None
HIDDEN = "Hidden units of the mlp's {}, layer by layer; none: layers of --width."


def network_pair(
    name: str,
    data: DataSpec,
    *,
    own: OwnPartsConfig,
    network: Literal["convolutional", "mlp"],
    width: int,
    latent_size: int,
    shape: tuple[int, int, int],
    kernel_size: int = 5,
    dense_units: int = 0,
    odd_stage: bool = False,
    critic: bool = False,
    norm: Literal["batch", "group"] = "batch",
    hidden: tuple[Hidden, Hidden] = (None, None),
) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator of inputs of that `shape`; a `critic` has no output bias.

    `norm`: that of the convolutional discriminator. Those that `own` names take their places. Raises
    UserError where `data` does not fit the convolutions.
    """
    own_generator, own_discriminator = own_networks(own, data.shape, latent_size, shape)
    if own_generator is not None and own_discriminator is not None:
        return own_generator, own_discriminator
    if network == "mlp":
        generator, discriminator = plain_pair(
            data, width=width, latent_size=latent_size, shape=shape, critic=critic, hidden=hidden
        )
    else:
        start, doublings = rectangle_for(name, data)
        if odd_stage and not all(side % 2 for side in start):
            raise UserError(
                "--odd-maps halve is for sizes such as 28, which halve down to an odd side; these halve down "
                f"to {start[0]}x{start[1]}: leave it out"
            )
        sizes: dict[str, Any] = {
            "start": start, "doublings": doublings, "width": width, "kernel_size": kernel_size,
            "dense_units": dense_units, "odd_stage": odd_stage,
        }  # fmt: skip
        generator = DCGANGenerator(latent_size=latent_size, channels=data.channels, **sizes)
        discriminator = DCGANDiscriminator(channels=shape[0], output_bias=not critic, norm=norm, **sizes)
    return (
        generator if own_generator is None else own_generator,
        discriminator if own_discriminator is None else own_discriminator,
    )


OddMaps = Literal["keep", "halve"]
ODD_MAPS = "Smallest maps of an odd side, 7x7 of 28x28: keep them, or halve them too, to 4x4."


def suggest_odd_maps(data: DataSpec) -> Suggestions:
    """One more stage for images that halve down to an odd side."""
    stages = rectangle_stages(data.height, data.width) if data.values == "pixels" else None
    if stages is None or not all(side % 2 for side in stages[0]):
        return {}
    sides = "x".join(map(str, stages[0]))
    return {"odd_maps": ("halve", f"discriminators that end at {sides} maps see patches, not whole images")}


def plain_pair(
    data: DataSpec,
    *,
    width: int,
    latent_size: int,
    shape: tuple[int, int, int],
    critic: bool,
    hidden: tuple[Hidden, Hidden] = (None, None),
) -> tuple[nn.Module, nn.Module]:
    """Two hidden layers each; of a `critic` three, initialised as by Gulrajani et al. 2017.

    `hidden`: the units of both, where they are not layers of that `width`.
    """
    layers = (width,) * (3 if critic else 2)
    of_generator, of_discriminator = (layers if units is None else units for units in hidden)
    generator = PlainGenerator(
        latent_size=latent_size, hidden=of_generator, shape=data.shape, bounded=data.values == "pixels"
    )
    if not critic:
        return generator, PlainDiscriminator(shape=shape, hidden=of_discriminator, activation="leaky_relu")
    discriminator = PlainDiscriminator(shape=shape, hidden=of_discriminator, output_bias=False)
    initialise_plain(generator)
    initialise_plain(discriminator)
    return generator, discriminator


def pooled_features(discriminator: nn.Module, pack: int, images: Tensor) -> Tensor:
    """Pooled maps of a convolutional discriminator; raises UserError for plain layers, and for packs."""
    if not isinstance(discriminator, Features) or pack > 1:
        raise UserError(
            "only convolutional discriminators of single images give features: use a run without "
            "--network mlp and --pack, or one of vae"
        )
    return discriminator.features(images)
