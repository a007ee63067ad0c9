"""What the systems of super-resolution share: their options, crops, content losses, and enlarging."""

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.networks.srresnet import SRResNet
from ganforge.systems.families.perceptual import PerceptualConfig

SCALES = (2, 4)
CHUNK = 8  # images that are enlarged at once: maps of 64 channels and 256x256 pixels take 17 MB each
SMALLEST_FOR_VGG54 = 16  # pixels


class SuperResolutionConfig(PerceptualConfig):
    """Options of systems that enlarge images; defaults are those of section 3.2 of Ledig et al. 2016."""

    batch: PositiveInt = Field(16, description="Crops per update, each of another image.")
    crop_size: PositiveInt = Field(
        96, description="Side, in pixels, of the random crops of the images, at most the images' own."
    )
    num_blocks: PositiveInt = Field(16, description="Residual blocks of the generator.")
    width: PositiveInt = Field(64, description="Channels of the generator's maps.")
    learning_rate: PositiveFloat = Field(1e-4, description="Adam's first rate.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")

    # Not from the paper.
    ema_half_life: NonNegativeFloat = Field(
        0.0,
        description="Half-life, in images, of the averaged generator that is sampled; 0, as in the paper, "
        "turns it off.",
    )


def scale_of(name: str, data: DataSpec) -> int:
    """How many times larger the images are than their sources; raises UserError where not 2 or 4."""
    scale = data.height // data.source_shape[1] if data.source_shape else 0
    if not scale or data.source_shape != (data.channels, data.height // scale, data.width // scale):
        scale = 0
    if scale not in SCALES or data.height % scale or data.width % scale:
        raise UserError(f"{name} needs sources 2 or 4 times smaller than the images: use --pairs downscale:4")
    return scale


def crop_side(config: SuperResolutionConfig, data: DataSpec, scale: int) -> int:
    """The side of the crops, in pixels of the large images; raises UserError where `scale` does not fit."""
    if config.crop_size % scale:
        nearest = max(1, config.crop_size // scale) * scale
        raise UserError(
            f"--crop-size {config.crop_size} is no multiple of the scale {scale}: use --crop-size {nearest}"
        )
    side = min(config.crop_size, data.height, data.width)
    if config.content == "vgg54" and side < SMALLEST_FOR_VGG54:
        raise UserError(
            f"--content vgg54 halves crops four times, which {side} pixels do not allow: use images and a "
            f"--crop-size of {SMALLEST_FOR_VGG54} or more"
        )
    return side


def random_crops(batch: Batch, side: int, scale: int) -> tuple[Tensor, Tensor]:
    """A random square of each source, and the same place of its image: `side` pixels of the latter."""
    assert batch.sources is not None
    count, _, height, width = batch.sources.shape
    small = side // scale
    tops = torch.randint(height - small + 1, (count,), device=batch.images.device)
    lefts = torch.randint(width - small + 1, (count,), device=batch.images.device)
    sources = _cut(batch.sources, tops, lefts, small)
    return sources, _cut(batch.images, scale * tops, scale * lefts, side)


def _cut(images: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Tensor:
    """Squares of `side`, each at its own place, without reading the places back from the device."""
    steps = torch.arange(side, device=images.device)
    rows, columns = tops[:, None, None] + steps[:, None], lefts[:, None, None] + steps
    places = (rows * images.shape[3] + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, places).unflatten(2, (side, side))


def centre(images: Tensor, side: int) -> Tensor:
    """The square of `side` in the middle."""
    top, left = (images.shape[2] - side) // 2, (images.shape[3] - side) // 2
    return images[:, :, top : top + side, left : left + side]


def enlarge(generator: SRResNet, sources: Tensor) -> Tensor:
    """Large images, not bounded, of `sources` in [-1, 1], which the network wants in [0, 1]."""
    return generator((sources + 1) / 2)


def enlarge_all(generator: SRResNet, sources: Tensor) -> Tensor:
    """Large images in [-1, 1] of `sources` in [-1, 1] of any size, a few at a time."""
    return torch.cat([enlarge(generator, part).clamp(-1, 1) for part in sources.split(CHUNK)])
