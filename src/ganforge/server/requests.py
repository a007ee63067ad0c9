"""What clients may ask for, with ranges: the bodies and queries of the endpoints, and so their schema."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ganforge.generation.explore.arithmetic import NOISE
from ganforge.generation.sources import Lines, Size
from ganforge.generation.truncation import LEAST_TRUNCATION
from ganforge.runs.sampling import CHUNK

MOST_IMAGES = CHUNK
"""Images of one answer; a request is one chunk, as `ganforge sample` draws them."""
MOST_KEYS, MOST_TEXTS = 64, 16

Form = Literal["png", "webp", "json", "numbers", "npz"]
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Label = Annotated[int, Field(ge=0, lt=2**31)] | Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
FORM = "How to answer; default: by the Accept header, else png."
SEED = "The same seed gives the same answer; default: one drawn for this request, which the answer names."
LABELS = "Classes, as numbers or names, which take turns; default: all classes in turn."
TRUNCATION = "Draw numbers of a latent beyond this again, such as 1.5: less varied."


class Options(BaseModel):
    """What every request may say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Form | None = Field(None, description=FORM)
    seed: Seed | None = Field(None, description=SEED)


class Generate(Options):
    """Samples: the same as `ganforge sample RUN --count COUNT --seed SEED`."""

    count: int = Field(1, ge=1, le=MOST_IMAGES, description="Number of samples.")
    labels: list[Label] | None = Field(None, min_length=1, max_length=MOST_IMAGES, description=LABELS)
    codes: dict[int, float] = Field(
        {}, max_length=MOST_KEYS, description="Codes of infogan, by number: {0: 4}."
    )
    truncation: float | None = Field(None, ge=LEAST_TRUNCATION, description=TRUNCATION)


class Text2Image(Options):
    """Samples for prompts: the same as `ganforge sample RUN --text TEXT --count COUNT --seed SEED`."""

    texts: list[Text] = Field(min_length=1, max_length=MOST_TEXTS, description="The prompts.")
    count: int = Field(1, ge=1, le=MOST_IMAGES, description="Samples of each prompt, of the same latents.")


class Interpolate(Options):
    """A path between the samples of seeds, or between prompts: a strip, or as WebP an animation."""

    seeds: list[Seed] = Field(
        min_length=1, max_length=MOST_KEYS, description="Each as a sample of `count` 1 and that seed."
    )
    texts: list[Text] | None = Field(
        None,
        min_length=1,
        max_length=MOST_TEXTS,
        description="Prompts, in turn; with one seed, between them.",
    )
    labels: list[Label] | None = Field(None, min_length=1, max_length=MOST_KEYS, description=LABELS)
    frames: int = Field(13, ge=2, le=MOST_IMAGES, description="Images in all.")
    closed: bool = Field(False, description="Whether it goes back to the first, as a loop without a seam.")
    rate: int = Field(24, ge=1, le=120, description="Frames a second of an animation.")
    truncation: float | None = Field(None, ge=LEAST_TRUNCATION, description=TRUNCATION)


class Arithmetic(Options):
    """Sums of mean latents; the result is the fifth of nine images, eight noisy neighbours around it."""

    expression: str = Field(
        min_length=1,
        max_length=200,
        description='Seeds with commas, and names of vectors of the run: "1,2,3 - 4,5,6 + 0.5*smile".',
    )
    label: Label | None = Field(None, description="The class of the result.")
    text: Text | None = Field(None, description="The prompt of the result.")
    noise: float = Field(NOISE, ge=0, le=10, description="Noise of the neighbours, +-.")
    truncation: float | None = Field(None, ge=LEAST_TRUNCATION, description=TRUNCATION)


class Project(Options):
    """The latent of an image: the answer is the image in the run's size, and its reconstruction."""

    steps: int = Field(200, ge=0, le=1_000, description="Steps of the optimisation; 0: the start alone.")
    restarts: int = Field(3, ge=1, le=5, description="Starts that are optimised; the best one counts.")
    pixels_only: bool = Field(False, description="Without the features of a reference classifier.")
    label: Label | None = Field(None, description="The class of the image.")
    text: Text | None = Field(None, description="A prompt that the image fits.")


class Apply(Options):
    """An image translated or enlarged."""

    size: Size = Field("training", description="Resized to fit the images of training, or at its own size.")
    lines: Lines = Field("thin", description="For runs on edges: thin lines, find edges, or keep the image.")


class Complete(Options):
    """An image whose first rows are kept; the others are sampled given these."""

    rows: int | None = Field(None, ge=1, le=65_535, description="Rows that are kept; default: half.")
    count: int = Field(4, ge=1, le=16, description="Completions; each by a seed of its own, from `seed` on.")
    label: Label | None = Field(None, description="The class of the image.")
