"""What every autoregressive system shares: levels, their likelihood, images made pixel by pixel."""

import math
from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from torch import Tensor

from ganforge.data.batch import DataSpec, to_uint8
from ganforge.errors import UserError
from ganforge.nn.losses import categorical_nats
from ganforge.nn.networks.pixel_cache import PixelCache
from ganforge.system import SystemConfig

SUB_PIXELS_AT_ONCE = 2**17  # scored at once: 42 images of 32x32 in colours, 130 MB of logits


class AutoregressiveConfig(SystemConfig):
    """Options of networks that give logits of the levels of every sub-pixel."""

    batch: PositiveInt = Field(16, description="Images per update.")
    levels: int = Field(
        256,
        ge=2,
        le=256,
        description="Levels of a sub-pixel, each a class; must divide 256. 2: black and white.",
    )
    head_width: PositiveInt = Field(32, description="Features of the two layers before the logits.")
    learning_rate: PositiveFloat = Field(1e-3, description="Adam's first rate.")

    # Not from the paper.
    learning_rate_decay: Literal["none", "linear"] = Field(
        "linear", description="linear: the rate decays to 0 after the last step."
    )
    ema_half_life: NonNegativeFloat = Field(
        25_000,
        description="Half-life, in images, of the averaged network (EMA); 0 turns it off.",
    )

    @field_validator("levels")
    @classmethod
    def _divides(cls, levels: int) -> int:
        if 256 % levels:
            raise ValueError(f"{levels} does not divide 256: use --levels 2, 4, 8, 16, 32, 64, 128 or 256")
        return levels


class PixelNetwork(Protocol):
    """A network that gives logits, whole images at once or pixel by pixel."""

    def __call__(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits `[batch, levels, channels, height, width]`."""

    def start(self, count: int, width: int, labels: Tensor | None = None) -> PixelCache:
        """What is kept while `count` images of that width are made."""


def to_levels(images: Tensor, levels: int) -> Tensor:
    """Levels int64 from 0 of `images` in [-1, 1], by their bytes: level = byte * levels // 256."""
    return to_uint8(images).long() * levels // 256


def from_levels(values: Tensor, levels: int) -> Tensor:
    """Images in [-1, 1] of levels: the lowest is -1, the highest 1, the others evenly between."""
    return values.float() * (2 / (levels - 1)) - 1


def nats_of(network: PixelNetwork, images: Tensor, levels: int, labels: Tensor | None) -> Tensor:
    """-log p in nats, `[batch]`, of `images` in [-1, 1] at so many levels.

    Without gradients a few images at a time: 32x32 in colours at 256 levels has 3 MB of logits each.
    """

    def nats(images: Tensor, labels: Tensor | None) -> Tensor:
        targets = to_levels(images, levels)
        return categorical_nats(network(from_levels(targets, levels), labels), targets)

    size = max(1, SUB_PIXELS_AT_ONCE // images[0].numel())
    if torch.is_grad_enabled() or len(images) <= size:
        return nats(images, labels)
    parts = [None] * -(-len(images) // size) if labels is None else labels.split(size)
    return torch.cat([nats(*pair) for pair in zip(images.split(size), parts, strict=True)])


def measures(nats: Tensor, data: DataSpec) -> dict[str, Tensor]:
    """`nll_nats` of an image and `nll_bits_per_dim` of its sub-pixels, of `nats` `[batch]`."""
    mean = nats.mean()
    return {"nll_nats": mean, "nll_bits_per_dim": mean / (math.prod(data.shape) * math.log(2))}


@torch.no_grad()
def make_images(
    network: PixelNetwork,
    count: int,
    data: DataSpec,
    levels: int,
    labels: Tensor | None = None,
    images: Tensor | None = None,
    rows: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`count` images in [-1, 1], each sub-pixel drawn from its distribution given those before it.

    The first `rows` are those of `images` `[count, channels, height, width]`, at their nearest levels. A
    draw is the largest of logits plus Gumbel noise. In float32, autocast or not.
    """
    made = make_rows(network, count, data, levels, labels, images, rows, generator)
    return torch.stack(list(made), 2)


@torch.no_grad()
def make_rows(
    network: PixelNetwork,
    count: int,
    data: DataSpec,
    levels: int,
    labels: Tensor | None = None,
    images: Tensor | None = None,
    rows: int = 0,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """The rows `[count, channels, width]` of what `make_images` makes, each when it is complete."""
    cache = network.start(count, data.width, labels)
    of = cache.pixels.values
    completed = of.new_empty(count, *data.shape)
    if images is not None:
        completed[:, :, :rows] = from_levels(to_levels(images[:, :, :rows], levels), levels)
    shades = from_levels(torch.arange(levels, device=of.device), levels)
    with torch.autocast(of.device.type, enabled=False):
        for row in range(data.height):
            cache.begin_row()
            noise = of.new_empty(data.width, data.channels, count, levels)
            if row >= rows:
                noise.exponential_(generator=generator).log_().neg_()
            for column in range(data.width):
                for colour in range(data.channels):
                    logits, cell = cache.logits(column, colour), cache.pixels.cells[colour][column]
                    if row < rows:
                        cell.copy_(completed[:, colour, row, column, None])
                    else:
                        chosen = noise[column, colour].add_(logits).argmax(1, keepdim=True)
                        cell.copy_(shades[chosen])
            completed[:, :, row] = cache.pixels.maps()
            yield completed[:, :, row].clone()


def complete_images(
    network: PixelNetwork,
    images: Tensor,
    rows: int,
    data: DataSpec,
    levels: int,
    labels: Tensor | None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`images` with all rows but the first `rows` sampled again; raises UserError as `complete_rows`."""
    return torch.stack(list(complete_rows(network, images, rows, data, levels, labels, generator)), 2)


def complete_rows(
    network: PixelNetwork,
    images: Tensor,
    rows: int,
    data: DataSpec,
    levels: int,
    labels: Tensor | None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """The rows `[count, channels, width]` of what `complete_images` makes, each when it is complete.

    Raises UserError for rows that the images do not have, and for images of another shape.
    """
    if images.shape[1:] != data.shape:
        shape, own = ("x".join(map(str, sizes)) for sizes in (images.shape[1:], data.shape))
        raise UserError(f"cannot complete images of {shape}: expected {own}, as in the training")
    if not 0 <= rows <= data.height:
        raise UserError(f"cannot keep {rows} rows of images of {data.height}: expected 0 to {data.height}")
    return make_rows(network, len(images), data, levels, labels, images, rows, generator)
