"""The work of each endpoint: from a request and a model to the images of the answer."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.data.batch import Batch, as_images
from ganforge.data.decode import Target, Unreadable, decode, read_header
from ganforge.errors import UserError
from ganforge.generation.apply import apply_bytes
from ganforge.generation.explore import arithmetic as sums
from ganforge.generation.explore import paths, projection
from ganforge.generation.explore.directions import STEPS
from ganforge.generation.explore.keys import Keys, between, keys_of_seeds
from ganforge.generation.explore.vectors import NAME
from ganforge.generation.sample import DEFAULT_COUNT, Code, draw_samples, sample_arrays
from ganforge.generation.truncation import truncated
from ganforge.reporting import grids
from ganforge.runs.conditions import class_conditions
from ganforge.server import requests
from ganforge.server.batching import Decoding
from ganforge.server.models import Model
from ganforge.server.requests import MOST_IMAGES
from ganforge.server.results import Result
from ganforge.system import LatentSystem

MOST_PIXELS = 2**24
"""Of an upload that is resized to the size of the run."""
MOST_PIXELS_OWN = 2**20
"""Of an upload that is translated or enlarged at its own size."""

UPLOADS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Pillow's names: of those that are read, the ones whose header says how large their pixels will be."""

Start = Decoding[Result] | Result


def generate(model: Model, request: requests.Generate, seed: int) -> Start:
    """Samples, decoded with those of others where the system draws nothing but latents."""
    trained, labels = model.trained, None if request.labels is None else list(request.labels)
    if isinstance(trained.system, LatentSystem) and (model.decodes or request.codes or request.truncation):
        batch, columns = class_conditions(trained, labels, request.count, DEFAULT_COUNT)
        latents = truncated(trained, request.count, seed, truncation=request.truncation)
        for index, value in request.codes.items():
            latents = trained.set_code(latents, index, value)
        keys = Keys(latents, None, None if batch is None else batch.labels)
        return Decoding(keys, lambda images: _samples(model, images, columns, keys.labels))
    if request.codes or request.truncation:
        raise UserError(f"{trained.run.config.system} has no latents: leave codes and truncation out")
    drawing = draw_samples(trained, request.count, seed, "ema", labels, list[Code](), in_rows=False)
    return _samples(model, torch.cat(list(drawing.parts)), drawing.columns, drawing.labels)


def text(model: Model, request: requests.Text2Image, seed: int) -> Start:
    """A row of samples for each prompt, of the same latents."""
    texts, count = list(request.texts), request.count
    _check_number(len(texts) * count)
    latents = model.trained.draw_latents(count, seed)
    latents = latents.repeat(len(texts), *[1] * (latents.dim() - 1))
    keys = Keys(latents, model.embed(texts).repeat_interleave(count, dim=0))

    def finish(images: Tensor) -> Result:
        return _result(model, images, lambda: grids.captioned_grid(images, texts), texts=texts)

    return Decoding(keys, finish)


def interpolate(model: Model, request: requests.Interpolate, seed: int) -> Start:
    """A path through the samples of the seeds, or through the prompts."""
    trained, frames = model.trained, request.frames
    keys = _keys(model, request.seeds, request.labels, request.texts, request.truncation)
    if len(keys.latents) < 2:
        raise UserError("a path needs two seeds, or two prompts of one seed")
    at = between(trained, keys, paths.places_of(len(keys.latents), frames, request.closed), request.closed)

    def finish(images: Tensor) -> Result:
        columns = min(frames, paths.STRIP_COLUMNS)
        made = _result(model, images, lambda: grids.grid(images, columns), seeds=list(request.seeds))

        def animate() -> list[Image.Image]:
            drawn = [grids.grid(part, 1, gap=0) for part in images.split(1)]
            return drawn if request.closed else drawn + drawn[-2:0:-1]

        return replace(made, frames=animate, milliseconds=round(1000 / request.rate))

    return Decoding(at, finish)


def arithmetic(model: Model, request: requests.Arithmetic, seed: int) -> Start:
    """Nine images, the result in their centre; of a direction, a row of -2 to 2 times it for four samples."""
    trained, terms = model.trained, sums.parse_expression(request.expression)
    for term in terms:
        if term.name and not NAME.fullmatch(term.name):  # which would be a file
            raise UserError(f"{term.name[:80]!r} is no name of a vector: expected a letter, then letters")
    _check_number(sum(len(term.seeds) for term in terms))
    labels = None if request.label is None else [request.label]
    texts = None if request.text is None else [request.text]
    total, points = sums.evaluate_expression(trained, terms, truncation=request.truncation)
    if abs(points) < sums.CANCELLED:
        bases, steps = (
            _keys(model, range(sums.STRIPS), labels, texts, request.truncation),
            torch.tensor(STEPS),
        )
        keys = bases.rows(torch.arange(sums.STRIPS).repeat_interleave(len(STEPS)))
        shifts = steps.repeat(sums.STRIPS).view(-1, *[1] * (total.dim() - 1)) * total
        keys, columns = replace(keys, latents=keys.latents + shifts), len(STEPS)
    else:
        like = _keys(model, [0], labels, texts)
        keys, columns = sums.neighbours_of(trained, total, like, request.noise, seed), sums.SIDE
    return Decoding(keys, lambda images: _result(model, images, lambda: grids.grid(images, columns)))


def project(model: Model, request: requests.Project, seed: int, upload: bytes) -> Start:
    """The image in the run's size, and its reconstruction from the latents, which JSON and npz have too."""
    labels = None if request.label is None else [request.label]
    like = _keys(model, [0], labels, None if request.text is None else [request.text])
    image = read_upload(model, upload)
    found = projection.project(
        model.trained,
        image,
        like,
        steps=request.steps,
        restarts=request.restarts,
        features=None if request.pixels_only else model.features,
        seed=seed,
    )
    together = torch.cat([image, found.images])
    latents, error = found.keys.latents[0].tolist(), float(found.errors[0])
    return _result(model, together, lambda: grids.grid(together, 2), latents=latents, error=error)


