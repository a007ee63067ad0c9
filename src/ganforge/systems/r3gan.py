"""The modern baseline GAN of Huang et al. 2024: relativistic pairs with two gradient penalties."""

import math
from functools import partial
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.inference import Clamped
from ganforge.nn.losses import (
    discriminator_relativistic,
    generator_relativistic,
    penalised,
    zero_centred_penalty,
)
from ganforge.nn.networks.mlp import PlainDiscriminator, PlainGenerator
from ganforge.nn.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from ganforge.nn.optimizers import adams
from ganforge.system import LatentSystem, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import (
    DiscriminatorInput,
    TwoRatesConfig,
    labels_of,
    num_classes_of,
)
from ganforge.systems.families.networks import HIDDEN, Hidden
from ganforge.systems.families.resolutions import rectangle_for


class R3GANConfig(TwoRatesConfig):
    """Defaults are the CIFAR-10 settings of the paper; `suggest` fits them to other data."""

    steps: PositiveInt = Field(200_000, description="Training steps.")
    batch: PositiveInt = Field(512, description="Images per update.")
    ema_half_life: NonNegativeFloat = Field(
        5_000_000,
        description="Half-life, in images, of the averaged generator that is sampled; 0 turns it off.",
    )
    width: PositiveInt = Field(768, description="Channels of the maps; hidden units of the mlp.")
    halvings: NonNegativeInt = Field(
        0,
        description="At how many of the largest sizes of the maps the width is halved, each time once more; "
        "the paper has 3 for 256x256 images.",
    )
    group_size: PositiveInt = Field(
        16, description="Channels in a group of the 3x3 convolutions; must divide twice the width, if less."
    )
    blocks: PositiveInt = Field(2, description="Residual blocks at each size of the maps.")
    conditional: bool = Field(False, description="Use the labels.")
    latent_size: PositiveInt = Field(64, description="Standard Gaussian numbers in one latent.")
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's first rate for both networks.")
    final_learning_rate: NonNegativeFloat = Field(5e-5, description="Rate after the burn-in.")
    gamma: NonNegativeFloat = Field(0.05, description="First weight of the gradient penalties, halved.")
    final_gamma: NonNegativeFloat = Field(0.005, description="Weight of the penalties after the burn-in.")
    beta2: float = Field(0.9, ge=0, lt=1, description="Adam's second decay at first; beta 1 is 0.")
    final_beta2: float = Field(0.99, ge=0, lt=1, description="Adam's second decay after the burn-in.")
    burn_in_images: PositiveInt | None = Field(
        20_000_000,
        description="Images over which rate, gamma and beta 2 go to their final values, by a cosine; "
        "None: all of the training.",
    )

    # Not from the paper.
    penalty_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of each batch that both gradient penalties are computed on; below 1 the loss has "
        "a pass of its own, in any precision.",
    )
    network: Literal["residual", "mlp"] = Field(
        "residual", description="residual: the paper's architecture E; mlp: plain layers, for 2-D points."
    )
    generator_hidden: Hidden = Field(None, description=HIDDEN.format("generator"))
    discriminator_hidden: Hidden = Field(None, description=HIDDEN.format("discriminator"))

    def model_post_init(self, _: object) -> None:
        """Reject groups that do not fit, and packs of images that have labels."""
        super().model_post_init(_)
        for halved in range(self.halvings + 1) if self.network == "residual" else ():
            inner = 2 * (self.width >> halved)
            if (inner > self.group_size and inner % self.group_size) or not inner:
                raise ValueError(
                    f"group_size {self.group_size} does not divide {inner}, twice the width of some maps: "
                    "use --group-size 16 and a width that is a multiple of 8"
                )
        if self.conditional and self.network == "mlp":
            raise ValueError("--network mlp takes no labels: leave out --conditional or --network mlp")
        if self.conditional and self.pack > 1:
            raise ValueError("pack joins images of different labels: leave out --pack or --conditional")


