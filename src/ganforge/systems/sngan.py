"""The spectrally normalised GAN of Miyato et al. 2018, and its class-conditional form with projection."""

import math
from functools import partial
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.layers import normalise_spectrally
from ganforge.nn.losses import (
    discriminator_hinge,
    discriminator_logistic,
    generator_loss,
    generator_wasserstein,
)
from ganforge.nn.networks.mlp import PlainDiscriminator, PlainGenerator
from ganforge.nn.networks.resnet import ResNetDiscriminator, ResNetGenerator
from ganforge.nn.networks.sngan import SNGANDiscriminator, SNGANGenerator
from ganforge.nn.optimizers import adams, decay_linearly
from ganforge.nn.stages import Sides
from ganforge.nn.whole_batch import gathered
from ganforge.system import LatentSystem, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import (
    DiscriminatorInput,
    TwoRatesConfig,
    labels_of,
    num_classes_of,
)
from ganforge.systems.families.networks import HIDDEN, Hidden
from ganforge.systems.families.resolutions import rectangle_for


class SNGANConfig(TwoRatesConfig):
    """Defaults are those of the CIFAR-10 ResNet of the paper."""

    steps: PositiveInt = Field(100_000, description="Training steps, each one generator update.")
    batch: PositiveInt = Field(64, description="Images per discriminator update.")
    generator_batch_factor: PositiveInt = Field(
        2, description="Generated images of a generator update, in batches."
    )
    discriminator_steps: PositiveInt = Field(5, description="Discriminator updates in each step.")
    network: Literal["resnet", "convolutional", "mlp"] = Field(
        "resnet",
        description="resnet: residual blocks; convolutional: the paper's standard CNN; mlp: plain layers, "
        "for 2-D points.",
    )
    width: PositiveInt | None = Field(
        None,
        description="Channels of the generator: of all maps (resnet; none: 256), or of the finest, "
        "doubled at each coarser one (convolutional, --widening; none: 64); hidden units (mlp; none: 128).",
    )
    discriminator_width: PositiveInt | None = Field(
        None,
        description="Channels of the discriminator: of all maps (resnet; none: 128), or of the finest, "
        "doubled at each coarser one (convolutional; none: 64); hidden units (mlp; none: 128).",
    )
    spectral: bool = Field(True, description="Spectral normalisation of every discriminator weight.")
    conditional: bool = Field(
        False,
        description="Use the labels: conditional batch norm in the generator, projection discriminator.",
    )
    widening: bool = Field(
        False,
        description="Double the generator's channels at each coarser map (resnet), up to 16 times, as the "
        "paper's for 128x128 and mimicry's do.",
    )
    loss: Literal["hinge", "non_saturating"] = Field("hinge", description="Loss of both networks.")
    latent_size: PositiveInt = Field(128, description="Standard Gaussian numbers in one latent.")
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's first rate for both networks.")
    learning_rate_decay: Literal["linear", "none"] = Field(
        "linear", description="linear: the rate decays from the first step to 0 after the last."
    )
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.9, ge=0, lt=1, description="Adam's second decay.")

    # Not from the paper.
    upsampling: Literal["nearest", "bilinear"] = Field(
        "nearest", description="How the generator's maps are doubled (resnet); mimicry's are bilinear."
    )
    generator_hidden: Hidden = Field(None, description=HIDDEN.format("generator"))
    discriminator_hidden: Hidden = Field(
        None, description="Hidden units of the mlp's discriminator; none: layers of --discriminator-width."
    )
    smallest_maps: PositiveInt | None = Field(
        None, description="Side of the smallest maps, such as 6 for 48x48; none: 3 to 9, as the size allows."
    )

    def model_post_init(self, _: object) -> None:
        """Reject packs of images that have labels, and labels of points."""
        super().model_post_init(_)
        if self.conditional and self.network == "mlp":
            raise ValueError("--network mlp takes no labels: leave out --conditional or --network mlp")
        if self.conditional and self.pack > 1:
            raise ValueError("pack joins images of different labels: leave out --pack or --conditional")


