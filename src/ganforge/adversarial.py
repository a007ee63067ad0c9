"""What every adversarial system shares: how its discriminator is shown images, its optimizers, its labels."""

from collections.abc import Iterable
from typing import Protocol

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.system import System, SystemConfig


class AdversarialConfig(SystemConfig):
    """Options about what a discriminator is shown; none is used unless asked for."""

    pack: PositiveInt = Field(
        1, description="Images that the discriminator judges together (PacGAN); must divide the batch."
    )
    instance_noise: NonNegativeFloat = Field(
        0.0, description="Standard deviation of Gaussian noise added to what the discriminator sees."
    )
    instance_noise_images: PositiveInt = Field(
        500_000, description="Images after which the instance noise has fallen linearly to nothing."
    )

    def model_post_init(self, _: object) -> None:
        """Refuse a batch that cannot be packed."""
        if self.batch % self.pack:
            raise ValueError(
                f"pack {self.pack} does not divide the batch of {self.batch}: use --batch "
                f"{self.batch - self.batch % self.pack or self.pack} or another --pack"
            )


class LogisticConfig(AdversarialConfig):
    """Options of the discriminators that are classifiers of real and generated images."""

    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="The discriminator's target for real images is 1 less this."
    )
    label_flips: float = Field(
        0.0, ge=0, lt=0.5, description="Probability that the discriminator is told the opposite of an image."
    )

    @property
    def target_options(self) -> dict[str, float]:
        """Those of `discriminator_logistic`."""
        return {"smoothing": self.label_smoothing, "flips": self.label_flips}


class Logits(Protocol):
    """A discriminator: images to logits `[batch]`."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits."""


class DiscriminatorView(nn.Module):
    """Real and generated images as the discriminator is shown them: noisy, augmented, packed.

    The same for both, in the discriminator's and in the generator's step. `shape` is that of one pack:
    PacGAN concatenates the channels of `pack` images (Lin et al. 2017, arXiv 1712.04086).
    """

    noise: Tensor

    def __init__(self, config: AdversarialConfig, data: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.pack = config.pack
        self.shape = (data.channels * config.pack, data.height, data.width)
        self.register_buffer("noise", torch.tensor(config.instance_noise))

    def schedule(self, images_seen: int) -> None:
        """Let the instance noise fall (Sonderby et al. 2016, arXiv 1610.04490)."""
        if self.config.instance_noise:
            left = max(0.0, 1 - images_seen / self.config.instance_noise_images)
            self.noise.fill_(self.config.instance_noise * left)

    def forward(self, images: Tensor) -> Tensor:
        """`[batch / pack, *shape]` of images `[batch, channels, height, width]`."""
        if self.config.instance_noise:
            images = images + self.noise * torch.randn_like(images)
        return images.reshape(-1, *self.shape) if self.pack > 1 else images

    def logits(self, discriminator: Logits, images: Tensor) -> Tensor:
        """Logits `[batch]` of plain images, for judging; those of a pack share one.

        Where the last pack is not full, the first images fill it.
        """
        missing = -len(images) % self.pack
        packs = torch.cat([images, images[:1].expand(missing, -1, -1, -1)]).reshape(-1, *self.shape)
        return discriminator(packs).repeat_interleave(self.pack)[: len(images)]


def adams(
    system: System, names: Iterable[str], learning_rate: float, beta1: float, beta2: float
) -> dict[str, torch.optim.Optimizer]:
    """A fused Adam of one rate for each of the children `names`."""
    return {
        name: torch.optim.Adam(
            system.get_submodule(name).parameters(), learning_rate, betas=(beta1, beta2), fused=True
        )
        for name in names
    }


def labels_of(given: Batch | None, count: int, data: DataSpec, device: torch.device) -> Tensor:
    """The labels `[count]` that are given, or random ones, every class as often."""
    if given is None or given.labels is None:
        return torch.randint(len(data.class_names), (count,), device=device)
    if len(given.labels) != count:
        raise UserError(f"{len(given.labels)} labels for {count} samples: expected one for each")
    return given.labels
