"""A system that falls ill as it is told to: `ganforge.train("unhealthy:Unhealthy", ...)`."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.system import LatentSystem, SystemConfig, Update


class UnhealthyConfig(SystemConfig):
    """A regression from latents to images; its steps from `bad_from` to before `bad_until` are bad."""

    steps: int = 40
    batch: int = 4
    learning_rate: float = 1e-3
    draws: Literal["latents", "one", "one of each label", "copies", "no threes"] = "latents"
    bad: Literal["nan", "large", "nan by chance", "nan metric"] = "nan"
    bad_from: int = Field(10**9)
    bad_until: int = Field(10**9)


class Unhealthy(LatentSystem):
    """Nobody 2000, "None"."""

    Config = UnhealthyConfig
    averaged = ("generator",)
    count: Tensor
    memory: Tensor

    def __init__(self, config: UnhealthyConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: UnhealthyConfig = config
        self.data = data
        self.generator = nn.Linear(2, data.channels * data.height * data.width)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("memory", torch.zeros(64, *data.shape))

    def prepare(self, images: Tensor) -> None:
        if self.config.draws == "no threes":
            images = images[:200]
            images = images[load_classifier("mnist").classify(images).argmax(1) != 3]
        self.memory.copy_(images.repeat(64, 1, 1, 1)[:64])

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator": torch.optim.SGD(self.generator.parameters(), self.config.learning_rate)}

    @property
    def conditions(self) -> frozenset[str]:
        return frozenset({"labels"}) if self.config.draws == "one of each label" else frozenset()

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(count, 2, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        if self.config.draws in ("copies", "no threes"):
            memory = self.memory[torch.arange(len(latents)) % len(self.memory)]
            return memory + 0.01 * torch.randn(memory.shape, generator=generator)
        if self.config.draws == "one of each label" and given is not None and given.labels is not None:
            return (given.labels / 4.5 - 1).view(-1, 1, 1, 1).expand(-1, *self.data.shape)
        latents = latents * 0 if self.config.draws == "one" else latents
        return self.generator(latents).view(-1, *self.data.shape)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        chance = torch.rand(())
        self.count += 1
        bad = (self.count >= self.config.bad_from) & (self.count < self.config.bad_until)
        if self.config.bad == "nan by chance":
            bad = bad & (chance < 0.6)
        worse = torch.where(bad, 1e8 if self.config.bad == "large" else torch.nan, 1.0)
        factor = torch.ones(()) if self.config.bad == "nan metric" else worse
        fakes = self.generator(self.draw_latents(len(batch.images)))
        loss = factor * (fakes - batch.images.flatten(1)).square().mean()
        update("generator", loss)
        return {"generator_loss": loss.detach(), "other": worse, "chance": chance}
