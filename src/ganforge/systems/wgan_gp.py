"""The Wasserstein GAN with gradient penalty of Gulrajani et al. 2017."""

from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.losses import critic_wasserstein, generator_wasserstein, gradient_penalty, penalised
from ganforge.nn.networks.resnet import ResNetDiscriminator, ResNetGenerator
from ganforge.nn.networks.wgan_gp import ConvolutionalCritic, convolutional_generator
from ganforge.nn.optimizers import adams, decay_linearly
from ganforge.system import LatentSystem, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput
from ganforge.systems.families.networks import HIDDEN, Hidden, plain_pair
from ganforge.systems.families.own_parts import OwnPartsConfig, own_loss, own_networks
from ganforge.systems.families.resolutions import rectangle_for

WIDTHS = {"convolutional": 64, "resnet": 128, "mlp": 512}


class WGANGPConfig(OwnPartsConfig):
    """Defaults are those of algorithm 1 and of `gan_cifar.py` of the released code."""

    steps: PositiveInt = Field(200_000, description="Training steps, each one generator update.")
    batch: PositiveInt = Field(64, ge=2, description="Images per critic update; batch norm needs two.")
    generator_batch_factor: PositiveInt = Field(
        1, description="Generated images of a generator update, in batches; the paper's ResNet has 2."
    )
    critic_steps: PositiveInt = Field(5, description="Critic updates in each step.")
    penalty_weight: NonNegativeFloat = Field(10.0, description="Lambda, the weight of the gradient penalty.")
    penalty_share: float = Field(
        1.0, gt=0, le=1, description="Share of each batch that the gradient penalty is computed on; ours."
    )
    network: Literal["convolutional", "resnet", "mlp"] = Field(
        "convolutional",
        description="convolutional: those of gan_cifar.py; resnet: those of appendix F; mlp: plain layers, "
        "for 2-D points.",
    )
    width: PositiveInt | None = Field(
        None,
        description="Channels next to the image, doubled at every halving (convolutional; none: 64), of all "
        "maps (resnet; none: 128), hidden units (mlp; none: 512).",
    )
    generator_hidden: Hidden = Field(None, description=HIDDEN.format("generator"))
    critic_hidden: Hidden = Field(None, description=HIDDEN.format("critic"))
    critic_norm: Literal["none", "layer"] = Field(
        "none", description="layer: layer norm in the convolutional critic, from its second convolution on."
    )
    latent_size: PositiveInt = Field(128, description="Standard Gaussian numbers in one latent.")
    learning_rate: PositiveFloat = Field(
        1e-4, description="Adam's first rate for both networks; the paper's ResNet has 2e-4."
    )
    learning_rate_decay: Literal["none", "linear"] = Field(
        "none", description="linear: the rate decays to 0 after the last step, as for the paper's ResNet."
    )
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's momentum; 0.5 in gan_cifar.py.")
    beta2: float = Field(0.9, ge=0, lt=1, description="Adam's second decay.")

    def model_post_init(self, _: object) -> None:
        """Reject a norm for networks without one."""
        super().model_post_init(_)
        if self.critic_norm != "none" and self.network != "convolutional":
            raise ValueError(
                f"the critic of --network {self.network} has no norm: leave out --critic-norm "
                f"{self.critic_norm}, or use --network convolutional"
            )


