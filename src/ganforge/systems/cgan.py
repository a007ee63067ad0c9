"""The conditional generative adversarial network of Mirza and Osindero 2014."""

from typing import ClassVar, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.inference import OfLabels
from ganforge.nn.losses import adversarial_metrics, discriminator_logistic, generator_loss, one_stage_scale
from ganforge.nn.networks.cgan import ConditionalDiscriminator, ConditionalGenerator
from ganforge.nn.optimizers import schedule_sgd
from ganforge.system import LatentSystem, Prior, Update
from ganforge.systems.families.adversarial import (
    AdversarialConfig,
    DiscriminatorInput,
    labels_of,
    num_classes_of,
)


class CGANConfig(AdversarialConfig):
    """Defaults are the MNIST experiment of section 4.1 of the paper."""

    steps: PositiveInt = Field(125_000, description="Training steps; the default is 250 epochs of MNIST.")
    batch: PositiveInt = Field(100, description="Images per update.")
    latent_size: PositiveInt = Field(100, description="Numbers in one latent, uniform in [0, 1].")
    generator_units: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (200, 1000, 1200), description="Hidden units of the generator: of latents, of labels, of both."
    )
    discriminator_units: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (240, 50, 240), description="Maxout units of the discriminator: of images, of labels, of both."
    )
    maxout_pieces: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (5, 5, 4), description="Affine pieces of the maxout units: of images, of labels, of both."
    )
    dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Probability with which a hidden unit is dropped: the generator's in sampling too.",
    )
    learning_rate: PositiveFloat = Field(0.1, description="First learning rate of both networks.")
    learning_rate_decay: float = Field(
        1.00004, ge=1, description="The rate is divided by this at every step."
    )
    lowest_learning_rate: NonNegativeFloat = Field(1e-6, description="Floor of the decayed rate.")
    momentum: float = Field(0.5, ge=0, lt=1, description="First momentum.")
    final_momentum: float = Field(
        0.7, ge=0, lt=1, description="Momentum from the last epoch of its schedule on."
    )
    momentum_epochs: PositiveInt = Field(250, description="Epoch at which the final momentum is reached.")

    # Not from the paper.
    mismatch_weight: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of real images with a wrong label among what the discriminator rejects; 0: none.",
    )
    ema_half_life: NonNegativeFloat = Field(
        500_000,
        description="Half-life, in images, of the averaged generator that is sampled; 0 turns it off.",
    )

    def model_post_init(self, _: object) -> None:
        """Reject packs, whose images would be of different classes."""
        if self.pack > 1:
            raise ValueError(
                f"cgan's discriminator takes one image with its label, got --pack {self.pack}: use --pack 1"
            )


