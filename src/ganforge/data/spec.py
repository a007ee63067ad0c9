"""`DataSpec`: the shape of a data set, which networks are built for."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt


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
