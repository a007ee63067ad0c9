"""The image-to-image translation of Isola et al. 2016, pix2pix."""

import copy
from typing import ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.inference import WithoutDropout
from ganforge.nn.losses import adversarial_metrics, discriminator_logistic, generator_loss
from ganforge.nn.networks.patchgan import Patch, PatchDiscriminator, smallest_side
from ganforge.nn.networks.resnet_translator import ResNetTranslator
from ganforge.nn.networks.unet import MOST_DEPTH, UNet, depth_of
from ganforge.nn.optimizers import adams
from ganforge.system import Suggestions, System, SystemConfig, Tiling, Update, frozen, networks, sources_of

CHUNK = 16  # images that are translated at once: the maps of 256x256 take 20 MB each


class Pix2PixConfig(SystemConfig):
    """Defaults are those of section 6.2 of the paper, of facades: 200 epochs of 400 images."""

    steps: PositiveInt = Field(80_000, description="Training steps; the default is 200 epochs of facades.")
    batch: PositiveInt = Field(1, description="Pairs per update; 1 to 10 in the paper.")
    network: Literal["unet", "encoder_decoder", "resnet"] = Field(
        "unet",
        description="unet: with skips between encoder and decoder; encoder_decoder: without; resnet: the "
        "residual one of CycleGAN, not from the paper.",
    )
    depth: PositiveInt | None = Field(
        None,
        description="Halvings down to the bottleneck; left out: as many as the size allows, at most the "
        "paper's 8.",
    )
    dropout_blocks: NonNegativeInt = Field(
        3,
        description="Decoder blocks, from the bottleneck on, or residual blocks that have dropout, the only "
        "noise.",
    )
    width: PositiveInt = Field(64, description="Channels of the generator's first maps.")
    discriminator_width: PositiveInt = Field(64, description="Channels of the discriminator's first maps.")
    patch: Patch = Field("70", description="Side, in pixels, of the discriminator's patches.")
    adversarial: bool = Field(True, description="Train against a discriminator; without: the L1 term alone.")
    conditional_discriminator: bool = Field(
        True, description="Condition the discriminator on the source; the paper's GAN does not."
    )
    l1_weight: NonNegativeFloat = Field(
        100.0, description="Weight of the mean absolute difference to the target; 0: the cGAN alone."
    )
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's rate for both networks.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")

    # Not from the paper.
    blocks: PositiveInt = Field(9, description="Residual blocks of --network resnet; 6 for 128x128.")
    norm: Literal["instance", "batch"] = Field(
        "instance",
        description="instance: of each image's own statistics, always; batch: of the batch's, when sampling "
        "of running ones.",
    )
    first_dropout: NonNegativeInt = Field(
        0, description="The first block with dropout; the PyTorch port of the U-Net has 1."
    )
    biases: bool = Field(
        False, description="Biases in the convolutions of the U-Net that no norm follows, as the port has."
    )
    ema_half_life: NonNegativeFloat = Field(
        0.0,
        description="Half-life, in images, of the averaged generator that is sampled; 0, as in the paper, "
        "turns it off.",
    )

    def model_post_init(self, _: object) -> None:
        """Reject a generator without any loss."""
        if not self.adversarial and not self.l1_weight:
            raise ValueError("--no-adversarial with --l1-weight 0 leaves no loss: drop one of the two")


