"""Places among the latents of a model, as the page names them, and their images."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.generation.explore.arithmetic import Term, evaluate_expression
from ganforge.generation.explore.keys import Keys, latent_system
from ganforge.generation.explore.vectors import NAME
from ganforge.generation.sources import Lines, Size
from ganforge.generation.truncation import LEAST_TRUNCATION
from ganforge.runs.sampling import CHUNK
from ganforge.server.requests import Label, Seed, Text
from ganforge.studio.create_models import MOST_IMAGES, Loaded

MOST_TERMS, MOST_OWN, LARGEST_FACTOR = 64, 16, 1_000.0
SEED, OWN = re.compile(r"[0-9]{1,19}"), re.compile(r"@[a-z0-9]{1,16}")
Factor = Annotated[float, Field(ge=-LARGEST_FACTOR, le=LARGEST_FACTOR)]
Latents = Annotated[str, Field(max_length=60_000)]


class Point(BaseModel):
    """A latent with its conditions: a sum of seeds, directions and own latents, with factors.

    `terms`: "7" is the latent of the seed 7, "sefa-0", "pca-3" and "z-12" what every model has, other names
    are saved vectors, "@1" is one of the request's own latents. `share`: how far from the first of two
    `texts` to the second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    terms: dict[str, Factor] = Field(min_length=1, max_length=MOST_TERMS)
    label: Label | None = None
    texts: list[Text] = Field([], max_length=2)
    share: float = Field(0.0, ge=0, le=1)
    codes: dict[int, float] = Field({}, max_length=MOST_TERMS)
    truncation: float | None = Field(None, ge=LEAST_TRUNCATION, le=100)


class Points(BaseModel):
    """Places, and the latents `own` that they share, float32 in base64, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    points: list[Point] = Field(min_length=1, max_length=MOST_IMAGES)
    own: dict[str, Latents] = Field({}, max_length=MOST_OWN)


class Path(Points):
    """A path through the points, `frames` images in all."""

    frames: int = Field(48, ge=2, le=CHUNK)
    closed: bool = False
    rate: int = Field(24, ge=1, le=50)
    form: Literal["raw", "png", "gif", "webp", "mp4"] = "raw"


class Upload(BaseModel):
    """What was done to an uploaded image, which its owner has as `file`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["apply", "project", "complete"]
    file: str = Field("", max_length=200)
    size: Size = "training"
    lines: Lines = "thin"
    seed: Seed = 0
    rows: int | None = None
    count: int = Field(4, ge=1, le=16)
    label: Label | None = None
    text: str = Field("", max_length=500)


def terms_of(point: Point) -> list[Term]:
    """Its terms as an expression has them; raises UserError for what is no seed and no name."""
    terms = list[Term]()
    for name, factor in point.terms.items():
        factor = round(factor, 4)  # as commands say it
        if SEED.fullmatch(name):
            terms.append(Term(factor, (int(name),)))
        elif OWN.fullmatch(name) or NAME.fullmatch(name):
            terms.append(Term(factor, (), name))
        else:
            raise UserError(f"{printable(name)[:80]!r}: expected a seed, such as 7, or the name of a vector")
    return terms


def keys_of(loaded: Loaded, points: Points) -> Keys:
    """The latents and conditions of all points; raises UserError for what the model does not have."""
    trained, own = loaded.trained, {name: decoded(loaded, text) for name, text in points.own.items()}
    latents = torch.cat([_latent_of(loaded, point, own) for point in points.points])
    embeddings, labels = None, None
    if "text" in loaded.model.can:
        embeddings = torch.cat([_embedding_of(loaded, point) for point in points.points])
    elif any(point.texts for point in points.points):
        raise UserError(f"{trained.run.config.system} takes no text: leave it out")
    if "labels" in trained.system.conditions:
        chosen = [0 if point.label is None else point.label for point in points.points]
        labels = trained.conditions(chosen).labels
    elif any(point.label is not None for point in points.points):
        raise UserError(f"{trained.run.config.system} takes no classes: leave them out")
    return Keys(latents, embeddings, labels)


def decode(loaded: Loaded, keys: Keys) -> Tensor:
    """Images of `keys`: each alone where a model draws more than its latents, so that it stays the same."""
    if loaded.model.decodes:
        return loaded.model.decode(keys)
    return torch.cat(
        [loaded.model.decode(keys.rows(torch.tensor([row]))) for row in range(len(keys.latents))]
    )


def _latent_of(loaded: Loaded, point: Point, own: Mapping[str, Tensor]) -> Tensor:
    trained, terms = loaded.trained, terms_of(point)
    names = [term.name for term in terms if term.name]
    if missing := next((name for name in names if OWN.fullmatch(name) and name not in own), None):
        raise UserError(f"{missing} names no image: project it again")
    vectors = {name: own[name] if name in own else loaded.vector(name) for name in names}
    latents, _ = evaluate_expression(trained, terms, truncation=point.truncation, vectors=vectors)
    size, first = latent_system(trained).continuous_size, next((n for n in names if n in own), None)
    if size is not None and first is not None:  # what is not continuous is that of the image
        latents[:, size:] = own[first][:, size:]
    for index, value in point.codes.items():
        latents = trained.set_code(latents, index, value)
    return latents


def _embedding_of(loaded: Loaded, point: Point) -> Tensor:
    if not point.texts:
        raise UserError(f"{loaded.trained.run.config.system} draws what a prompt says: type one")
    first, last = loaded.embed(point.texts[0]), loaded.embed(point.texts[-1])
    return torch.lerp(first, last, point.share)


def encoded(latent: Tensor) -> str:
    """A latent `[1, ...]` as `own` has it."""
    return base64.b64encode(latent.float().contiguous().numpy().astype("<f4").tobytes()).decode()


def decoded(loaded: Loaded, text: str) -> Tensor:
    """The latent `[1, ...]` that `encoded` made `text` of; raises UserError for any other text."""
    shape = loaded.trained.draw_latents(1).shape
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise UserError("the latents of an image are damaged: project it again") from error
    if values.size != shape.numel() or not np.isfinite(values).all():
        raise UserError(f"these are no latents of this model, which has {shape.numel()} numbers")
    return torch.from_numpy(values.astype(np.float32)).view(shape)
