"""`Batch`, the tensors of one step, and `DataSpec`, the shape of the data."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One step's worth of data.

    `images` float `[batch, channels, height, width]`: pixels in [-1, 1], or unbounded values for 2-D
    points (then `[batch, 2, 1, 1]`). `labels` int `[batch]`; `captions` int `[batch, length]`, character
    codes; `sources` float `[batch, ...]`, the input image of an image-to-image system; `embeddings`
    float `[batch, size]`, captions as encoded by a text encoder.
    """

    images: Tensor
    labels: Tensor | None = None
    captions: Tensor | None = None
    sources: Tensor | None = None
    embeddings: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            self.images.to(device),
            move(self.labels),
            move(self.captions),
            move(self.sources),
            move(self.embeddings),
        )

    def __getitem__(self, rows: slice) -> "Batch":
        """The batch of these rows."""

        def pick(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows]

        return replace(
            self,
            images=self.images[rows],
            labels=pick(self.labels),
            captions=pick(self.captions),
            sources=pick(self.sources),
            embeddings=pick(self.embeddings),
        )


def conditions(
    labels: Tensor | None = None, sources: Tensor | None = None, embeddings: Tensor | None = None
) -> Batch:
    """A batch of conditions alone, for sampling; its images have no pixels.

    `labels` int64 `[count]`; `sources` `[count, channels, height, width]` in [-1, 1]; `embeddings`
    `[count, size]`; one of them at least.
    """
    count = next(len(part) for part in (labels, sources, embeddings) if part is not None)
    return Batch(torch.empty(count, 0, 0, 0), labels, sources=sources, embeddings=embeddings)


class DataSpec(BaseModel):
    """The shape and kind of the data that networks are built for; saved in the run.

    `values` says what one element is: "pixels" lie in [-1, 1]; "points" are 2-D coordinates, unbounded,
    with the shape `2x1x1`. `binary` pixels are -1 or 1. `num_images` counts the training split.
    `caption_alphabet` and `caption_length` say how captions become codes; `embedding_size` is the size
    of caption embeddings. `source_shape` is that of the input image (channels, height,
    width) that each image has, if any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: PositiveInt
    height: PositiveInt
    width: PositiveInt
    num_images: PositiveInt
    values: Literal["pixels", "points"] = "pixels"
    binary: bool = False
    class_names: tuple[str, ...] = ()
    caption_alphabet: str = ""
    caption_length: int = 0
    embedding_size: int = 0
    source_shape: tuple[int, int, int] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return (self.channels, self.height, self.width)

    @property
    def enlarges(self) -> bool:
        """Whether sources differ in size from the images: super-resolution."""
        return self.source_shape is not None and self.source_shape[1:] != (self.height, self.width)

    @property
    def offers(self) -> frozenset[str]:
        """The optional parts of a `Batch` that these data provide."""
        parts = {
            "labels": self.class_names,
            "captions": self.caption_alphabet,
            "sources": self.source_shape,
            "embeddings": self.embedding_size,
        }
        return frozenset(name for name, value in parts.items() if value)


def to_float(pixels: Tensor) -> Tensor:
    """Pixels in [-1, 1] from `pixels` uint8."""
    return pixels.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Pixels uint8 from `images` in [-1, 1]; values outside are clamped."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def as_images(stored: Tensor) -> Tensor:
    """Stored elements as in a `Batch`: uint8 pixels become floats, points stay as they are."""
    return to_float(stored) if stored.dtype == torch.uint8 else stored