@final
class Pix2Pix(System):
    """Isola, Zhu, Zhou and Efros 2016, "Image-to-Image Translation with Conditional Adversarial Networks".

    arXiv 1611.07004. The generator translates the source of a pair, the discriminator tells its images from
    the targets patch by patch, conditioned on the source; dropout, on when sampling too, is the only noise.

    Differs from the paper: instance norm with gain and bias takes the place of batch norm, which is the same
    for a batch of one, and treats every image alone in larger ones; the generator is updated against the
    discriminator's new weights, where the released code reuses the logits from before; the discriminator's
    gradient is halved, as in the text, where that code halves the reported loss only. Jitter and mirroring
    are options of the data, off by default. Other sizes than 256x256 have as many levels as they allow.
    `--network resnet` is the generator of Zhu et al. 2017, "Unpaired Image-to-Image Translation using
    Cycle-Consistent Adversarial Networks", arXiv 1703.10593.
    """

    Config = Pix2PixConfig
    purpose = "turn one kind of image into another"
    needs = frozenset({"sources"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    logits_are_log_odds = True

    def __init__(self, config: Pix2PixConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: Pix2PixConfig = config
        self.data = data
        source_channels = _source_channels(data)
        self.generator = _generator(config, data, source_channels)
        if not config.adversarial:
            return
        smallest = smallest_side(config.patch)
        if min(data.height, data.width) < smallest:
            raise UserError(
                f"--patch {config.patch} needs {smallest} pixels or more a side, this data has "
                f"{data.width}x{data.height}: use a smaller --patch (1, 16, 70), or a larger --size"
            )
        seen = data.channels + (source_channels if config.conditional_discriminator else 0)
        self.discriminator = PatchDiscriminator(
            channels=seen, width=config.discriminator_width, patch=config.patch
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return adams(self, dict.fromkeys(networks(self), config.learning_rate), config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator, then the generator against it and towards the targets."""
        assert batch.sources is not None
        sources, targets, config = batch.sources, batch.images, self.config
        fakes = self.generator(sources)
        distance = l1_loss(fakes, targets.float())
        if not config.adversarial:
            update("generator", config.l1_weight * distance)
            return {"l1_loss": distance.detach()}

        # Discriminator: tell targets from translations, conditioned on the source, at half speed.
        real_logits = self._patch_logits(sources, targets)
        fake_logits = self._patch_logits(sources, fakes.detach())
        discriminator_loss = 0.5 * discriminator_logistic(real_logits, fake_logits)
        update("discriminator", discriminator_loss)

        # Generator: be taken for real, and be near the target.
        with frozen(self.discriminator):
            adversarial_loss = generator_loss("non_saturating", self._patch_logits(sources, fakes))
            update("generator", adversarial_loss + config.l1_weight * distance)
        metrics = adversarial_metrics(discriminator_loss, adversarial_loss, real_logits, fake_logits)
        return metrics | {"l1_loss": distance.detach()}

    @property
    def tiling(self) -> Tiling:
        """Blended, because the norms see the whole image."""
        return Tiling(multiple=self.generator.multiple, least=max(self.data.height, self.data.width))

    def inference_network(self) -> nn.Module:
        """The generator without the dropout that is its noise."""
        return WithoutDropout(copy.deepcopy(self.generator))

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Translations of the sources of `given`, with fresh dropout."""
        return self.translate(sources_of(given, self.data, count, "pix2pix"), generator)

    def translate(self, sources: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Translations of sources in [-1, 1] whose sides are multiples of 2 to the power of the depth."""
        # `forward`: a compiled network takes no generator of random numbers.
        return torch.cat([self.generator.forward(part, generator) for part in sources.split(CHUNK)])

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """The mean logit of the patches of each image, `[batch]`; None without a discriminator or sources."""
        if not self.config.adversarial or given is None or given.sources is None:
            return None
        pairs = zip(given.sources.split(CHUNK), images.split(CHUNK), strict=True)
        return torch.cat([self._patch_logits(sources, part).mean((1, 2)) for sources, part in pairs])

    def _patch_logits(self, sources: Tensor, images: Tensor) -> Tensor:
        """Logits of the patches of `images`, concatenated with their sources or alone."""
        if self.config.conditional_discriminator:
            images = torch.cat([sources, images], 1)
        return self.discriminator(images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Narrow networks on a CPU; less dropout for shallow ones; a smaller patch for small images."""
        suggestions: Suggestions = dict(FOR_CPU) if device == "cpu" else {}
        depth = depth_of(data.height, data.width)
        if depth < MOST_DEPTH:
            reason = (
                f"networks of {depth} levels keep the noise at their coarsest maps, as the paper's of 8 do"
            )
            suggestions["dropout_blocks"] = (max(1, depth - 5), reason)
        if min(data.height, data.width) < smallest_side("70"):
            suggestions["patch"] = ("16", "smaller because the images have fewer than 70 pixels a side")
        return suggestions


# Edges to emoji at 64x64, 20,000 images: L1 0.259 at 171 images/s of one core; in batches of 4 at the paper's
# rate 0.261 at 97 (`benchmarks/tries.json`).
FOR_CPU: Suggestions = {
    "width": (20, "smaller because the run trains on a CPU"),
    "discriminator_width": (16, "smaller because the run trains on a CPU"),
    "batch": (16, "larger: of one image the weights, not the pixels, take the time"),
    "learning_rate": (8e-4, "higher because batches are larger and steps are few"),
}


def _source_channels(data: DataSpec) -> int:
    """The channels of the sources; raises UserError where there are none."""
    if data.source_shape is None:
        raise UserError(
            "pix2pix needs sources, this data has none: add --pairs edges, or --sources FOLDER with one for "
            "each image"
        )
    if data.source_shape[1:] != (data.height, data.width):
        shape = "x".join(map(str, data.source_shape))
        raise UserError(
            f"pix2pix keeps the size, but sources are {shape} and images {data.width}x{data.height}: use "
            "--pairs blur, or `ganforge train srresnet`"
        )
    return data.source_shape[0]


def _generator(config: Pix2PixConfig, data: DataSpec, source_channels: int) -> UNet | ResNetTranslator:
    """The generator of the config; raises UserError where the size does not allow it."""
    sizes = {"channels": source_channels, "outputs": data.channels, "width": config.width}
    dropouts = {"num_dropouts": config.dropout_blocks, "first_dropout": config.first_dropout}
    if config.network != "resnet":
        return UNet(
            **sizes,
            **dropouts,
            depth=_depth(config, data),
            skips=config.network == "unet",
            norm=config.norm,
            biases=config.biases,
        )
    multiple = ResNetTranslator.multiple
    if data.height % multiple or data.width % multiple or min(data.height, data.width) < 2 * multiple:
        raise UserError(
            f"pix2pix of --network resnet needs sides of 8 or more that are multiples of {multiple}, this "
            f"data has {data.width}x{data.height}: use --size {max(2, data.height // multiple) * multiple}"
        )
    return ResNetTranslator(**sizes, **dropouts, blocks=config.blocks, norm=config.norm)


def _depth(config: Pix2PixConfig, data: DataSpec) -> int:
    """The depth of the config, or the largest; raises UserError where the size does not allow it."""
    most = depth_of(data.height, data.width)
    depth = most if config.depth is None else config.depth
    if depth < 2 or data.height % 2**depth or data.width % 2**depth:
        multiple = 2 ** max(depth, 2)
        raise UserError(
            f"pix2pix of --depth {max(depth, 2)} needs sides that are multiples of {multiple}, this data has "
            f"{data.width}x{data.height}: use --size {max(1, data.height // multiple) * multiple}"
            + (f", or --depth {most}" if most >= 2 else "")
        )
    return depth