def apply(model: Model, request: requests.Apply, seed: int, upload: bytes) -> Start:
    """The image translated or enlarged; what was done to it is said in JSON."""
    own = model.trained.run.config.spec.enlarges or request.size == "own"
    _check_pixels(upload, MOST_PIXELS_OWN if own else MOST_PIXELS)
    image, notes = apply_bytes(model.trained, upload, seed=seed, size=request.size, lines=request.lines)
    pixels = np.asarray(image)
    arrays = pixels.reshape(1, image.height, image.width, -1)
    background = model.trained.run.config.data.background
    return Result(
        lambda: arrays, lambda: image, lambda: [image], {"notes": list(notes)}, background=background
    )


def complete(model: Model, request: requests.Complete, seed: int, upload: bytes) -> Start:
    """The first rows of the image, and the others sampled `count` times, by the seeds from `seed` on."""
    spec, image = model.trained.run.config.spec, read_upload(model, upload)
    rows = spec.height // 2 if request.rows is None else request.rows
    if not 0 < rows < spec.height:
        raise UserError(f"rows {rows}: expected 1 to {spec.height - 1}, the images have {spec.height}")
    labels = None if request.label is None else model.trained.conditions([request.label]).labels
    part = (image, rows, Batch(image, labels))
    seeds = [(seed + way) % 2**64 for way in range(request.count)]
    made = [next(model.trained.call("complete", [part], seed=each)) for each in seeds]
    images = torch.cat(made)
    return _result(model, images, lambda: grids.grid(images, len(images)), seeds=seeds)


TASKS: dict[str, tuple[type[requests.Options], Callable[..., Start], bool]] = {
    "generate": (requests.Generate, generate, False),
    "text": (requests.Text2Image, text, False),
    "interpolate": (requests.Interpolate, interpolate, False),
    "arithmetic": (requests.Arithmetic, arithmetic, False),
    "project": (requests.Project, project, True),
    "apply": (requests.Apply, apply, True),
    "complete": (requests.Complete, complete, True),
}
"""Endpoint -> the options of its requests, what it does, and whether an image is uploaded."""


def _result(model: Model, images: Tensor, draw: Callable[[], Image.Image], **more: Any) -> Result:
    """Images as `ganforge sample` writes them: arrays of 16 bits where the data have 16."""

    def each() -> list[Image.Image]:
        return [grids.grid(image, 1, scale=1, transparent=True) for image in images.split(1)]

    background = model.trained.run.config.data.background
    return Result(lambda: sample_arrays(model.trained, images), draw, each, more, background=background)


def _samples(model: Model, images: Tensor, columns: int | None, labels: Tensor | None) -> Result:
    """As `ganforge sample` writes them: points as a scatter plot."""
    spec = model.trained.run.config.spec
    more = {} if labels is None else {"labels": labels.tolist()}

    def draw() -> Image.Image:
        return grids.draw(images, spec, columns=columns, transparent=True)

    if spec.values == "points":
        return Result(lambda: sample_arrays(model.trained, images), draw, lambda: [draw()], more)
    return _result(model, images, draw, **more)


def _keys(
    model: Model,
    seeds: Sequence[int],
    labels: Sequence[int | str] | None,
    texts: Sequence[str] | None,
    truncation: float | None = None,
) -> Keys:
    """As `keys_of_seeds`, with the encoder that is in memory."""
    if texts is None:
        if "text" in model.can:
            raise UserError(f"{model.trained.run.config.system} draws what a prompt says: add a text")
        return keys_of_seeds(model.trained, seeds, labels, truncation=truncation)
    embeddings = model.embed(texts)
    if labels is not None:
        raise UserError("text excludes labels: leave one of them out")
    own = [*seeds] * len(texts) if len(seeds) == 1 else [*seeds]
    latents = torch.cat([truncated(model.trained, 1, seed, truncation=truncation) for seed in own])
    return Keys(latents, embeddings[torch.arange(len(own)) % len(embeddings)])


def _check_number(count: int) -> None:
    if count > MOST_IMAGES:
        raise UserError(f"{count} images or seeds: expected at most {MOST_IMAGES}")


def _check_pixels(upload: bytes, most: int) -> None:
    """Raise UserError for what is no image, or one of more pixels than are decoded here."""
    try:
        with Image.open(io.BytesIO(upload), formats=UPLOADS) as image:
            width, height = image.size
    except Exception as error:  # a hostile file can raise nearly anything in Pillow
        raise Unreadable(f"expected {', '.join(UPLOADS[:-1])} or {UPLOADS[-1]}") from error
    if width * height > most:
        raise UserError(
            f"the image has {width}x{height} pixels: expected at most {most / 2**20:.0f} million, so make "
            "it smaller"
        )


def read_upload(model: Model, upload: bytes) -> Tensor:
    """The image in the run's shape, in [-1, 1], `[1, ...]`; raises Unreadable, UserError."""
    _check_pixels(upload, MOST_PIXELS)
    config = model.trained.run.config
    header = read_header(upload)
    bits_differ = header.bits != config.spec.bits
    options = config.data.model_copy(update={"range": "full"}) if bits_differ else config.data
    pixels = torch.from_numpy(np.array(decode(upload, Target(config.spec.shape), options)))[None]
    if config.spec.binary:
        pixels = torch.where(pixels > 127, 255, 0).to(torch.uint8)
    return as_images(pixels)
