"""The generative adversarial network of Goodfellow et al. 2014."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.losses import (
    AdversarialLoss,
    adversarial_metrics,
    discriminator_logistic,
    generator_loss,
    one_stage_scale,
)
from ganforge.nn.networks.mlp import (
    Activation,
    MaxoutDiscriminator,
    PlainDiscriminator,
    PlainGenerator,
    SigmoidGenerator,
)
from ganforge.nn.optimizers import adams, schedule_sgd
from ganforge.system import LatentSystem, Prior, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput, LogisticConfig


class GANConfig(LogisticConfig):
    """Defaults are the MNIST experiment of the paper, as released (`mnist.yaml`)."""

    steps: PositiveInt = Field(125_000, description="Training steps; the default is 250 epochs of MNIST.")
    batch: PositiveInt = Field(100, description="Images per update.")
    latent_size: PositiveInt = Field(100, description="Numbers in one latent.")
    generator_hidden: tuple[PositiveInt, ...] = Field(
        (1200, 1200), description="Hidden units of the generator."
    )
    discriminator_hidden: tuple[PositiveInt, ...] = Field(
        (240, 240), description="Hidden units of the discriminator."
    )
    maxout_pieces: PositiveInt = Field(5, description="Affine pieces of each maxout unit.")
    input_keep: float = Field(
        0.8, gt=0, le=1, description="Probability that dropout keeps a discriminator input."
    )
    hidden_keep: float = Field(0.5, gt=0, le=1, description="Probability that dropout keeps a hidden unit.")
    loss: AdversarialLoss = Field("non_saturating", description="What the generator minimises.")
    play: Literal["simultaneous", "alternating"] = Field(
        "simultaneous",
        description="simultaneous: one fake batch and one backward for both networks, as released; "
        "alternating: Algorithm 1, with fresh latents for the generator.",
    )
    discriminator_steps: PositiveInt = Field(1, description="k of Algorithm 1; needs alternating play.")
    learning_rate: PositiveFloat = Field(0.1, description="Learning rate of the generator.")
    learning_rate_decay: float = Field(
        1.000004, ge=1, description="The rate is divided by this at every step."
    )
    lowest_learning_rate: NonNegativeFloat = Field(1e-6, description="Floor of the decayed rate.")
    momentum: float = Field(0.5, ge=0, lt=1, description="First momentum (sgd), or beta 1 (adam).")
    final_momentum: float = Field(
        0.7, ge=0, lt=1, description="Momentum from the last epoch of its schedule on."
    )
    momentum_epochs: PositiveInt = Field(
        250, description="Epoch at which the final momentum is reached (sgd)."
    )

    # Not from the paper.
    network: Literal["maxout", "mlp"] = Field(
        "maxout", description="maxout: the paper's MNIST pair; mlp: plain layers, also for 2-D points."
    )
    latent_distribution: Literal["gaussian", "uniform", "spherical"] = Field(
        "gaussian",
        description="Standard Gaussian, uniform of the same variance, or Gaussian put on the sphere.",
    )
    activation: Activation = Field("relu", description="Activation of the mlp networks.")
    init_std: float | None = Field(
        None, gt=0, description="Standard deviation of the mlp networks' first weights; none: torch's own."
    )
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="Gradient rule of both networks.")
    ema_half_life: NonNegativeFloat = Field(
        500_000,
        description="Half-life, in images, of the averaged generator that is sampled; 0 turns it off.",
    )

    def model_post_init(self, _: object) -> None:
        """Reject combinations that have no meaning."""
        super().model_post_init(_)
        if self.label_flips and self.play == "simultaneous":
            raise ValueError("label_flips needs --play alternating")
        if self.discriminator_steps > 1 and self.play == "simultaneous":
            raise ValueError("discriminator_steps above 1 needs --play alternating")


@final
class GAN(LatentSystem):
    """Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv 1406.2661; code goodfeli/adversarial.

    Differs from the paper: nothing in the networks, losses and rates of the released MNIST experiment, but
    that the output bias starts from the mean of 10,000 training images instead of all, and that the noise is
    Gaussian as in the first `mnist.yaml`: since 18 June 2014 it is uniform of the same variance there
    (`latent_distribution`). Added: an average of
    the generator (EMA) is what is sampled; plain networks and Adam for 2-D points. The paper's
    text alternates with fresh noise (Algorithm 1), its code updates both networks from one pass: the default.
    """

    Config = GANConfig
    purpose = "the first GAN, to study: points and digits"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    logits_are_log_odds = True

    def __init__(self, config: GANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: GANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.generator: nn.Module
        self.discriminator: nn.Module
        if config.network == "maxout":
            if data.values == "points":
                raise UserError("network maxout decodes pixels, this data is 2-D points: use --network mlp")
            self.generator = SigmoidGenerator(
                latent_size=config.latent_size, hidden=config.generator_hidden, shape=data.shape
            )
            self.discriminator = MaxoutDiscriminator(
                shape=self.augment.shape,
                units=config.discriminator_hidden,
                pieces=config.maxout_pieces,
                input_keep=config.input_keep,
                hidden_keep=config.hidden_keep,
            )
        else:
            self.generator = PlainGenerator(
                latent_size=config.latent_size,
                hidden=config.generator_hidden,
                shape=data.shape,
                activation=config.activation,
                bounded=data.values == "pixels",
                init_std=config.init_std,
            )
            self.discriminator = PlainDiscriminator(
                shape=self.augment.shape,
                hidden=config.discriminator_hidden,
                activation=config.activation,
                init_std=config.init_std,
            )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimizer for each network."""
        config = self.config
        rates = config.rates(("discriminator", "generator"))
        if config.optimizer == "adam":
            return adams(self, rates, config.momentum, 0.999)
        return {
            name: torch.optim.SGD(
                self.get_submodule(name).parameters(), rate, momentum=config.momentum, fused=True
            )
            for name, rate in rates.items()
        }

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One update of both networks, by the released code or by Algorithm 1."""
        if self.config.play == "simultaneous":
            return self._simultaneous_step(batch, update)
        return self._alternating_step(batch, update)

    def _simultaneous_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Both gradients from one pass of one fake batch, dropout masks included."""
        fakes = self.generator(self.draw_latents(len(batch.images)))
        leaf = fakes.detach().requires_grad_()
        # One pass for both: nothing in these discriminators looks across samples.
        real_logits, fake_logits = self.discriminator(self.augment(torch.cat([batch.images, leaf]))).chunk(2)
        # The released code halves the discriminator's loss, not the generator's: hence the 2 below.
        discriminator_loss = 0.5 * discriminator_logistic(
            real_logits, fake_logits, smoothing=self.config.label_smoothing
        )
        fake_gradient = update("discriminator", discriminator_loss, watch=leaf)
        self.augment.adapt(real_logits)
        assert fake_gradient is not None
        scale = 2 * one_stage_scale(self.config.loss, fake_logits).repeat_interleave(self.config.pack)
        update("generator", (fakes * (scale.view(-1, 1, 1, 1) * fake_gradient)).sum())
        loss = generator_loss(self.config.loss, fake_logits)
        metrics = adversarial_metrics(discriminator_loss, loss, real_logits, fake_logits)
        return metrics | self.augment.metrics()

    def _alternating_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Algorithm 1: k discriminator updates on fresh data and noise, then one of the generator."""
        size = len(batch.images) // self.config.discriminator_steps
        for k in range(self.config.discriminator_steps):
            with torch.no_grad():
                fakes = self.generator(self.draw_latents(size))
            real_logits = self.discriminator(self.augment(batch[k * size : (k + 1) * size].images))
            fake_logits = self.discriminator(self.augment(fakes))
            discriminator_loss = 0.5 * discriminator_logistic(
                real_logits, fake_logits, **self.config.target_options
            )
            update("discriminator", discriminator_loss)
            self.augment.adapt(real_logits)
        with frozen(self.discriminator):
            loss = generator_loss(
                self.config.loss, self.discriminator(self.augment(self.generator(self.draw_latents(size))))
            )
            update("generator", loss)
        metrics = adversarial_metrics(discriminator_loss, loss, real_logits, fake_logits)
        return metrics | self.augment.metrics()

    def prepare(self, images: Tensor) -> None:
        """Set the output bias of the paper's generator to the logit of the mean training image."""
        if isinstance(self.generator, SigmoidGenerator):
            self.generator.set_output_mean(images.mean(0))

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the rates at every step and raise the momentum linearly from epoch 1 on."""
        self.augment.schedule(images_seen)
        config = self.config
        schedule_sgd(
            optimizers,
            step=images_seen / self.images_per_step(),
            epoch=images_seen / self.data.num_images,
            decay=config.learning_rate_decay,
            lowest_rate=config.lowest_learning_rate,
            momenta=(config.momentum, config.final_momentum),
            momentum_epochs=config.momentum_epochs,
        )

    def images_per_step(self) -> int:
        """Algorithm 1 draws k batches for each step of the generator."""
        return self.config.batch * self.config.discriminator_steps

    @property
    def prior(self) -> tuple[Prior, ...]:
        """Of unit variance."""
        kinds: dict[str, Prior] = {
            "gaussian": Prior("gaussian", self.config.latent_size),
            "uniform": Prior("uniform", self.config.latent_size, -(3**0.5), 3**0.5),
            "spherical": Prior("sphere", self.config.latent_size),
        }
        return (kinds[self.config.latent_distribution],)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]` of unit variance."""
        shape = (count, self.config.latent_size)
        if self.config.latent_distribution == "uniform":
            return (2 * torch.rand(shape, generator=generator, device=self.device) - 1) * 3**0.5
        latents = torch.randn(shape, generator=generator, device=self.device)
        if self.config.latent_distribution == "spherical":
            latents = torch.nn.functional.normalize(latents) * self.config.latent_size**0.5
        return latents

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents."""
        return self.generator(latents)

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor:
        """Logits."""
        return self.augment.logits(self.discriminator, images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For 2-D points: plain networks and Adam."""
        if data.values == "pixels":
            return {}
        return FOR_POINTS | (FOR_FEW_POINTS if data.num_images <= FEW_POINTS else FOR_MANY_POINTS)


