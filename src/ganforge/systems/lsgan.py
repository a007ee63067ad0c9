"""The least squares GAN of Mao et al. 2016."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.losses import discriminator_least_squares, generator_least_squares, logit_metrics
from ganforge.nn.optimizers import adams
from ganforge.system import LatentSystem, Prior, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput, TwoRatesConfig
from ganforge.systems.families.networks import (
    HIDDEN,
    ODD_MAPS,
    Hidden,
    OddMaps,
    network_pair,
    pooled_features,
    suggest_odd_maps,
)
from ganforge.systems.families.own_parts import OwnPartsConfig, own_loss


class LSGANConfig(TwoRatesConfig, OwnPartsConfig):
    """Defaults are those of the released code for the networks of DCGAN."""

    steps: PositiveInt = Field(100_000, description="Training steps, each one update of both networks.")
    batch: PositiveInt = Field(64, ge=2, description="Images per update; batch norm needs two.")
    fake_target: FiniteFloat = Field(0.0, description="a, the discriminator's target for generated images.")
    real_target: FiniteFloat = Field(1.0, description="b, the discriminator's target for real images.")
    generator_target: FiniteFloat = Field(1.0, description="c, the generator's target for generated images.")
    width: PositiveInt = Field(
        64, description="Channels next to the image, doubled at every halving; hidden units of the mlp."
    )
    latent_size: PositiveInt = Field(1024, description="Numbers in one latent.")
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's rate for both networks.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")

    # Not from the paper.
    odd_maps: OddMaps = Field("keep", description=ODD_MAPS)
    network: Literal["convolutional", "mlp"] = Field(
        "convolutional", description="convolutional: those of DCGAN; mlp: plain layers, for 2-D points."
    )
    generator_hidden: Hidden = Field(None, description=HIDDEN.format("generator"))
    discriminator_hidden: Hidden = Field(None, description=HIDDEN.format("discriminator"))
    latent_distribution: Literal["uniform", "gaussian"] = Field(
        "uniform", description="U(-1, 1), the released code's, or standard Gaussian."
    )

    def model_post_init(self, _: object) -> None:
        """Reject equal targets of real and generated images."""
        super().model_post_init(_)
        if self.fake_target == self.real_target:
            raise ValueError(
                f"the targets of real and generated images are both {self.real_target:g}: use another "
                f"--fake-target or --real-target"
            )


@final
class LSGAN(LatentSystem):
    """Mao et al. 2016, "Least Squares Generative Adversarial Networks", arXiv 1611.04076.

    Differs from the paper: the networks are those of DCGAN, with which the paper compares the stability of
    both losses, and so is the rate; its LSUN images of 112x112 come from a deeper generator at a rate of
    1e-3. The loss is a mean over the batch (the code sums, which Adam does not notice). An average of the
    generator (EMA) is what is sampled.
    """

    Config = LSGANConfig
    purpose = "new images, with a least-squares loss"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: LSGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: LSGANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.generator, self.discriminator = network_pair(
            "lsgan",
            data,
            own=config,
            network=config.network,
            width=config.width,
            latent_size=config.latent_size,
            shape=self.augment.shape,
            odd_stage=config.odd_maps == "halve",
            hidden=(config.generator_hidden, config.discriminator_hidden),
        )
        self.own_loss = own_loss(config)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return adams(self, config.rates(("discriminator", "generator")), config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator, then the generator against it with the same fakes."""
        config = self.config
        fakes = self.generator(self.draw_latents(len(batch.images)))

        # Discriminator: b for real and a for generated, in separate passes because of its batch norm.
        real_logits = self.discriminator(self.augment(batch.images))
        fake_logits = self.discriminator(self.augment(fakes.detach()))
        if self.own_loss is None:
            discriminator_loss = discriminator_least_squares(
                real_logits, fake_logits, config.fake_target, config.real_target
            )
        else:
            discriminator_loss = self.own_loss.discriminator(real_logits, fake_logits)
        update("discriminator", discriminator_loss)
        # Undecided is halfway between both targets.
        self.augment.adapt(real_logits - (config.fake_target + config.real_target) / 2)

        # Generator: c for generated.
        with frozen(self.discriminator):
            logits = self.discriminator(self.augment(fakes))
            if self.own_loss is None:
                loss = generator_least_squares(logits, config.generator_target)
            else:
                loss = self.own_loss.generator(self.discriminator(self.augment(batch.images)), logits)
            update("generator", loss)
        return logit_metrics(discriminator_loss, loss, real_logits, fake_logits) | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise."""
        self.augment.schedule(images_seen)

    @property
    def prior(self) -> tuple[Prior, ...]:
        """Uniform in [-1, 1], or Gaussian."""
        kind = self.config.latent_distribution
        return (Prior(kind, self.config.latent_size),)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`."""
        shape = (count, self.config.latent_size)
        if self.config.latent_distribution == "gaussian":
            return torch.randn(shape, generator=generator, device=self.device)
        return 2 * torch.rand(shape, generator=generator, device=self.device) - 1

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents."""
        return self.generator(latents)

    @property
    def logits_are_log_odds(self) -> bool:
        """Of the paper's loss; what an own loss makes of them is unknown."""
        return self.own_loss is None

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor:
        """Logits of being real: the best output is a + (b - a) p_data / (p_data + p_g) (section 3)."""
        outputs = self.augment.logits(self.discriminator, images).float()
        fake_target, real_target = self.config.fake_target, self.config.real_target
        return torch.logit((outputs - fake_target) / (real_target - fake_target), eps=1e-6)

    def features(self, images: Tensor) -> Tensor:
        """Pooled maps of the discriminator."""
        return pooled_features(self.discriminator, self.config.pack, images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For 2-D points: plain networks; one more stage for sizes such as 28."""
        return dict(FOR_POINTS) if data.values == "points" else suggest_odd_maps(data)


FOR_POINTS: Suggestions = {
    "network": ("mlp", "2-D points have no neighbours to convolve"),
    "width": (256, "two hidden layers of this width are enough for points"),
    "latent_size": (2, "the data has two dimensions"),
    "latent_distribution": ("gaussian", "points are unbounded"),
    "steps": (20_000, "fewer because points train in minutes"),
    "batch": (256, "larger because points cost little"),
}
