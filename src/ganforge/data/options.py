"""`DataOptions`: which data to use and how each picture is brought to the one shape that networks need."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class DataOptions(BaseModel):
    """Everything that decides which pixels a run sees; saved in the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        description="A name that `ganforge list data` shows, a folder, a .zip file, an IDX file, "
        "celeba:FOLDER or hf:OWNER/NAME."
    )
    size: PositiveInt | None = Field(
        None,
        description="Side of the square pictures, in pixels. Left out: the pictures' own size; where their "
        "sizes differ, the largest power of two not above the median shorter side, at most 64.",
    )
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop",
        description="How a picture becomes square: crop its centre, pad it with background, or stretch it.",
    )
    channels: Literal["auto", "grey", "color"] = Field(
        "auto", description="Grey or color pictures; auto is grey only if all pictures are stored as grey."
    )
    background: Literal["white", "black"] = Field(
        "white",
        description="What transparent pictures are laid on and `--fit pad` adds; black suits digits.",
    )
    label_column: str = Field(
        "label", description="The column of the metadata file, or the CelebA attribute, that holds the class."
    )
    unreadable: Literal["skip", "stop"] = Field(
        "skip",
        description="What to do with pictures that cannot be read: skip them (at most 5 % of all), or stop.",
    )
    flip: bool = Field(
        False, description="Mirror pictures left to right at random, drawn anew in each epoch."
    )
    binarise: Literal["none", "static", "dynamic"] = Field(
        "none",
        description="Make grey pixels black or white, white with the probability of their brightness: "
        "static, drawn once; dynamic, drawn anew each time a training picture is shown.",
    )
    dequantise: bool = Field(
        False, description="Add uniform noise of one grey level, so that pixels are continuous (WGAN-GP)."
    )
