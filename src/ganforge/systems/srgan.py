"""The super-resolution network of Ledig et al. 2016 that is trained against a discriminator."""

from typing import ClassVar, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.inference import Enlarged
from ganforge.nn.losses import adversarial_metrics, discriminator_logistic, generator_loss
from ganforge.nn.networks.srresnet import SRDiscriminator, SRResNet
from ganforge.nn.optimizers import adams
from ganforge.system import Inheritance, System, Tiling, Update, frozen, sources_of
from ganforge.systems.families.perceptual import Content
from ganforge.systems.families.super_resolution import (
    CHUNK,
    SuperResolutionConfig,
    centre,
    crop_side,
    enlarge,
    enlarge_all,
    random_crops,
    scale_of,
)

ONE_PLACE = 16  # pixels of a side that the discriminator's strides make one of


class SRGANConfig(SuperResolutionConfig):
    """Defaults are those of section 3.2 of the paper, except for the content loss."""

    steps: PositiveInt = Field(200_000, description="Training steps; the rate decays to a tenth halfway.")
    discriminator_width: PositiveInt = Field(64, description="Channels of the discriminator's first maps.")
    adversarial_weight: NonNegativeFloat = Field(
        1e-3, description="Weight of the adversarial loss; that of the content loss is 1."
    )


@final
class SRGAN(System):
    """Ledig et al. 2016, "Photo-Realistic Single Image Super-Resolution Using a GAN", arXiv 1609.04802.

    SRResNet, warm started with `--from` a run of srresnet, trains on a content loss and a thousandth of the
    adversarial loss of a discriminator that tells its crops from those of the images.

    Differs from the paper: the content loss is the squared error of pixels (the paper's SRGAN-MSE) unless
    VGG-19 weights are given; without `--from` the generator starts from random weights; data, crops and first
    weights are those of srresnet here, the discriminator's weights from N(0, 0.02).
    """

    Config = SRGANConfig
    purpose = "enlarge images, with sharp details"
    needs = frozenset({"sources"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    logits_are_log_odds = True
    inherits: ClassVar[dict[str, Inheritance]] = {
        "srresnet": Inheritance(
            networks={"generator": "generator"}, fields={"width": "width", "num_blocks": "num_blocks"}
        )
    }

    def __init__(self, config: SRGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: SRGANConfig = config
        self.data = data
        self.scale = scale_of("srgan", data)
        self.side = crop_side(config, data, self.scale)
        if config.batch == 1 and self.side <= ONE_PLACE:
            raise UserError(
                f"--batch 1 with crops of {self.side} pixels leaves a batch norm of the discriminator one "
                "number a channel: use --batch 2, or larger crops"
            )
        self.content = Content(config)
        self.generator = SRResNet(
            channels=data.channels, width=config.width, num_blocks=config.num_blocks, scale=self.scale
        )
        self.discriminator = SRDiscriminator(
            channels=data.channels, width=config.discriminator_width, side=self.side
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return adams(
            self,
            dict.fromkeys(("generator", "discriminator"), config.learning_rate),
            config.beta1,
            config.beta2,
        )

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator, then the generator against it and towards the images."""
        sources, targets = random_crops(batch, self.side, self.scale)
        fakes = enlarge(self.generator, sources)

        # Discriminator: tell crops of images from enlarged ones.
        real_logits = self.discriminator(targets)
        fake_logits = self.discriminator(fakes.detach())
        discriminator_loss = discriminator_logistic(real_logits, fake_logits)
        update("discriminator", discriminator_loss)

        # Generator: be near the image, and be taken for one.
        with frozen(self.discriminator):
            content_loss = self.content(fakes, targets)
            adversarial_loss = generator_loss("non_saturating", self.discriminator(fakes))
            update("generator", content_loss + self.config.adversarial_weight * adversarial_loss)
        metrics = adversarial_metrics(discriminator_loss, adversarial_loss, real_logits, fake_logits)
        return metrics | {"content_loss": content_loss.detach()}

    @property
    def tiling(self) -> Tiling:
        """Exact in tiles, with what the network sees around each."""
        return Tiling(scale=self.scale, reach=self.generator.reach)

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """A tenth of the rate in the second half of the steps."""
        halfway = images_seen >= self.config.steps * self.config.batch / 2
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * (0.1 if halfway else 1.0)

    def inference_network(self) -> nn.Module:
        """The generator, which enlarges."""
        return Enlarged(self.generator)

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The sources of `given`, enlarged; there is no noise."""
        return self.translate(sources_of(given, self.data, count, "srgan"), generator)

    def translate(self, sources: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Sources in [-1, 1] of any size, enlarged."""
        return enlarge_all(self.generator, sources)

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """The logit of the square in the middle of each image, of the size of a crop: `[batch]`."""
        crops = centre(images, self.side)
        size = max(2 * CHUNK, self.config.batch)  # its batch norm must see a whole batch
        return torch.cat([self.discriminator(part) for part in crops.split(size)])