@final
class CGAN(LatentSystem):
    """Mirza and Osindero 2014, "Conditional Generative Adversarial Nets", arXiv 1411.1784.

    Both networks are conditioned on the label. One step takes both gradients from one pass and halves the
    discriminator's loss, as the code of the authors' GAN does (`goodfeli/adversarial`); the fakes have the
    labels of the real images, so the classes of the data in their proportions. With `mismatch_weight` real
    images with a wrong label are a third kind of pair, as in GAN-CLS (Reed et al. 2016, arXiv 1605.05396).

    Differs from the paper: the generator minimises the non-saturating loss, and an average of it (EMA) is
    what is sampled; it trains for a fixed number of steps, where the paper stops by the log-likelihood of
    validation images. Where the paper is silent: the generator's dropout stays on in sampling, because it is
    the noise that the generator uses (without it the generator ignores z);
    weights start as in He et al. 2015, the output bias at the mean training image, the momentum rises between
    epochs 1 and 250 (both as in the code of the GAN), and dropout is on hidden units, not on pixels.
    """

    Config = CGANConfig
    purpose = "new images of a requested class, by an MLP"
    needs = frozenset({"labels"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: CGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: CGANConfig = config
        self.data = data
        self.num_classes = num_classes_of("cgan", data)
        if config.mismatch_weight and self.num_classes < 2:
            raise UserError("--mismatch-weight needs two classes or more, this data has one: leave it out")
        self.augment = DiscriminatorInput(config, data)
        self.generator = ConditionalGenerator(
            latent_size=config.latent_size,
            num_classes=self.num_classes,
            shape=data.shape,
            units=config.generator_units,
            dropout=config.dropout,
        )
        self.discriminator = ConditionalDiscriminator(
            shape=data.shape,
            num_classes=self.num_classes,
            units=config.discriminator_units,
            pieces=config.maxout_pieces,
            dropout=config.dropout,
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Stochastic gradient descent with momentum for each network."""
        config = self.config
        return {
            name: torch.optim.SGD(
                self.get_submodule(name).parameters(),
                config.learning_rate,
                momentum=config.momentum,
                fused=True,
            )
            for name in ("discriminator", "generator")
        }

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Both gradients from one pass of one fake batch with the real labels, dropout masks included."""
        assert batch.labels is not None
        classes = self._one_hot(batch.labels)
        fakes = self.generator(self.draw_latents(len(classes)), classes)
        leaf = fakes.detach().requires_grad_()
        # One pass for all: nothing in this discriminator looks across samples.
        images, shown, weight = [batch.images, leaf], [classes, classes], self.config.mismatch_weight
        if weight:
            images, shown = [*images, batch.images], [*shown, self._one_hot(self._others(batch.labels))]
        logits = self.discriminator(self.augment(torch.cat(images)), torch.cat(shown))
        real_logits, fake_logits, *wrong_logits = logits.split(len(classes))

        # Discriminator: tell real from generated, and from mismatched, conditioned on the label.
        discriminator_loss = 0.5 * discriminator_logistic(real_logits, fake_logits)
        if weight:
            discriminator_loss = 0.5 * (
                (1 - weight) * discriminator_logistic(real_logits, fake_logits)
                + weight * discriminator_logistic(real_logits, wrong_logits[0])
            )
        fake_gradient = update("discriminator", discriminator_loss, watch=leaf)
        self.augment.adapt(real_logits)
        assert fake_gradient is not None

        # Generator: be taken for real. Its own loss is neither halved nor weighted.
        scale = 2 / (1 - weight) * one_stage_scale("non_saturating", fake_logits)
        update("generator", (fakes * (scale.view(-1, 1, 1, 1) * fake_gradient)).sum())
        loss = generator_loss("non_saturating", fake_logits)
        metrics = adversarial_metrics(discriminator_loss, loss, real_logits, fake_logits)
        if weight:
            metrics["mismatched_probability"] = torch.sigmoid(wrong_logits[0].detach().float()).mean()
        return metrics | self.augment.metrics()

    def prepare(self, images: Tensor) -> None:
        """Set the generator's output bias to the logit of the mean training image."""
        self.generator.output.set_output_mean(images.mean(0))

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

    @property
    def latents_are_gaussian(self) -> bool:
        """They are uniform."""
        return False

    @property
    def continuous_size(self) -> int:
        """The noise of the dropout is thresholded."""
        return self.config.latent_size

    def inference_network(self) -> nn.Module:
        """The generator, given labels."""
        return OfLabels(self.generator, self.num_classes)

    @property
    def prior(self) -> tuple[Prior, ...]:
        """The paper's noise and that of the dropout."""
        return (Prior("uniform", self.generator.noise_size, 0.0),)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents, uniform in the unit hypercube, and the noise of the generator's dropout."""
        return torch.rand(count, self.generator.noise_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents, of the labels of `given` or of random ones."""
        labels = labels_of(given, len(latents), self.data, self.device, generator)
        return self.generator(latents, self._one_hot(labels).to(latents.dtype))

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Logits of images with the labels of `given`; None without labels."""
        if given is None or given.labels is None:
            return None
        return self.discriminator(images, self._one_hot(given.labels))

    @property
    def logits_are_log_odds(self) -> bool:
        """Not where mismatched labels count too."""
        return self.config.mismatch_weight == 0

    def _others(self, labels: Tensor) -> Tensor:
        """For each of `labels` another class, uniformly."""
        steps = torch.randint(1, self.num_classes, labels.shape, device=labels.device)
        return (labels + steps) % self.num_classes

    def _one_hot(self, labels: Tensor) -> Tensor:
        """Labels int64 `[batch]` as float `[batch, num_classes]`."""
        return one_hot(labels, self.num_classes).float()
