"""`DataOptions`: which data a run uses, and how images are brought to one shape."""

import math
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, field_validator

from ganforge.data.levels import parse_levels, show_levels
from ganforge.data.spec import LONGEST_SIDE, MOST_PIXELS

_PAIRS = re.compile(r"auto|none|side-by-side(:right)?|edges|grey|blur|mask|downscale:([2-9]|[1-9][0-9]{1,2})")


class DataOptions(BaseModel):
    """All options that affect the pixels of a run; saved in the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        description="A name that `ganforge list data` shows, a folder, a .zip file, an IDX file, "
        "celeba:FOLDER, wds:SHARDS or hf:OWNER/NAME."
    )
    size: PositiveInt | str | None = Field(
        None,
        description="Side of square images, in pixels, or HEIGHTxWIDTH, such as 48x64 for images 48 high "
        "and 64 wide. Left out: the images' own size; where their sizes differ, the largest power of two not "
        "above the median shorter side, at most 64.",
    )
    fit: Literal["auto", "crop", "pad", "stretch"] = Field(
        "auto",
        description="How an image becomes square: crop its centre, pad it with background, or stretch it; "
        "auto: pad where a crop would cut off content, else crop.",
    )
    channels: Literal["auto", "grey", "color"] = Field(
        "auto", description="Grey or color images; auto is grey only if all images are stored as grey."
    )
    background: Literal["white", "black"] = Field(
        "white",
        description="The colour behind transparent images and of `--fit pad`'s margins; black suits digits.",
    )
    alpha: Literal["background", "keep"] = Field(
        "background",
        description="Transparent images: on the background, or keep alpha as a fourth channel, for the GANs.",
    )
    range: str = Field(
        "full",
        description="The values that are black and white: full, as the file format has it; data, the lowest "
        "and highest value of the training images; or LOW..HIGH, such as 0..4095.",
    )
    label_column: str = Field(
        "auto",
        description="The column of the metadata file, or the CelebA attribute, that holds the class; auto: "
        "label, a synonym or the only column left; folder: the name of the folder; none: no classes.",
    )
    pairs: str = Field(
        "auto",
        description="The source of each image: auto, a *_file_name column of the metadata if every image has "
        "one; none; side-by-side, the left half of each file (side-by-side:right, the right one); or "
        "derived from the image: edges, grey, blur, mask, or downscale:4, a quarter of the size.",
    )
    sources: str | None = Field(
        None, description="A folder or .zip with the source of each image, under the same name."
    )
    unreadable: Literal["skip", "stop"] = Field(
        "skip",
        description="What to do with images that cannot be read: skip them (at most 5 % of all), or stop.",
    )
    balance_classes: bool = Field(
        False,
        description="Use training images of every class equally often: those of rare classes are "
        "repeated, those of frequent classes take turns.",
    )
    flip: bool = Field(False, description="Mirror images left to right at random, redrawn in each epoch.")
    jitter: NonNegativeInt = Field(
        0,
        description="Enlarge training images by this many pixels and crop them back at random, redrawn "
        "in each epoch; pix2pix uses 30 for 256.",
    )
    binarise: Literal["none", "static", "dynamic"] = Field(
        "none",
        description="Make grey pixels black or white, white with the probability of their brightness: "
        "static, drawn once; dynamic, redrawn each time a training image is used.",
    )
    text_encoder: str | None = Field(
        None,
        description="The text encoder of captions for gan_cls and stackgan: a run of text_encoder, "
        "sentence:MODEL, or pretrained:NAME.",
    )
    captions_per_image: PositiveInt = Field(
        1,
        description="Captions of an image whose embeddings are averaged, redrawn each time it is used; the "
        "papers use 4.",
    )
    dequantise: bool = Field(
        False, description="Add uniform noise of one grey level, so that pixels are continuous (WGAN-GP)."
    )

    @field_validator("size", mode="before")
    @classmethod
    def _known_size(cls, size: object) -> object:
        if isinstance(size, str) and size.isdecimal() and len(size) < 20:
            size = int(size)
        if not isinstance(size, str):
            if isinstance(size, int) and size * size > MOST_PIXELS:
                raise ValueError(f"expected at most {math.isqrt(MOST_PIXELS):,} pixels")
            return size
        match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", size.strip().lower())
        if match is None:
            raise ValueError("expected a number of pixels, or height x width, such as --size 48x64")
        if int(match[1]) * int(match[2]) > MOST_PIXELS or max(int(match[1]), int(match[2])) > LONGEST_SIDE:
            raise ValueError(f"expected at most {MOST_PIXELS:,} pixels")
        return int(match[1]) if match[1] == match[2] else match[0]

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of `size`."""
        if self.size is None or isinstance(self.size, int):
            return None if self.size is None else (self.size, self.size)
        height, _, width = self.size.partition("x")
        return int(height), int(width)

    @field_validator("range")
    @classmethod
    def _known_range(cls, text: str) -> str:
        levels = parse_levels(text)
        return text if levels is None else show_levels(levels)

    @field_validator("pairs")
    @classmethod
    def _known_pairs(cls, pairs: str) -> str:
        if not _PAIRS.fullmatch(pairs):
            raise ValueError(
                "expected auto, none, side-by-side, side-by-side:right, edges, grey, blur, mask, or "
                "downscale: and 2 or more, such as --pairs downscale:4"
            )
        return pairs
