"""`DataOptions`: which data a run uses, and how images are brought to one shape."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, field_validator

_PAIRS = re.compile(r"auto|none|side-by-side(:right)?|edges|grey|blur|mask|downscale:([2-9]|[1-9][0-9]{1,2})")


class DataOptions(BaseModel):
    """All options that affect the pixels of a run; saved in the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        description="A name that `ganforge list data` shows, a folder, a .zip file, an IDX file, "
        "celeba:FOLDER or hf:OWNER/NAME."
    )
    size: PositiveInt | None = Field(
        None,
        description="Side of the square images, in pixels. Left out: the images' own size; where their "
        "sizes differ, the largest power of two not above the median shorter side, at most 64.",
    )
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop",
        description="How an image becomes square: crop its centre, pad it with background, or stretch it.",
    )
    channels: Literal["auto", "grey", "color"] = Field(
        "auto", description="Grey or color images; auto is grey only if all images are stored as grey."
    )
    background: Literal["white", "black"] = Field(
        "white",
        description="The colour behind transparent images and of `--fit pad`'s margins; black suits digits.",
    )
    label_column: str = Field(
        "label", description="The column of the metadata file, or the CelebA attribute, that holds the class."
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

    @field_validator("pairs")
    @classmethod
    def _known_pairs(cls, pairs: str) -> str:
        if not _PAIRS.fullmatch(pairs):
            raise ValueError(
                "expected auto, none, side-by-side, side-by-side:right, edges, grey, blur, mask, or "
                "downscale: and 2 or more, such as --pairs downscale:4"
            )
        return pairs
