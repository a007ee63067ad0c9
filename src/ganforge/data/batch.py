"""`Batch`: the tensors of one step."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganforge.data.spec import DataSpec as DataSpec


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
            return None if tensor is None else tensor.to(device, non_blocking=device.type == "cuda")

        return Batch(
            self.images.to(device),
            move(self.labels),
            move(self.captions),
            move(self.sources),
            move(self.embeddings),
        )

    def __getitem__(self, rows: slice | Tensor) -> "Batch":
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


def to_float(pixels: Tensor) -> Tensor:
    """Pixels in [-1, 1] from `pixels` uint8."""
    return pixels.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Pixels uint8 from `images` in [-1, 1]; values outside are clamped."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def as_images(stored: Tensor) -> Tensor:
    """Stored elements as in a `Batch`: uint8 pixels become floats, points stay as they are."""
    return to_float(stored) if stored.dtype == torch.uint8 else stored
