"""What the page calls with an image: translate, enlarge, project, complete."""

import base64
import json
import queue
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from PIL import Image
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.errors import UserError
from ganforge.files.download import offline
from ganforge.files.images import encode_image
from ganforge.generation.explore import projection
from ganforge.generation.explore.figures import held_out_images
from ganforge.generation.output import provenance, to_arrays
from ganforge.reporting import grids
from ganforge.runs.data import open_data
from ganforge.server import requests, tasks
from ganforge.server.guard import Refused
from ganforge.server.results import Result, encode
from ganforge.studio.create_models import Loaded, Models
from ganforge.studio.create_points import Point, Points, encoded, keys_of


async def _upload(request: Request) -> bytes:
    """The body of a request; raises Refused where there is none."""
    if not (body := await request.body()):
        raise Refused(422, "no image: choose a file")
    return body


Upload = Annotated[bytes, Depends(_upload)]


def add_uploads(api: APIRouter, models: Models) -> None:
    """The endpoints that take an image."""

    @api.post("/{name}/apply")
    def apply(name: str, upload: Upload, options: Annotated[requests.Apply, Query()]) -> Response:
        """The image translated or enlarged, as a PNG; the header X-Notes says what was done to it."""
        loaded, seed = models.get(name), options.seed or 0
        _can(loaded, "apply", "translates or enlarges no images")
        result = loaded.work(lambda: tasks.apply(loaded.model, options, seed, upload))
        assert isinstance(result, Result)
        about = provenance(loaded.trained, "ema", "", seed)
        about["request"] = f"apply {options.model_dump_json(exclude_defaults=True)}"
        content = encode(result, "png", about)
        return Response(
            content, media_type="image/png", headers={"X-Notes": json.dumps(result.more["notes"])}
        )

    @api.post("/{name}/project")
    def project(name: str, upload: Upload, options: Annotated[requests.Project, Query()]) -> dict[str, Any]:
        """The latents behind the image, and the image as the model sees it."""
        loaded = models.get(name)
        _can(loaded, "project", "decodes no latents, so that there are none of an image")
        return loaded.work(lambda: _projected(loaded, upload, options))

    @api.post("/{name}/complete")
    def complete(name: str, upload: Upload, options: Annotated[requests.Complete, Query()]) -> Response:
        """The rows of the completions as they are made: raw bytes of row after row, of all images each."""
        loaded = models.get(name)
        _can(loaded, "complete", "completes no images: pixelcnn and pixelrnn do")
        part, shape = loaded.work(lambda: _half(loaded, upload, options))
        return StreamingResponse(
            _rows(loaded, part, options.seed or 0),
            media_type="application/octet-stream",
            headers={"X-Shape": ",".join(map(str, shape))},
        )

    @api.post("/{name}/complete/download")
    def download(name: str, upload: Upload, options: Annotated[requests.Complete, Query()]) -> Response:
        """The same completions as one PNG, which says how they were made."""
        loaded, seed = models.get(name), options.seed or 0
        _can(loaded, "complete", "completes no images: pixelcnn and pixelrnn do")

        def work() -> Tensor:
            part, _ = _half(loaded, upload, options)
            rows = next(loaded.trained.call("complete_rows", [part], seed=seed))
            return torch.stack(list(rows), 2).float().cpu()

        image = grids.grid(loaded.work(work), options.count, transparent=True)
        about = provenance(loaded.trained, "ema", "", seed)
        about["request"] = f"complete {options.model_dump_json(exclude_defaults=True)}"
        return Response(encode_image(image, "PNG", about), media_type="image/png")

    @api.get("/{name}/example")
    def example(name: str, seed: Annotated[int, Query(ge=0, lt=2**31)] = 0) -> Response:
        """A held-out image of the data of the run, where they are on this machine."""
        loaded = models.get(name)
        image = loaded.work(lambda: _example(loaded, seed))
        return Response(encode_image(image, "PNG", {}), media_type="image/png")


def _can(loaded: Loaded, what: str, else_: str) -> None:
    if what not in loaded.model.can:
        raise UserError(f"{loaded.trained.run.config.system} {else_}")


def _example(loaded: Loaded, seed: int) -> Image.Image:
    try:
        with offline():
            dataset = open_data(loaded.trained.run, strict=False)
    except UserError as error:
        raise Refused(
            404, f"the data of {loaded.model.name} are not on this machine: use an image of yours"
        ) from error
    return grids.grid(held_out_images(dataset, 1, seed).images, 1, scale=1, transparent=True)


def _projected(loaded: Loaded, upload: bytes, options: requests.Project) -> dict[str, Any]:
    model, image = loaded.model, tasks.read_upload(loaded.model, upload)
    texts = [] if options.text is None else [options.text]
    like = keys_of(loaded, Points(points=[Point(terms={"0": 1}, label=options.label, texts=texts)]))
    features = None if options.pixels_only else model.features
    found = projection.project(
        model.trained, image, like, steps=options.steps, restarts=options.restarts, features=features
    )
    seen = encode_image(grids.grid(image, 1, scale=1, transparent=True), "PNG", {})
    return {
        "latents": encoded(found.keys.latents),
        "error": float(found.errors[0]),
        "image": base64.b64encode(seen).decode(),
    }


def _half(
    loaded: Loaded, upload: bytes, options: requests.Complete
) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """What `complete_rows` takes, and the shape of the images."""
    spec, trained = loaded.trained.run.config.spec, loaded.trained
    rows = spec.height // 2 if options.rows is None else options.rows
    if not 0 < rows < spec.height:
        raise UserError(f"rows {rows}: expected 1 to {spec.height - 1}, the images have {spec.height}")
    images = tasks.read_upload(loaded.model, upload).expand(options.count, -1, -1, -1)
    labels = None
    if options.label is not None:
        labels = trained.conditions([options.label], options.count).labels
    return (images, rows, Batch(images, labels)), (options.count, spec.height, spec.width, spec.channels)


def _rows(loaded: Loaded, part: tuple[Any, ...], seed: int) -> Iterator[bytes]:
    """The bytes of each row, made in the thread of the model, which stops when nobody reads any more."""
    made, left = queue.SimpleQueue[bytes | BaseException | None](), threading.Event()

    def work() -> None:
        try:
            row: Tensor
            for row in next(loaded.trained.call("complete_rows", [part], seed=seed)):
                if left.is_set():
                    return
                made.put(to_arrays(row.float().cpu()[:, :, None]).tobytes())
        except BaseException as error:  # which the reader raises
            made.put(error)
        finally:
            made.put(None)

    loaded.submit(work)
    try:
        while (row := made.get()) is not None:
            if isinstance(row, BaseException):
                raise row
            yield row
    finally:
        left.set()
