"""The deep convolutional GAN of Radford et al. 2015."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.losses import adversarial_metrics, discriminator_logistic, generator_loss, logit_metrics
from ganforge.system import LatentSystem, Prior, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput, LogisticConfig
from ganforge.systems.families.networks import (
    ODD_MAPS,
    OddMaps,
    network_pair,
    pooled_features,
    suggest_odd_maps,
)
from ganforge.systems.families.own_parts import OwnPartsConfig, own_loss


class DCGANConfig(LogisticConfig, OwnPartsConfig):
    """Defaults are those of section 4 of the paper and of its released networks."""

    steps: PositiveInt = Field(20_000, description="Training steps; about 25 epochs of 100,000 images.")
    batch: PositiveInt = Field(128, ge=2, description="Images per update; batch norm needs two.")
    width: PositiveInt = Field(
        128, description="Channels next to the image, doubled at every halving; hidden units of the mlp."
    )
    kernel_size: Literal[5, 4] = Field(5, description="5: the paper's convolutions; 4: the PyTorch ports'.")
    latent_size: PositiveInt = Field(100, description="Numbers in one latent.")
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's rate for both networks.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")
    weight_decay: NonNegativeFloat = Field(0.0, description="L2 penalty; the released code has 1e-5.")

    # Not from the paper.
    odd_maps: OddMaps = Field("keep", description=ODD_MAPS)
    dense_units: NonNegativeInt = Field(
        0, description="Units of a dense layer next to the latents and the logit, as InfoGAN has; 0: none."
    )
    generator_steps: PositiveInt = Field(
        1,
        description="Generator updates in each step, after the first with fresh fakes; PacGAN has 2.",
    )
    network: Literal["convolutional", "mlp"] = Field(
        "convolutional", description="convolutional: the paper's; mlp: plain layers, for 2-D points."
    )
    latent_distribution: Literal["uniform", "gaussian"] = Field(
        "uniform", description="U(-1, 1), the paper's, or standard Gaussian."
    )


@final
class DCGAN(LatentSystem):
    """Radford, Metz and Chintala 2015, "Unsupervised Representation Learning with DCGANs", arXiv 1511.06434.

    Differs from the paper: no L2 penalty by default and both networks are updated on every batch (the
    paper's text; its code adds 1e-5 and alternates by batch); the generator is updated with the fakes that
    the discriminator has just seen (as the PyTorch tutorial does: one generator pass less); an average of the
    generator (EMA) is what is sampled. 28x28 starts from 4x4 maps, over 7x7 (`odd_maps`).
    """

    Config = DCGANConfig
    purpose = "new images like yours: start here"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: DCGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: DCGANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.generator, self.discriminator = network_pair(
            "dcgan",
            data,
            own=config,
            network=config.network,
            width=config.width,
            latent_size=config.latent_size,
            shape=self.augment.shape,
            kernel_size=config.kernel_size,
            dense_units=config.dense_units,
            odd_stage=config.odd_maps == "halve",
        )
        self.own_loss = own_loss(config)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return {
            name: torch.optim.Adam(
                self.get_submodule(name).parameters(),
                rate,
                betas=(config.beta1, config.beta2),
                weight_decay=config.weight_decay,
                fused=True,
            )
            for name, rate in config.rates(("discriminator", "generator")).items()
        }

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator, then the generator against it with the same fakes."""
        fakes = self.generator(self.draw_latents(len(batch.images)))

        # Discriminator: tell real from generated, in separate passes because of its batch norm.
        real_logits = self.discriminator(self.augment(batch.images))
        fake_logits = self.discriminator(self.augment(fakes.detach()))
        if self.own_loss is None:
            targets = self.config.target_options
            discriminator_loss = discriminator_logistic(real_logits, fake_logits, **targets)
        else:
            discriminator_loss = self.own_loss.discriminator(real_logits, fake_logits)
        update("discriminator", discriminator_loss)
        self.augment.adapt(real_logits)

        # Generator: be taken for real.
        with frozen(self.discriminator):
            for k in range(self.config.generator_steps):
                if k:
                    fakes = self.generator(self.draw_latents(len(batch.images)))
                logits = self.discriminator(self.augment(fakes))
                if self.own_loss is None:
                    loss = generator_loss("non_saturating", logits)
                else:
                    loss = self.own_loss.generator(self.discriminator(self.augment(batch.images)), logits)
                update("generator", loss)
        metrics = adversarial_metrics if self.own_loss is None else logit_metrics
        return metrics(discriminator_loss, loss, real_logits, fake_logits) | self.augment.metrics()

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
        """Logits."""
        return self.augment.logits(self.discriminator, images)

    def features(self, images: Tensor) -> Tensor:
        """Pooled maps of the discriminator."""
        return pooled_features(self.discriminator, self.config.pack, images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For 2-D points plain networks; on a CPU what draws most in minutes; one more stage for 28x28."""
        if data.values == "points":
            return dict(FOR_POINTS)
        return (dict(FOR_CPU) if device == "cpu" else {}) | suggest_odd_maps(data)


# Emoji at 32x32, 2,000 steps: FID 11.6 (`benchmarks/short_budgets.json`); the paper's rate and kernel: 41.7.
FOR_CPU: Suggestions = {
    "width": (32, "smaller because the run trains on a CPU"),
    "kernel_size": (4, "two thirds of the work of 5"),
    "batch": (64, "smaller, for more steps in the same time"),
    "learning_rate": (1e-3, "higher because there are few steps"),
    "latent_distribution": ("gaussian", "as in the PyTorch ports"),
}
FOR_POINTS: Suggestions = {
    "network": ("mlp", "2-D points have no neighbours to convolve"),
    "latent_size": (2, "the data has two dimensions"),
    "latent_distribution": ("gaussian", "points are unbounded"),
}