@final
class R3GAN(LatentSystem):
    """Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern Baseline GAN", arXiv 2501.05441.

    Code: brownvc/R3GAN. The relativistic pairing loss, R1 and R2 at every step, and networks without
    normalisation. Differs from the paper: the half-life of the average (EMA) grows with the images seen
    (`ema_ramp_up`) instead of by a cosine; augmentation is DiffAugment or ADA with its adaptive probability,
    where the paper raises the probability by a cosine to 0.55, has colour changes at half of it, and cutout;
    classes are optional, on CIFAR-10 the paper uses them; the
    output is not bounded in training, as in the paper, and clamped to [-1, 1] where it is sampled; 28x28
    starts from 7x7 maps; the penalised passes are in float32. Plain layers for 2-D points are ours, and so
    are penalties of a share of each batch (`penalty_share`), which estimate those of all.
    """

    Config = R3GANConfig
    purpose = "new images, by a recent GAN; for a GPU"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    logits_are_log_odds = False  # only their differences mean something
    gamma: Tensor

    def __init__(self, config: R3GANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: R3GANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.register_buffer("gamma", torch.tensor(config.gamma))
        self.generator: nn.Module
        self.discriminator: nn.Module
        num_classes = num_classes_of("r3gan --conditional", data) if config.conditional else 0
        hidden = (config.generator_hidden, config.discriminator_hidden)
        if config.network == "mlp":
            layers = (config.width,) * 3
            of_generator, of_discriminator = (layers if units is None else units for units in hidden)
            self.generator = PlainGenerator(
                latent_size=config.latent_size, hidden=of_generator, shape=data.shape
            )
            self.discriminator = PlainDiscriminator(
                shape=self.augment.shape,
                hidden=of_discriminator,
                activation="leaky_relu",
                output_bias=False,
            )
            return
        start, doublings = rectangle_for("r3gan", data)
        sizes: dict[str, Any] = {
            "start": start,
            "doublings": doublings,
            "width": config.width,
            "num_classes": num_classes,
        }
        if config.halvings > doublings:
            raise UserError(
                f"--halvings {config.halvings}: maps of {data.height} pixels have {doublings} sizes above "
                f"the smallest, expected 0 to {doublings}"
            )
        sizes |= {"group_size": config.group_size, "blocks": config.blocks, "halvings": config.halvings}
        self.generator = R3GANGenerator(latent_size=config.latent_size, channels=data.channels, **sizes)
        self.discriminator = R3GANDiscriminator(channels=self.augment.shape[0], **sizes)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam without momentum for each network."""
        config = self.config
        return adams(self, config.rates(("discriminator", "generator")), 0.0, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator with both penalties, then the generator with fresh fakes."""
        labels = (batch.labels,) if self.config.conditional and batch.labels is not None else ()
        share = self.config.penalty_share
        reals = batch.images.detach().requires_grad_()
        with torch.no_grad():
            fakes = self.generator(self.draw_latents(len(reals)), *labels)
        fakes.requires_grad_()

        # Discriminator: one pass of each serves the loss and its penalty, which need float32 and no compiler.
        with torch.autocast(reals.device.type, enabled=False):
            shown = self.augment(reals), self.augment(fakes)
            real_logits, fake_logits = (
                # Any pairs will do for a share: the loader has shuffled them.
                self.discriminator.forward(*(penalised(rows, share) for rows in (images, *labels)))
                for images in shown
            )
            # The mean over logits: the gradient of a pack is that of all its images, the others' is 0.
            r1, r2 = (
                len(images) / len(logits) * zero_centred_penalty(logits, images)
                for logits, images in ((real_logits, reals), (fake_logits, fakes))
            )
        if share < 1:  # the loss is of all, in one pass that needs neither
            both = torch.cat(shown).detach()
            logits = self.discriminator(both, *(torch.cat([rows, rows]) for rows in labels))
            real_logits, fake_logits = logits.chunk(2)
        discriminator_loss = discriminator_relativistic(real_logits, fake_logits)
        update("discriminator", discriminator_loss + self.gamma / 2 * (r1 + r2))
        self.augment.adapt(real_logits - fake_logits)  # only differences of these logits mean anything

        # Generator: look more real than the real image that each fake is paired with.
        with frozen(self.discriminator):
            fakes = self.generator(self.draw_latents(len(reals)), *labels)
            loss = generator_relativistic(
                self.discriminator(self.augment(batch.images), *labels),
                self.discriminator(self.augment(fakes), *labels),
            )
            update("generator", loss)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": loss.detach(),
            "real_penalty": r1.detach(),
            "fake_penalty": r2.detach(),
        } | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Take rate, gamma and beta 2 from their first to their final values along half a cosine."""
        self.augment.schedule(images_seen)
        config = self.config
        burn_in = config.burn_in_images or config.steps * config.batch
        left = 0.5 * (1 + math.cos(math.pi * min(1.0, images_seen / burn_in)))

        def between(first: float, final: float) -> float:
            return final + left * (first - final)

        self.gamma.fill_(between(config.gamma, config.final_gamma))
        for name, rate in config.rates(optimizers).items():
            for group in optimizers[name].param_groups:
                group["lr"] = between(rate, rate / config.learning_rate * config.final_learning_rate)
                group["betas"] = (0.0, between(config.beta2, config.final_beta2))

    @property
    def conditions(self) -> frozenset[str]:
        """The labels, where they are used."""
        return frozenset({"labels"}) if self.config.conditional else frozenset()

    def inference_network(self) -> nn.Module:
        """The generator, clamped where values are pixels."""
        return Clamped(self.generator) if self.data.values == "pixels" else self.generator

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents, clamped to [-1, 1]; of the labels that are given or of random ones."""
        if self.config.conditional:
            labels = labels_of(given, len(latents), self.data, latents.device, generator)
            images = self.generator(latents, labels)
        else:
            images = self.generator(latents)
        return images.clamp(-1, 1) if self.data.values == "pixels" else images

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Logits; None where labels are needed and not given."""
        if not self.config.conditional:
            return self.augment.logits(self.discriminator, images)
        if given is None or given.labels is None:
            return None
        return self.augment.logits(partial(self.discriminator, labels=given.labels), images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Sizes, rates and penalties by the kind of data, its size, and the device."""
        return dict(FOR_POINTS) if data.values == "points" else _for_images(data, device)


