"""The GAN for few images of Liu et al. 2021, FastGAN, also known as lightweight GAN."""

from typing import ClassVar, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.inference import FirstOutput
from ganforge.nn.losses import discriminator_hinge, generator_wasserstein
from ganforge.nn.networks.fastgan import FastGANDiscriminator, FastGANGenerator
from ganforge.nn.optimizers import adams
from ganforge.system import LatentSystem, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import AUGMENT, DiscriminatorInput, TwoRatesConfig
from ganforge.systems.families.networks import pooled_features
from ganforge.systems.families.resolutions import rectangle_for


class FastGANConfig(TwoRatesConfig):
    """Defaults are those of the released code."""

    steps: PositiveInt = Field(50_000, description="Training steps, each one update of both networks.")
    batch: PositiveInt = Field(8, ge=2, description="Images per update; batch norm needs two.")
    ema_half_life: NonNegativeFloat = Field(
        5_500,
        description="Half-life, in images, of the averaged generator that is sampled; 0 turns it off. "
        "0.999 at each step of 8 images.",
    )
    augment: str = Field("color,translation", description=AUGMENT)
    width: PositiveInt = Field(
        64, description="Multiplies the channels of all maps; of the generator's those of 32 times the first."
    )
    latent_size: PositiveInt = Field(256, description="Standard Gaussian numbers in one latent.")
    margin_noise: float = Field(
        0.2, ge=0, le=1, description="Each margin of the hinge loss is drawn from U(1 - this, 1); 0: all 1."
    )
    reconstruction_weight: NonNegativeFloat = Field(
        1.0, description="Weight of what the discriminator's decoders lose of real images."
    )
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's rate for both networks.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")


@final
class FastGAN(LatentSystem):
    """Liu et al. 2021, "Towards Faster and Stabilized GAN Training", arXiv 2101.04775.

    The title ends in "for High-fidelity Few-shot Image Synthesis"; code: odegeasslbc/FastGAN-pytorch.
    Skip-layer excitation in the generator; a discriminator that also learns to reconstruct real images from
    its maps; DiffAugment. Differs from the paper: reconstructions are compared by the mean absolute
    difference of pixels, where the code sums over the batch the LPIPS distances of a pretrained VGG; weights
    are spectrally normalised only in the discriminator, and only where no batch norm follows, which would
    undo it; the noise is fixed in sampling; each image has a quarter of its own to reconstruct, where the
    code has one for all of a batch; images are augmented anew for the generator's update, and are mirrored
    only where the data's options say so. Below 256x256 the stages next to the image are left out, and so are
    the second, smaller output and its discriminator; below 64x64 the last maps are gated by the first, and
    the discriminator has no gates. Sizes that are no powers of two are ours.
    """

    Config = FastGANConfig
    purpose = "new images from a few hundred"
    accepts = frozenset({"pixels", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    logits_are_log_odds = False

    def __init__(self, config: FastGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: FastGANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        start, doublings = rectangle_for("fastgan", data, plain=False)
        self.generator = FastGANGenerator(
            latent_size=config.latent_size,
            channels=data.channels,
            start=start,
            doublings=doublings,
            width=config.width,
        )
        self.discriminator = FastGANDiscriminator(
            channels=self.augment.shape[0], start=start, doublings=doublings, width=config.width
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network; the decoders are part of the discriminator."""
        config = self.config
        return adams(self, config.rates(("discriminator", "generator")), config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator and its decoders, then the generator against it with the same fakes."""
        config = self.config
        fakes = self.generator(self.draw_latents(len(batch.images)))

        # Discriminator: tell real from generated, in separate passes because of its batch norm; of real
        # images also reconstruct what it saw.
        real_logits, decoded = self.discriminator.reconstruct(self.augment(batch.images))
        fake_logits = self.discriminator(*(self.augment(images.detach()) for images in fakes))
        discriminator_loss = discriminator_hinge(real_logits, fake_logits, config.margin_noise)
        reconstruction_loss = torch.stack([l1_loss(made, real.float()) for made, real in decoded]).sum()
        update("discriminator", discriminator_loss + config.reconstruction_weight * reconstruction_loss)
        self.augment.adapt(real_logits.mean(1))

        # Generator: raise the logits of all its outputs.
        with frozen(self.discriminator):
            loss = generator_wasserstein(self.discriminator(*(self.augment(images) for images in fakes)))
            update("generator", loss)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": loss.detach(),
            "reconstruction_loss": reconstruction_loss.detach(),
            "real_logit": real_logits.detach().float().mean(),
            "fake_logit": fake_logits.detach().float().mean(),
        } | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise."""
        self.augment.schedule(images_seen)

    def inference_network(self) -> nn.Module:
        """The generator without its smaller output."""
        return FirstOutput(self.generator)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents: the larger output."""
        return self.generator(latents)[0]

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor:
        """The mean of the logits of all patches."""
        return self.augment.logits(lambda inputs: self.discriminator(inputs).float().mean(1), images)

    def features(self, images: Tensor) -> Tensor:
        """Pooled maps of the discriminator."""
        return pooled_features(self.discriminator, self.config.pack, images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """On a CPU narrower networks, and larger batches at a higher rate."""
        return dict(FOR_CPU) if device == "cpu" else {}


FOR_CPU: Suggestions = {
    "width": (8, "smaller because the run trains on a CPU"),
    "batch": (32, "larger, for batch norm and a higher rate"),
    "learning_rate": (1e-3, "higher because there are few steps"),
    "steps": (20_000, "fewer, of larger batches"),
}
