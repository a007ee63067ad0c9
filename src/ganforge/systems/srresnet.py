"""The super-resolution network of Ledig et al. 2016 that is trained for the least squared error."""

from typing import ClassVar, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.inference import Enlarged
from ganforge.nn.losses import total_variation
from ganforge.nn.networks.srresnet import SRResNet as Generator
from ganforge.nn.optimizers import adams
from ganforge.system import System, Tiling, Update, sources_of
from ganforge.systems.families.perceptual import Content
from ganforge.systems.families.super_resolution import (
    SuperResolutionConfig,
    crop_side,
    enlarge,
    enlarge_all,
    random_crops,
    scale_of,
)


class SRResNetConfig(SuperResolutionConfig):
    """Defaults are those of section 3.2 of the paper."""

    steps: PositiveInt = Field(1_000_000, description="Training steps.")
    total_variation_weight: NonNegativeFloat = Field(
        0.0, description="Weight of the summed squared differences of neighbours; 2e-8 of the paper's vgg22."
    )


@final
class SRResNet(System):
    """Ledig et al. 2016, "Photo-Realistic Single Image Super-Resolution Using a GAN", arXiv 1609.04802.

    The generator alone, SRResNet: it enlarges the source of a pair 2 or 4 times, towards the image itself,
    by the squared error of pixels or of VGG-19 features. `srgan` starts from it.

    Differs from the paper: it is trained on the data of the run, of one size, not on ImageNet;
    sources are shrunk before they are cropped, so that no crop has a border of its own; weights start as
    torch's do, of which the paper says nothing; each PReLU has one slope.
    """

    Config = SRResNetConfig
    purpose = "enlarge images, close to the original"
    needs = frozenset({"sources"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: SRResNetConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: SRResNetConfig = config
        self.data = data
        self.scale = scale_of("srresnet", data)
        self.side = crop_side(config, data, self.scale)
        self.content = Content(config)
        self.generator = Generator(
            channels=data.channels, width=config.width, num_blocks=config.num_blocks, scale=self.scale
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        config = self.config
        return adams(self, {"generator": config.learning_rate}, config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the generator towards random crops of the images."""
        sources, targets = random_crops(batch, self.side, self.scale)
        enlarged = enlarge(self.generator, sources)
        content_loss = self.content(enlarged, targets)
        loss = content_loss
        if self.config.total_variation_weight:
            loss = loss + self.config.total_variation_weight * total_variation(enlarged)
        update("generator", loss)
        return {"content_loss": content_loss.detach()}

    @property
    def tiling(self) -> Tiling:
        """Exact in tiles, with what the network sees around each."""
        return Tiling(scale=self.scale, reach=self.generator.reach)

    def inference_network(self) -> nn.Module:
        """The generator, which enlarges."""
        return Enlarged(self.generator)

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The sources of `given`, enlarged; there is no noise."""
        return self.translate(sources_of(given, self.data, count, "srresnet"), generator)

    def translate(self, sources: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Sources in [-1, 1] of any size, enlarged."""
        return enlarge_all(self.generator, sources)
