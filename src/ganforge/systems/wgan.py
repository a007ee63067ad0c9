"""The Wasserstein GAN of Arjovsky et al. 2017, whose critic is kept Lipschitz by clipping its weights."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.losses import critic_wasserstein, generator_wasserstein
from ganforge.system import LatentSystem, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput
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


class WGANConfig(OwnPartsConfig):
    """Defaults are those of algorithm 1 and of the released code."""

    steps: PositiveInt = Field(100_000, description="Training steps, each one generator update.")
    batch: PositiveInt = Field(64, ge=2, description="Images per critic update; batch norm needs two.")
    critic_steps: PositiveInt = Field(5, description="Critic updates in each step.")
    clip: PositiveFloat = Field(
        0.01, description="Every critic parameter is kept between minus and plus this."
    )
    width: PositiveInt = Field(
        64, description="Channels next to the image, doubled at every halving; hidden units of the mlp."
    )
    latent_size: PositiveInt = Field(100, description="Standard Gaussian numbers in one latent.")
    learning_rate: PositiveFloat = Field(5e-5, description="RMSProp's rate for both networks.")

    # Not from the paper.
    odd_maps: OddMaps = Field("keep", description=ODD_MAPS)
    network: Literal["convolutional", "mlp"] = Field(
        "convolutional", description="convolutional: those of DCGAN; mlp: plain layers, for 2-D points."
    )
    generator_hidden: Hidden = Field(None, description=HIDDEN.format("generator"))
    critic_hidden: Hidden = Field(None, description=HIDDEN.format("critic"))


@final
class WGAN(LatentSystem):
    """Arjovsky, Chintala and Bottou 2017, "Wasserstein GAN", arXiv 1701.07875.

    Differs from the paper: no 100 critic updates in each of the first 25 steps and in every 500th, which the
    released code (WassersteinGAN/main.py) has and algorithm 1 has not. The critic's weights, those of batch
    norm included, are clipped after each of its updates, as in algorithm 1, and once before the first (the
    code clips before each update, so that its generator sees weights up to one update beyond). The mlp
    networks start as in the code of Gulrajani et al. 2017. An average of the generator (EMA) is what is
    sampled. 28x28 starts from 4x4 maps, over 7x7 (`odd_maps`).
    """

    Config = WGANConfig
    purpose = "new images, with a Wasserstein loss"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: WGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: WGANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.generator, self.critic = network_pair(
            "wgan",
            data,
            own=config,
            network=config.network,
            width=config.width,
            latent_size=config.latent_size,
            shape=self.augment.shape,
            kernel_size=4,
            odd_stage=config.odd_maps == "halve",
            hidden=(config.generator_hidden, config.critic_hidden),
            critic=True,
        )
        self.own_loss = own_loss(config)
        self._clip()

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """RMSProp without momentum for each network; the critic's clips after each of its steps."""
        optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.RMSprop(self.get_submodule(name).parameters(), self.config.learning_rate)
            for name in ("critic", "generator")
        }
        optimizers["critic"].register_step_post_hook(self._clip)
        return optimizers

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the critic on as many fresh batches as it has steps, then the generator against it."""
        size = len(batch.images) // self.config.critic_steps

        # Critic: estimate the distance. Real and generated in separate passes because of its batch norm.
        for k in range(self.config.critic_steps):
            with torch.no_grad():
                fakes = self.generator(self.draw_latents(size))
            real_values = self.critic(self.augment(batch.images[k * size : (k + 1) * size]))
            fake_values = self.critic(self.augment(fakes))
            if self.own_loss is None:
                critic_loss = critic_wasserstein(real_values, fake_values)
            else:
                critic_loss = self.own_loss.discriminator(real_values, fake_values)
            update("critic", critic_loss)
            self.augment.adapt(real_values - fake_values)  # a critic's values have no zero of their own

        # Generator: shorten it.
        with frozen(self.critic):
            values = self.critic(self.augment(self.generator(self.draw_latents(size))))
            if self.own_loss is None:
                loss = generator_wasserstein(values)
            else:
                loss = self.own_loss.generator(self.critic(self.augment(batch.images[:size])), values)
            update("generator", loss)
        metrics = {"critic_loss": critic_loss.detach(), "generator_loss": loss.detach()}
        if self.own_loss is None:
            metrics["wasserstein_estimate"] = -critic_loss.detach()
        return metrics | self.augment.metrics()

    def _clip(self, *_: object) -> None:
        """Put every critic parameter back between -clip and clip."""
        with torch.no_grad():
            for parameter in self.critic.parameters():
                parameter.clamp_(-self.config.clip, self.config.clip)

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise."""
        self.augment.schedule(images_seen)

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

    def features(self, images: Tensor) -> Tensor:
        """Pooled maps of the critic."""
        return pooled_features(self.critic, self.config.pack, images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For 2-D points: plain networks, as in the toy script of Gulrajani et al. 2017, but smaller."""
        return dict(FOR_POINTS) if data.values == "points" else suggest_odd_maps(data)


FOR_POINTS: Suggestions = {
    "network": ("mlp", "2-D points have no neighbours to convolve"),
    "width": (128, "a quarter of the width in the toy script of the WGAN-GP authors, and much faster"),
    "latent_size": (2, "the data has two dimensions"),
    "steps": (20_000, "fewer than the 100,000 of the toy script because points train in minutes"),
    "batch": (256, "as in the toy script; points cost little"),
}
