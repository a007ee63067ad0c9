"""Samples as a tensor that can be shown: as PIL images, and by itself in a notebook."""

import io
from typing import Any

from PIL import Image
from torch import Tensor

from ganforge.data import alpha
from ganforge.data.batch import to_uint8
from ganforge.errors import UserError
from ganforge.reporting import grids

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MOST_SHOWN = 64


class Samples(Tensor):
    """A tensor like any other, of images in [-1, 1] or points; its parts and results are of this class too.

    What is saved by `torch.save` or pickled is a plain tensor.
    """

    def pil(self) -> list[Image.Image]:
        """The images as `to_pil` gives them."""
        return to_pil(self)

    def __getitem__(self, index: Any) -> "Samples":
        return super().__getitem__(index).as_subclass(Samples)

    def _repr_png_(self) -> bytes | None:
        """A grid, or a scatter plot of points, for notebooks; nothing for other shapes."""
        plain = self.detach().cpu().as_subclass(Tensor)
        if plain.dim() != 4 or not len(plain) or not plain.is_floating_point():
            return None
        if plain.shape[1:] == (2, 1, 1):
            image = grids.scatter(plain[:, :, 0, 0])
        elif plain.shape[1] in _MODES:
            image = grids.grid(plain[:_MOST_SHOWN])
        else:
            return None
        content = io.BytesIO()
        image.save(content, "PNG")
        return content.getvalue()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.as_subclass(Tensor).__reduce_ex__(protocol)


def to_pil(images: Tensor) -> list[Image.Image]:
    """PIL images of `images` `[count, channels, height, width]`, or of a single one, in [-1, 1].

    1 channel is grey, 3 are colour and 4 colour with alpha; values beyond are clamped. Raises UserError for
    other shapes, such as those of 2-D points.
    """
    plain = images.detach().cpu().as_subclass(Tensor)
    batch = plain[None] if plain.dim() == 3 else plain
    if batch.dim() != 4 or batch.shape[1] not in _MODES or not batch.is_floating_point():
        raise UserError(
            f"no images: a tensor of {images.dtype} with the shape {list(images.shape)}; expected floats "
            "[count, channels, height, width] with 1, 3 or 4 channels, such as run.sample(16)"
        )
    batch = alpha.straight(batch) if batch.shape[1] == alpha.CHANNELS else batch
    pixels = to_uint8(batch).permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(each[:, :, 0] if each.shape[2] == 1 else each) for each in pixels]
