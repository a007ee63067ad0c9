"""A system of your own, outside the package: a GAN with the hinge loss (Lim and Ye 2017).

python examples/own_system.py --data ring --steps 1500

From this folder, `ganforge train own_system:HingeGAN --data ring` does the same, with all options.
"""

import argparse
import sys
from typing import final

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import relu

import ganforge
from ganforge import Batch, DataSpec, LatentSystem
from ganforge.nn.networks.mlp import PlainDiscriminator, PlainGenerator
from ganforge.system import SystemConfig, Update, frozen


class HingeGANConfig(SystemConfig):
    """Options besides steps, batch and the average."""

    steps: PositiveInt = Field(1_500, description="Training steps.")
    batch: PositiveInt = Field(256, description="Points or images per update.")
    hidden: tuple[PositiveInt, ...] = Field((256, 256), description="Hidden units of both networks.")
    latent_size: PositiveInt = Field(16, description="Numbers in one latent.")
    learning_rate: PositiveFloat = Field(1e-3, description="Adam's rate for both networks.")


@final
class HingeGAN(LatentSystem):
    """Lim and Ye 2017, "Geometric GAN", arXiv 1705.02894: the loss of a large margin, with plain networks."""

    Config = HingeGANConfig
    accepts = frozenset({"pixels", "points"})
    averaged = ("generator",)

    def __init__(self, config: HingeGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: HingeGANConfig = config
        self.data = data
        self.generator = PlainGenerator(
            latent_size=config.latent_size,
            hidden=config.hidden,
            shape=data.shape,
            bounded=data.values == "pixels",
        )
        self.discriminator = PlainDiscriminator(
            shape=data.shape, hidden=config.hidden, activation="leaky_relu"
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        return {
            name: torch.optim.Adam(
                self.get_submodule(name).parameters(), self.config.learning_rate, betas=(0.5, 0.999)
            )
            for name in ("discriminator", "generator")
        }

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator, then the generator against it."""
        fakes = self.generator(self.draw_latents(len(batch.images)))

        # Discriminator: real above 1, generated below -1.
        real_scores = self.discriminator(batch.images).float()
        fake_scores = self.discriminator(fakes.detach()).float()
        discriminator_loss = relu(1 - real_scores).mean() + relu(1 + fake_scores).mean()
        update("discriminator", discriminator_loss)

        # Generator: raise the scores of what it generates.
        with frozen(self.discriminator):
            generator_loss = -self.discriminator(fakes).float().mean()
            update("generator", generator_loss)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": generator_loss.detach(),
        }

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Standard Gaussian latents `[count, latent_size]`."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images in [-1, 1], or points, of latents."""
        return self.generator(latents)


def main() -> int:
    """Train it through the same function as the systems of the package, and print its scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="ring")
    parser.add_argument("--steps", type=int, default=1_500)
    options = parser.parse_args()
    trained = ganforge.train("own_system:HingeGAN", options.data, run="runs/hinge", steps=options.steps)
    for score in ganforge.evaluate(trained.run.path, system="own_system:HingeGAN"):
        print(f"{score.name}: {score.value:.4g} {score.unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
