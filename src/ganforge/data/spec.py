"""`DataSpec`: the shape of a data set, which networks are built for."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt


class DataSpec(BaseModel):
    """The interface that a data set declares and that networks are built for; saved in the run.

    `values` says what one element is: "pixels" lie in [-1, 1]; "points" are 2-D coordinates, unbounded,
    with the shape `2x1x1`. `binary` pixels are -1 or 1. `num_images` counts the training split.
    `caption_alphabet` and `caption_length` say how captions become codes; `embedding_size` counts the numbers
    that a text encoder made of each caption. `source_shape` is that of the input image (channels, height,
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
        """Whether sources are of another size than the images, so that these are to be made larger."""
        return self.source_shape is not None and self.source_shape[1:] != (self.height, self.width)

    @property
    def offers(self) -> frozenset[str]:
        """Which optional parts of a `Batch` this data can fill."""
        parts = {
            "labels": self.class_names,
            "captions": self.caption_alphabet,
            "sources": self.source_shape,
            "embeddings": self.embedding_size,
        }
        return frozenset(name for name, value in parts.items() if value)
