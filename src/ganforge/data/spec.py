"""`DataSpec`: the shape of a data set, which networks are built for."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

LONGEST_SIDE, MOST_PIXELS = 16_384, 2**24
"""Of an image that networks are trained on: a file that asks for more must not get the memory."""


class DataSpec(BaseModel):
    """The shape and kind of the data that networks are built for; saved in the run.

    `values` says what one element is: "pixels" lie in [-1, 1]; "points" are 2-D coordinates, unbounded,
    with the shape `2x1x1`. `binary` pixels are -1 or 1. `num_images` counts the training split.
    `caption_alphabet` and `caption_length` say how captions become codes; `embedding_size` is the size
    of caption embeddings. `source_shape` is that of the input image (channels, height,
    width) that each image has, if any. `bits` a channel is the depth of the image files that `--range`
    is for, 32 for floats; 8 where the range is full.
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
    caption_length: NonNegativeInt = 0
    embedding_size: NonNegativeInt = 0
    source_shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    bits: PositiveInt = 8

    @model_validator(mode="after")
    def _fits(self) -> "DataSpec":
        for _, height, width in filter(None, (self.shape, self.source_shape)):
            if max(height, width) > LONGEST_SIDE or height * width > MOST_PIXELS:
                raise ValueError(f"{width}x{height} images: expected at most {MOST_PIXELS:,} pixels")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return (self.channels, self.height, self.width)

    @property
    def kind(self) -> Literal["pixels", "points", "alpha"]:
        """What a system must accept: its `values`, or "alpha" for pixels with alpha, premultiplied."""
        return "alpha" if self.values == "pixels" and self.channels == 4 else self.values

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