@final
class SNGAN(LatentSystem):
    """Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", arXiv 1802.05957.

    With `conditional`: Miyato and Koyama 2018, "cGANs with Projection Discriminator", arXiv 1802.05637.
    Code: pfnet-research/sngan_projection, which the ResNets, the order of the updates and the rates follow.
    Differs from the paper: power iteration begins with 15 rounds and goes one round at each pass, so two for
    an update, as in the released code; the labels of generated images are those of real ones of the same
    batch, not uniform; an average of the generator (EMA) is what is sampled; the output layers of the
    convolutional and plain discriminators have no bias; pixels are dequantised only where the data's options
    say so. Sizes other than 32x32, and plain layers for 2-D points, are ours.
    """

    Config = SNGANConfig
    purpose = "new images, of a requested class or any"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: SNGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: SNGANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.generator: nn.Module
        self.discriminator: nn.Module
        if config.network == "mlp":
            self.generator, self.discriminator = _plain_pair(config, data, self.augment.shape)
            return
        start, doublings = _stages(config, data)
        num_classes = num_classes_of("sngan --conditional", data) if config.conditional else 0
        sizes: dict[str, Any] = {"start": start, "doublings": doublings, "num_classes": num_classes}
        latent_size, spectral = config.latent_size, config.spectral
        channels, shown = data.channels, self.augment.shape[0]
        if config.network == "resnet":
            self.generator = ResNetGenerator(
                latent_size=latent_size,
                channels=channels,
                width=config.width or (64 if config.widening else 256),
                widening=config.widening,
                upsampling=config.upsampling,
                **sizes,
            )
            self.discriminator = ResNetDiscriminator(
                channels=shown,
                width=config.discriminator_width or 128,
                spectral=spectral,
                pooling="sum",
                **sizes,
            )
        else:
            self.generator = SNGANGenerator(
                latent_size=latent_size, channels=channels, width=config.width or 64, **sizes
            )
            self.discriminator = SNGANDiscriminator(
                channels=shown, width=config.discriminator_width or 64, spectral=spectral, **sizes
            )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return adams(self, config.rates(("discriminator", "generator")), config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the generator, then the discriminator on fresh images and fakes, as the released code."""
        config = self.config
        size = len(batch.images) // config.discriminator_steps
        hinge = config.loss == "hinge"

        # Generator: twice the batch, with labels drawn from those of the data.
        labels, count = tuple[Tensor, ...](), config.generator_batch_factor * size
        if config.conditional:
            assert batch.labels is not None
            of_data = gathered(batch.labels)
            labels = (of_data[torch.randint(len(of_data), (count,), device=self.device)],)
        with frozen(self.discriminator):
            fakes = self.generator(self.draw_latents(count), *labels)
            fake_logits = self.discriminator(self.augment(fakes), *labels)
            loss = (
                generator_wasserstein(fake_logits) if hinge else generator_loss("non_saturating", fake_logits)
            )
            update("generator", loss)

        # Discriminator: in two passes, so that the power iteration goes two rounds for each update.
        for k in range(config.discriminator_steps):
            real = batch[k * size : (k + 1) * size]
            labels = (real.labels,) if config.conditional and real.labels is not None else ()
            with torch.no_grad():
                fakes = self.generator(self.draw_latents(size), *labels)
            real_logits = self.discriminator(self.augment(real.images), *labels)
            fake_logits = self.discriminator(self.augment(fakes), *labels)
            discriminator_loss = (discriminator_hinge if hinge else discriminator_logistic)(
                real_logits, fake_logits
            )
            update("discriminator", discriminator_loss)
            self.augment.adapt(real_logits)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": loss.detach(),
            "real_logit": real_logits.detach().float().mean(),
            "fake_logit": fake_logits.detach().float().mean(),
        } | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise, and the rates linearly to 0."""
        self.augment.schedule(images_seen)
        if self.config.learning_rate_decay == "linear":
            all_images = self.config.steps * self.images_per_step()
            decay_linearly(optimizers, self.config.rates(optimizers), images_seen, all_images)

    def images_per_step(self) -> int:
        """A batch for each of the discriminator's updates."""
        return self.config.batch * self.config.discriminator_steps

    @property
    def conditions(self) -> frozenset[str]:
        """The labels, where they are used."""
        return frozenset({"labels"}) if self.config.conditional else frozenset()

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents, of the labels that are given or random ones."""
        if not self.config.conditional:
            return self.generator(latents)
        return self.generator(latents, labels_of(given, len(latents), self.data, latents.device, generator))

    @property
    def logits_are_log_odds(self) -> bool:
        """Where the loss is logistic."""
        return self.config.loss == "non_saturating"

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Logits; None where the labels are needed and not given."""
        if not self.config.conditional:
            return self.augment.logits(self.discriminator, images)
        if given is None or given.labels is None:
            return None
        return self.augment.logits(partial(self.discriminator, labels=given.labels), images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For 2-D points: plain layers."""
        return dict(FOR_POINTS) if data.values == "points" else {}


FOR_POINTS: Suggestions = {
    "network": ("mlp", "2-D points have no neighbours to convolve"),
    "latent_size": (2, "the data has two dimensions"),
    "steps": (20_000, "fewer because points train in minutes"),
    "batch": (256, "larger because points cost little"),
}


def _plain_pair(
    config: SNGANConfig, data: DataSpec, shape: tuple[int, int, int]
) -> tuple[PlainGenerator, PlainDiscriminator]:
    """Three hidden layers each; those of the discriminator, leaky, are spectrally normalised."""
    hidden, seen = config.generator_hidden, config.discriminator_hidden
    generator = PlainGenerator(
        latent_size=config.latent_size,
        hidden=(config.width or 128,) * 3 if hidden is None else hidden,
        shape=data.shape,
        bounded=data.values == "pixels",
    )
    discriminator = PlainDiscriminator(
        shape=shape,
        hidden=(config.discriminator_width or 128,) * 3 if seen is None else seen,
        activation="leaky_relu",
        output_bias=False,
    )
    if config.spectral:
        normalise_spectrally(discriminator)
    return generator, discriminator


def _stages(config: SNGANConfig, data: DataSpec) -> tuple[Sides, int]:
    """Height and width of the smallest maps, and doublings; raises UserError where the size has none."""
    side = config.smallest_maps
    if side is None:
        return rectangle_for("sngan", data, plain=False)
    doublings = round(math.log2(max(1, data.height / side)))
    if not doublings or not data.height == data.width == side * 2**doublings:
        raise UserError(
            f"--smallest-maps {side} needs square images of {side} times 2, 4, 8, ... pixels, this data has "
            f"{data.width}x{data.height}: leave it out, or use --size {side * 2 ** max(1, doublings)}"
        )
    return (side, side), doublings
