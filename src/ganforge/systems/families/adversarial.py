"""What adversarial systems share: the input of the discriminator, and labels."""

from collections.abc import Iterable
from typing import Protocol

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.augment import DIFF_AUGMENTATIONS, AdaptiveAugmentation, diff_augment
from ganforge.nn.whole_batch import gathered
from ganforge.system import SystemConfig

AUGMENT = (
    "Augmentation of the discriminator's input: none; some of color, translation and "
    "cutout, with commas between (DiffAugment); or ada, with an adaptive probability."
)


class AdversarialConfig(SystemConfig):
    """Options of the discriminator's input; all are off by default."""

    pack: PositiveInt = Field(
        1, description="Images in one discriminator input (PacGAN); must divide the batch."
    )
    instance_noise: NonNegativeFloat = Field(
        0.0, description="Standard deviation of Gaussian noise added to the discriminator's input."
    )
    instance_noise_images: PositiveInt = Field(
        500_000, description="Images after which the instance noise has decayed linearly to 0."
    )
    augment: str = Field("none", description=AUGMENT)
    augment_target: float = Field(
        0.6, ge=0, lt=1, description="Mean sign of the logits of real images that ada keeps."
    )

    @field_validator("augment")
    @classmethod
    def _in_order(cls, augment: str) -> str:
        """The words of DiffAugment each once and in its order, so that one policy has one name."""
        words = {word.strip() for word in augment.split(",")}
        if words in ({"none"}, {"ada"}):
            return words.pop()
        if not words <= set(DIFF_AUGMENTATIONS):
            raise ValueError(
                "expected none, ada, or some of color, translation and cutout with commas between, such as "
                "--augment color,cutout"
            )
        return ",".join(name for name in DIFF_AUGMENTATIONS if name in words)

    def model_post_init(self, _: object) -> None:
        """Reject a batch that cannot be packed."""
        if self.batch % self.pack:
            raise ValueError(
                f"pack {self.pack} does not divide the batch of {self.batch}: use --batch "
                f"{self.batch - self.batch % self.pack or self.pack} or another --pack"
            )


class TwoRatesConfig(AdversarialConfig):
    """Adds a learning rate of the discriminator's own (TTUR: Heusel et al. 2017, arXiv 1706.08500)."""

    learning_rate: PositiveFloat = Field(2e-4, description="Learning rate of both networks.")
    discriminator_learning_rate: PositiveFloat | None = Field(
        None, description="Learning rate of the discriminator; none: that of the generator."
    )

    def rates(self, names: Iterable[str]) -> dict[str, float]:
        """The first learning rate of each of the networks `names`."""
        own = self.discriminator_learning_rate
        return {
            name: own if own is not None and name.endswith("discriminator") else self.learning_rate
            for name in names
        }


class LogisticConfig(TwoRatesConfig):
    """Options of the discriminators that are classifiers of real and generated images."""

    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="The discriminator's target for real images is 1 less this."
    )
    label_flips: float = Field(
        0.0, ge=0, lt=0.5, description="Probability that the discriminator's target of an image is flipped."
    )

    @property
    def target_options(self) -> dict[str, float]:
        """Those of `discriminator_logistic`."""
        return {"smoothing": self.label_smoothing, "flips": self.label_flips}


class Logits(Protocol):
    """A discriminator: images to logits `[batch]`."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits."""


class DiscriminatorInput(nn.Module):
    """Real and generated images as the discriminator's input: augmented, noisy, packed.

    The same for both, in the discriminator's and in the generator's step, each image with its own draw.
    The noise comes after the augmentation, which would scale, smear or cut it out. `shape` is that of one
    pack: PacGAN concatenates the channels of `pack` images (Lin et al. 2017, arXiv 1712.04086).
    Raises UserError where 2-D points are to be augmented.
    """

    noise: Tensor

    def __init__(self, config: AdversarialConfig, data: DataSpec) -> None:
        super().__init__()
        if config.augment != "none" and data.values == "points":
            raise UserError(f"--augment {config.augment} needs images, this data is 2-D points: use none")
        self.config = config
        self.adaptive = AdaptiveAugmentation(config.augment_target) if config.augment == "ada" else None
        self.pack = config.pack
        self.shape = (data.channels * config.pack, data.height, data.width)
        self.register_buffer("noise", torch.tensor(config.instance_noise))

    def schedule(self, images_seen: int) -> None:
        """Decay the instance noise (Sonderby et al. 2016, arXiv 1610.04490)."""
        if self.config.instance_noise:
            left = max(0.0, 1 - images_seen / self.config.instance_noise_images)
            self.noise.fill_(self.config.instance_noise * left)

    def forward(self, images: Tensor) -> Tensor:
        """`[batch / pack, *shape]` of images `[batch, channels, height, width]`; of any height and width."""
        if self.adaptive is not None:
            images = self.adaptive(images)
        elif self.config.augment != "none":
            images = diff_augment(images, self.config.augment.split(","))
        if self.config.instance_noise:
            images = images + self.noise * torch.randn_like(images)
        return images.reshape(-1, self.shape[0], *images.shape[2:]) if self.pack > 1 else images

    def adapt(self, real_logits: Tensor) -> None:
        """Update ADA's probability by the logits of real packs in an update of the discriminator.

        Only their signs count. Nothing happens with any other augmentation.
        """
        if self.adaptive is not None:
            real_logits = gathered(real_logits.detach())
            self.adaptive.adapt(real_logits, num_images=len(real_logits) * self.pack)

    def metrics(self) -> dict[str, Tensor]:
        """What a step reports: with ADA its probability, else nothing."""
        if self.adaptive is None:
            return {}
        return {"augmentation_probability": self.adaptive.probability.clone()}

    def logits(self, discriminator: Logits, images: Tensor) -> Tensor:
        """Logits `[batch]` of plain images, for scores; those of a pack share one.

        Nothing is augmented, and there is no noise. Where the last pack is not full, the first images fill
        it.
        """
        count = len(images)
        if missing := -count % self.pack:
            images = images[torch.arange(count + missing, device=images.device) % count]
        return discriminator(images.reshape(-1, *self.shape)).repeat_interleave(self.pack)[:count]


def num_classes_of(name: str, data: DataSpec) -> int:
    """The number of classes; raises UserError where `data` has no labels."""
    if not data.class_names:
        raise UserError(
            f"{name} needs labels, this data has none: use --data FOLDER with a sub-folder for each class, "
            f"or `ganforge train dcgan`"
        )
    return len(data.class_names)


def labels_of(
    given: Batch | None,
    count: int,
    data: DataSpec,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The labels `[count]` of `given`, or random ones, uniform over the classes."""
    if given is None or given.labels is None:
        return torch.randint(len(data.class_names), (count,), generator=generator, device=device)
    if len(given.labels) != count:
        raise UserError(f"{len(given.labels)} labels for {count} samples: expected one for each")
    return given.labels
