"""What the systems of super-resolution share: their options, crops, content losses, and enlarging."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.networks.srresnet import SRResNet
from ganforge.system import SystemConfig
from ganforge.systems.families.perceptual import fetch_vgg

SCALES = (2, 4)
CHUNK = 8  # images that are enlarged at once: maps of 64 channels and 256x256 pixels take 17 MB each
VGG_URL, VGG_FILE = "https://download.pytorch.org/models/", "vgg19-dcbb9e9d.pth"
VGG_SHA256 = "dcbb9e9d"  # how it begins: torchvision names its files so
SMALLEST_FOR_VGG54 = 16  # pixels


class SuperResolutionConfig(SystemConfig):
    """Options of systems that enlarge images; defaults are those of section 3.2 of Ledig et al. 2016."""

    batch: PositiveInt = Field(16, description="Crops per update, each of another image.")
    ema_half_life: NonNegativeFloat = Field(
        0.0,
        description="Half-life, in images, of the averaged generator that is sampled; 0, as in the paper, "
        "turns it off.",
    )
    crop_size: PositiveInt = Field(
        96, description="Side, in pixels, of the random crops of the images, at most the images' own."
    )
    num_blocks: PositiveInt = Field(16, description="Residual blocks of the generator.")
    width: PositiveInt = Field(64, description="Channels of the generator's maps.")
    content: Literal["mse", "vgg22", "vgg54"] = Field(
        "mse",
        description="How far from the original: mse of the pixels, or of VGG-19's features 2,2 or 5,4.",
    )
    vgg_weights: str | None = Field(
        None,
        description="A .pth or .safetensors file with the weights of torchvision's vgg19, under its names; "
        "left out: fetched once.",
    )
    vgg_sha256: str | None = Field(
        None, description="SHA-256, in hex, of that file; left out: what it is when the run begins."
    )
    learning_rate: PositiveFloat = Field(1e-4, description="Adam's first rate.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")

    @model_validator(mode="before")
    @classmethod
    def _seal(cls, values: Any) -> Any:
        """Note which file the features are of: with another one, the run would be another."""
        if not isinstance(values, dict):
            return values
        if values.get("content", "mse") != "mse" and not values.get("vgg_weights"):
            values = values | {"vgg_weights": str(fetch_vgg())}
        if values.get("vgg_sha256"):
            return values | {"vgg_sha256": str(values["vgg_sha256"]).lower()}
        if values.get("vgg_weights"):
            file = Path(values["vgg_weights"]).expanduser()
            if file.is_file():
                values = values | {"vgg_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        return values

    def model_post_init(self, _: object) -> None:
        """Refuse features without weights, and weights without a use."""
        if self.content != "mse" and not self.vgg_sha256:
            raise ValueError(
                f"--content {self.content} needs --vgg-weights FILE.safetensors, a file that is there; "
                "--content mse needs none"
            )
        if self.content == "mse" and self.vgg_weights:
            raise ValueError(
                "--vgg-weights is for --content vgg22 or vgg54: add one of them, or leave it out"
            )


def scale_of(name: str, data: DataSpec) -> int:
    """How many times larger the images are than their sources; raises UserError where not 2 or 4."""
    if data.values == "points":
        raise UserError(f"{name} enlarges images, this data is 2-D points: use --data FOLDER")
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