@final
class WGANGP(LatentSystem):
    """Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv 1704.00028.

    Differs from the paper: width 64 instead of the 128 of `gan_cifar.py`, of which its authors note that it
    overfits. Adam's momentum is 0, as in algorithm 1; `gan_cifar.py` has 0.5. The critic has no output bias,
    which no loss depends on, and takes real and generated images in one pass. The ResNet doubles maps before
    the first convolution of a block, as the released code does and the appendix does not; pixels are not
    dequantised. An average of the generator (EMA) is what is sampled. Sizes other than 32x32 are ours, and so
    is a penalty of a share of each batch (`penalty_share`), which estimates that of all.
    """

    Config = WGANGPConfig
    purpose = "new images, with a gradient penalty"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: WGANGPConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: WGANGPConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.own_loss = own_loss(config)
        generator, critic = own_networks(config, data.shape, config.latent_size, self.augment.shape)
        if generator is None or critic is None:
            pair = _pair(config, data, self.augment.shape)
            generator = pair[0] if generator is None else generator
            critic = pair[1] if critic is None else critic
        self.generator, self.critic = generator, critic

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return adams(
            self, dict.fromkeys(("critic", "generator"), config.learning_rate), config.beta1, config.beta2
        )

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the critic on as many fresh batches as it has steps, then the generator against it."""
        config = self.config
        size = len(batch.images) // config.critic_steps

        # Critic: estimate the distance with slopes near 1. One pass for real and generated images, because
        # nothing in it looks across samples. The penalty calls its forward, because a compiled network cannot
        # be differentiated twice.
        for k in range(config.critic_steps):
            with torch.no_grad():
                fakes = self.generator(self.draw_latents(size))
            shown = self.augment(torch.cat([batch.images[k * size : (k + 1) * size], fakes]))
            real_values, fake_values = self.critic(shown).chunk(2)
            if self.own_loss is None:
                loss = critic_wasserstein(real_values, fake_values)
            else:
                loss = self.own_loss.discriminator(real_values, fake_values)
            distance = -loss
            # Any pairs will do for a share: the loader has shuffled them.
            pairs = (penalised(images, config.penalty_share) for images in shown.chunk(2))
            penalty = gradient_penalty(self.critic.forward, *pairs)
            critic_loss = config.penalty_weight * penalty - distance
            update("critic", critic_loss)
            self.augment.adapt(real_values - fake_values)  # a critic's values have no zero of their own

        # Generator: shorten it.
        with frozen(self.critic):
            fakes = self.generator(self.draw_latents(config.generator_batch_factor * size))
            values = self.critic(self.augment(fakes))
            if self.own_loss is None:
                loss = generator_wasserstein(values)
            else:
                loss = self.own_loss.generator(self.critic(self.augment(batch.images[:size])), values)
            update("generator", loss)
        metrics = {"critic_loss": critic_loss.detach(), "generator_loss": loss.detach()}
        if self.own_loss is None:
            metrics["wasserstein_estimate"] = distance.detach()
        return metrics | {"gradient_penalty": penalty.detach()} | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise and, with `learning_rate_decay`, the rates."""
        self.augment.schedule(images_seen)
        if self.config.learning_rate_decay == "linear":
            all_images = self.config.steps * self.images_per_step()
            decay_linearly(
                optimizers, dict.fromkeys(optimizers, self.config.learning_rate), images_seen, all_images
            )

    def images_per_step(self) -> int:
        """A batch for each of the critic's updates."""
        return self.config.batch * self.config.critic_steps

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents."""
        return self.generator(latents)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For 2-D points: the settings of `gan_toy.py`, but smaller."""
        return dict(FOR_POINTS) if data.values == "points" else {}


def _pair(config: WGANGPConfig, data: DataSpec, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    """The generator and the critic of inputs of that `shape` of the paper, by `config.network`."""
    width = config.width or WIDTHS[config.network]
    latent_size, channels, shown = config.latent_size, data.channels, shape[0]
    if config.network == "mlp":
        hidden = (config.generator_hidden, config.critic_hidden)
        return plain_pair(data, width=width, latent_size=latent_size, shape=shape, critic=True, hidden=hidden)
    start, doublings = rectangle_for("wgan_gp", data)
    sizes: dict[str, Any] = {"start": start, "doublings": doublings, "width": width}
    if config.network == "resnet":
        generator: nn.Module = ResNetGenerator(latent_size=latent_size, channels=channels, **sizes)
        return generator, ResNetDiscriminator(channels=shown, spectral=False, pooling="mean", **sizes)
    generator = convolutional_generator(latent_size=latent_size, channels=channels, **sizes)
    return generator, ConvolutionalCritic(channels=shown, norm=config.critic_norm, **sizes)


FOR_POINTS: Suggestions = {
    "network": ("mlp", "2-D points have no neighbours to convolve"),
    "width": (128, "a quarter of the width in the authors' toy script, at a sixth of its cost"),
    "latent_size": (2, "the data has two dimensions"),
    "steps": (20_000, "fewer than the 100,000 of the authors' toy script because points train in minutes"),
    "batch": (256, "as in the authors' toy script; points cost little"),
    "penalty_weight": (0.1, "as in the authors' toy script: a small weight is faster on points"),
    "beta1": (0.5, "as in the authors' toy script"),
}
