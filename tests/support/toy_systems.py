"""Systems whose samples show what they were asked for: no method of a paper, and nothing to learn."""

from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.system import LatentSystem, System, SystemConfig, Update
from ganforge.systems.families.adversarial import labels_of

LATENT_SIZE = 3


class Gain(nn.Module):
    """One weight, so that there is something to train and to average."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.weight


class Toy(LatentSystem):
    """Pixels 0, 1 and 2 of a sample are its latent in [-1, 1], all others are 0."""

    Config = SystemConfig
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: SystemConfig, data: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.data = data
        self.generator = Gain()

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator": torch.optim.SGD(self.generator.parameters(), 0.01)}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        loss = (self.generator.weight - 0.5).square()
        update("generator", loss)
        return {"generator_loss": loss.detach()}

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return 2 * torch.rand(count, LATENT_SIZE, generator=generator, device=self.device) - 1

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        images = torch.zeros(len(latents), *self.data.shape)
        images.view(len(latents), -1)[:, :LATENT_SIZE] = self.generator(latents)
        return images


@final
class Labelled(Toy):
    """Pixel 3 of a sample is the number of its class / 100."""

    needs = frozenset({"labels"})
    logits_are_log_odds = True

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        images = super().decode(latents)
        labels = labels_of(given, len(latents), self.data, self.device, generator)
        images.view(len(latents), -1)[:, LATENT_SIZE] = labels / 100
        return images

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Sure of the images that are of the class that they are said to be."""
        if given is None or given.labels is None:
            return None
        return 20.0 * ((images.flatten(1)[:, LATENT_SIZE] * 100).round() == given.labels) - 10


@final
class Coded(Toy):
    """Number 1 of a latent is code 0, an integer of 0 to 9, divided by 10; number 2 is code 1, in [-2, 2]."""

    def set_code(self, latents: Tensor, index: int, values: Tensor) -> Tensor:
        if index > 1:
            raise UserError(f"no code {index}: expected 0 or 1")
        low, high = ((0, 9), (-2, 2))[index]
        if not ((values >= low) & (values <= high)).all():
            raise UserError(f"code {index} out of range: expected {low} to {high}")
        latents = latents.clone()
        latents[:, 1 + index] = values / (10 if index == 0 else 2)
        return latents

    measure_protocol: ClassVar[dict[str, Any]] = {}

    def categorise(self, images: Tensor) -> Tensor | None:
        """What the first pixel says, a code for each tenth."""
        return (images.flatten(1)[:, 0] * 10).round().long() % 10

    def measure(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        mean = batch.images.mean()
        return {
            "mean_brightness_percent": 50 * (mean + 1),
            "surprise_nats": torch.rand((), generator=generator),
            "plain": mean,
        }


@final
class Latentless(System):
    """Samples without latents."""

    Config = SystemConfig

    def __init__(self, config: SystemConfig, data: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.data = data
        self.generator = Gain()

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator": torch.optim.SGD(self.generator.parameters(), 0.01)}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        loss = self.generator.weight.square()
        update("generator", loss)
        return {"generator_loss": loss.detach()}

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.generator(torch.rand(count, *self.data.shape, generator=generator))
