"""The auxiliary classifier GAN of Odena et al. 2016."""

from typing import ClassVar, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.inference import OfLabels
from ganforge.nn.losses import adversarial_metrics, discriminator_logistic, generator_loss
from ganforge.nn.networks.acgan import ACGANDiscriminator, ACGANGenerator
from ganforge.nn.optimizers import adams
from ganforge.system import LatentSystem, Update, frozen
from ganforge.systems.families.adversarial import (
    DiscriminatorInput,
    LogisticConfig,
    labels_of,
    num_classes_of,
)
from ganforge.systems.families.resolutions import rectangle_for


class ACGANConfig(LogisticConfig):
    """Defaults are the CIFAR-10 experiment of the paper's appendix."""

    steps: PositiveInt = Field(50_000, description="Training steps; the default is 100 epochs of CIFAR-10.")
    batch: PositiveInt = Field(100, ge=2, description="Images per update; batch norm needs two.")
    width: PositiveInt = Field(
        96, description="Channels of the generator next to the image, doubled at each coarser map."
    )
    discriminator_width: PositiveInt = Field(
        16, description="Channels of the discriminator's first convolution, doubled at each of the next five."
    )
    latent_size: PositiveInt = Field(100, description="Standard Gaussian numbers in one latent.")
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Probability with which the discriminator drops an activation."
    )
    activation_noise: NonNegativeFloat = Field(
        0.0,
        description="Standard deviation of noise on the discriminator's activations; the paper's: 0 to 0.2.",
    )
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's rate for both networks.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")

    def model_post_init(self, _: object) -> None:
        """Reject packs, whose images would be of different classes."""
        if self.pack > 1:
            raise ValueError(f"acgan classifies single images, got --pack {self.pack}: use --pack 1")


@final
class ACGAN(LatentSystem):
    """Odena et al. 2016, "Conditional Image Synthesis with Auxiliary Classifier GANs", arXiv 1610.09585.

    The generator is conditioned on the class, the discriminator is not: it also classifies the image.
    The fakes have the labels of the real images, so the classes of the data in their proportions.

    Differs from the paper: the generator minimises the non-saturating loss, with the fakes that the
    discriminator has just seen; an average of the generator (EMA) is what is sampled; 28x28 starts from 7x7
    maps. The discriminator has the six convolutions of CIFAR-10 at every size. Not checked against the
    paper's table: the networks, the standard Gaussian latents, the rate (1e-4 to 3e-4 there) and that no
    noise is added to activations (0 to 0.2 there).
    """

    Config = ACGANConfig
    purpose = "new images of a requested class"
    accepts = frozenset({"pixels", "alpha"})
    needs = frozenset({"labels"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    logits_are_log_odds = True

    def __init__(self, config: ACGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: ACGANConfig = config
        self.data = data
        self.num_classes = num_classes_of("acgan", data)
        start, doublings = rectangle_for("acgan", data, plain=False)
        self.augment = DiscriminatorInput(config, data)
        self.generator = ACGANGenerator(
            latent_size=config.latent_size,
            num_classes=self.num_classes,
            channels=data.channels,
            start=start,
            doublings=doublings,
            width=config.width,
        )
        self.discriminator = ACGANDiscriminator(
            shape=data.shape,
            num_classes=self.num_classes,
            width=config.discriminator_width,
            dropout=config.dropout,
            activation_noise=config.activation_noise,
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return adams(self, config.rates(("discriminator", "generator")), config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator, then the generator against it with the same fakes."""
        labels = batch.labels
        assert labels is not None
        fakes = self._generate(self.draw_latents(len(labels)), labels)

        # Discriminator: tell real from generated and name the class of both, in separate passes because of
        # its batch norm.
        real_logits, real_classes = self.discriminator(self.augment(batch.images))
        fake_logits, fake_classes = self.discriminator(self.augment(fakes.detach()))
        discriminator_loss = discriminator_logistic(real_logits, fake_logits, **self.config.target_options)
        real_class_loss = cross_entropy(real_classes.float(), labels)
        fake_class_loss = cross_entropy(fake_classes.float(), labels)
        update("discriminator", discriminator_loss + real_class_loss + fake_class_loss)
        self.augment.adapt(real_logits)

        # Generator: be taken for real, and for the class.
        with frozen(self.discriminator):
            logits, classes = self.discriminator(self.augment(fakes))
            loss = generator_loss("non_saturating", logits)
            update("generator", loss + cross_entropy(classes.float(), labels))
        metrics = adversarial_metrics(discriminator_loss, loss, real_logits, fake_logits)
        metrics |= {
            "real_class_loss": real_class_loss.detach(),
            "fake_class_loss": fake_class_loss.detach(),
            "real_class_accuracy": (real_classes.argmax(1) == labels).float().mean(),
            "fake_class_accuracy": (fake_classes.argmax(1) == labels).float().mean(),
        }
        return metrics | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise."""
        self.augment.schedule(images_seen)

    def inference_network(self) -> nn.Module:
        """The generator, given labels."""
        return OfLabels(self.generator, self.num_classes)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`, standard Gaussian."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents, of the labels of `given` or of random ones."""
        return self._generate(latents, labels_of(given, len(latents), self.data, self.device, generator))

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor:
        """Logits of being real, with or without labels."""
        logits: Tensor = self.discriminator(images)[0]
        return logits

    def _generate(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images of latents and labels int64 `[batch]`."""
        return self.generator(latents, one_hot(labels, self.num_classes).float())