FEW_POINTS = 2_000
PLAIN = "2-D points are unbounded and need no dropout"
TOY = "few points: an affine generator as in the 2-D Gaussian toy of d2l.ai"
STEADY = "few points: converges where the rates and the batch of d2l.ai oscillate"
MANY = "many points: two hidden layers"

FOR_POINTS: Suggestions = {
    "network": ("mlp", PLAIN),
    "latent_size": (2, "the data has two dimensions"),
    "optimizer": ("adam", "usual for plain networks"),
    "play": ("alternating", "the usual form with Adam"),
    "learning_rate_decay": (1.0, "a constant rate, as usual with Adam"),
}
FOR_FEW_POINTS: Suggestions = {
    "generator_hidden": ((), TOY),
    "discriminator_hidden": ((5, 3), TOY),
    "activation": ("tanh", TOY),
    "init_std": (0.02, TOY),
    # With the toy's own batch of 8 and rates of 0.005 and 0.05, 6 of 10 seeds end off the mark.
    "batch": (128, STEADY),
    "steps": (6_000, STEADY),
    "learning_rate": (0.002, STEADY),
    "discriminator_learning_rate": (0.01, STEADY),
}
FOR_MANY_POINTS: Suggestions = {
    "generator_hidden": ((256, 256), MANY),
    "discriminator_hidden": ((256, 256), MANY),
    "activation": ("leaky_relu", MANY),
    "batch": (256, MANY),
    "steps": (20_000, MANY),
    "learning_rate": (2e-4, MANY),
}