WHOLE = "the schedule spans the whole training"
MINUTES = "2-D points train in minutes on a CPU"
PRECISE = "points are far smaller than the plane they lie in: the end must be precise"
NARROW = "narrow networks and few images do better with many steps at this rate than at the paper's"

FOR_POINTS: Suggestions = {
    "network": ("mlp", "2-D points have no neighbours to convolve"),
    "width": (128, MINUTES),
    "latent_size": (2, "the data has two dimensions"),
    "batch": (256, MINUTES),
    "steps": (10_000, MINUTES),
    "learning_rate": (1e-3, "usual for plain layers"),
    "final_learning_rate": (0.0, PRECISE),
    "gamma": (0.1, "coordinates reach about one to four"),
    "final_gamma": (0.001, PRECISE),
    "burn_in_images": (None, WHOLE),
    "ema_half_life": (50_000, "a fiftieth of the training"),
}


def _for_images(data: DataSpec, device: str) -> Suggestions:
    cpu = device == "cpu"
    where = f"because the run trains on {'a CPU' if cpu else 'one GPU'}"
    size = max(data.height, data.width)
    batch, steps = (32, 8_000) if cpu else (256, 100_000)
    images = batch * steps
    gamma = (4.0 if cpu else 0.5) * (size / 32) ** 2
    pixels = f"scaled to {size} pixels: the paper has 0.5 at 32, 2 at 64" + cpu * ", for many more images"
    suggestions: Suggestions = {
        "width": (64 if cpu else 256, f"smaller {where}; the paper's 768 used eight GPUs"),
        "halvings": (2, "the largest maps cost most on a CPU")
        if cpu and size >= 16
        else (0, "as in the paper"),
        "blocks": (1 if cpu else 2, f"fewer {where}" if cpu else "as in the paper"),
        "batch": (batch, f"smaller {where}"),
        "steps": (steps, f"fewer {where}: {images / 1e6:.2g} million images"),
        "gamma": (gamma, pixels),
        "final_gamma": (gamma / 10, pixels),
        "burn_in_images": (None, WHOLE),
        "ema_half_life": (images / 40, "a fortieth of the training, as in the paper"),
    }
    if cpu:
        suggestions |= {"learning_rate": (1e-3, NARROW), "final_learning_rate": (1e-4, NARROW)}
    if data.num_images < 10_000:
        reason = f"{data.num_images:,} images: the discriminator overfits fewer than 10,000"
        suggestions["augment"] = ("color,translation,cutout", reason)
    return suggestions
