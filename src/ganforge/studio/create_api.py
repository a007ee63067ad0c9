"""What the page calls to play with a model: images of latents, paths, prompts and how to make them again."""

import json
import tempfile
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Response
from torch import Tensor

from ganforge.errors import UserError
from ganforge.files.images import encode_image
from ganforge.generation.explore.keys import between
from ganforge.generation.explore.paths import SMALLEST_FRAME, places_of, write_path
from ganforge.generation.output import hash_latents, provenance, to_arrays
from ganforge.reporting import grids
from ganforge.server.guard import Refused
from ganforge.server.requests import Text
from ganforge.studio import create_recipes as recipes
from ganforge.studio.create_gallery import list_models, read_thumbnail
from ganforge.studio.create_models import Loaded, Models
from ganforge.studio.create_points import Path, Points, Upload, decode, keys_of
from ganforge.studio.create_uploads import add_uploads
from ganforge.studio.runs import Readings
from ganforge.studio.workshop import Workshop

MOST_RAW_BYTES = 64 * 2**20
TYPES = {"png": "image/png", "gif": "image/gif", "webp": "image/webp", "mp4": "video/mp4"}


def create_api(workshop: Workshop) -> APIRouter:
    """The endpoints below `/api/create`."""
    api, models = APIRouter(prefix="/create"), Models(workshop)
    _add_gallery(api, workshop, models)
    _add_latents(api, models)
    _add_results(api, models)
    add_uploads(api, models)
    return api


def _add_gallery(api: APIRouter, workshop: Workshop, models: Models) -> None:
    readings = Readings()

    @api.get("")
    def gallery() -> dict[str, Any]:
        """Every model to play with."""
        return {"folder": str(workshop.runs), "models": list_models(workshop.runs, readings)}

    @api.get("/{name}")
    def one(name: str) -> dict[str, Any]:
        """What the page of a model needs to know; it is loaded, at its newest checkpoint."""
        return models.get(name, newest=True).describe()

    @api.get("/{name}/thumbnail")
    def thumbnail(name: str) -> Response:
        """What the model makes."""
        try:
            content, kind = read_thumbnail(workshop.find(name)[1])
        except OSError as error:
            raise Refused(404, f"{name} has no samples yet") from error
        return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=60"})


def _add_latents(api: APIRouter, models: Models) -> None:
    @api.get("/{name}/directions")
    def directions(
        name: str, method: Annotated[Literal["sefa", "pca", "z"], Query()] = "sefa"
    ) -> dict[str, Any]:
        """Names of what sliders move, the strongest first, each with its share of the whole, if known."""
        loaded = models.get(name)
        if method == "z":
            return {"directions": [{"name": f"z-{n}"} for n in loaded.work(lambda: loaded.strongest)]}
        found = loaded.work(lambda: loaded.directions(method))
        return {"directions": [{"name": f"{method}-{n}", "share": d.share} for n, d in enumerate(found)]}

    @api.post("/{name}/images")
    def images(name: str, points: Points) -> Response:
        """Their images, raw: uint8, of a shape that the header says."""
        loaded = models.get(name)
        return _raw(loaded.work(lambda: decode(loaded, keys_of(loaded, points))))

    @api.post("/{name}/path")
    def path(name: str, path: Path) -> Response:
        """The images of a path, raw, or as a file with its provenance."""
        loaded = models.get(name)
        if len(path.points) < 2:
            raise UserError("a path needs two images or more: add another one")
        spec = loaded.trained.run.config.spec
        if path.frames * spec.height * spec.width * spec.channels > MOST_RAW_BYTES:
            raise UserError(f"{path.frames} frames of {spec.width}x{spec.height} are too many: use fewer")
        if path.form != "raw":
            return _file(loaded.work(lambda: _animation(loaded, path)), path.form, "path")
        return _raw(loaded.work(lambda: _frames(loaded, path)))

    @api.post("/{name}/prompts")
    def prompts(
        name: str, texts: Annotated[list[Text], Body(embed=True, min_length=1, max_length=8)]
    ) -> dict[str, Any]:
        """A line for each prompt: which training captions are closest; none where they cannot be read."""
        loaded = models.get(name)
        return {"lines": [loaded.known.describe(text) for text in texts] if loaded.captions else []}


def _add_results(api: APIRouter, models: Models) -> None:
    @api.post("/{name}/download")
    def download(
        name: str, points: Points, form: Literal["png", "webp"] = "png", large: bool = False
    ) -> Response:
        """The images in a grid, as a file that says how they were made; `large`: 256 pixels or more."""
        loaded = models.get(name)
        keys = loaded.work(lambda: keys_of(loaded, points))
        made = loaded.work(lambda: decode(loaded, keys))
        about = _about(loaded, points) | {"latents": hash_latents(keys.latents)}
        scale = max(1, -(-SMALLEST_FRAME // max(made.shape[2:]))) if large else 1
        image = grids.grid(made, gap=0 if len(made) == 1 else 2, scale=scale, transparent=True)
        background = loaded.trained.run.config.data.background
        return _file(encode_image(image, form.upper(), about, background=background), form, "image")

    @api.post("/{name}/recipe/images")
    def recipe_of_images(name: str, points: Points) -> dict[str, Any]:
        """How these images are made again."""
        loaded = models.get(name)
        return {
            "command": recipes.command_of_images(loaded, points.points),
            "python": recipes.python_of_images(loaded, points),
            "about": _about(loaded, points),
        }

    @api.post("/{name}/recipe/path")
    def recipe_of_path(name: str, path: Path) -> dict[str, Any]:
        """How this path is made again."""
        loaded = models.get(name)
        return {
            "command": recipes.command_of_path(loaded, path),
            "python": recipes.python_of_path(loaded, path),
            "about": _about(loaded, path),
        }

    @api.post("/{name}/recipe/upload")
    def recipe_of_upload(name: str, upload: Upload) -> dict[str, Any]:
        """How the same is done to a file."""
        loaded, command = models.get(name), recipes.command_of_upload
        return {
            "command": command(loaded, upload),
            "python": recipes.python_of_upload(loaded, upload),
            "about": provenance(loaded.trained, "ema", command(loaded, upload), upload.seed),
        }


def _about(loaded: Loaded, points: Points) -> dict[str, str]:
    """The provenance of points: the command where there is one, and the points themselves."""
    is_path = isinstance(points, Path)
    command = (
        recipes.command_of_path(loaded, points)
        if isinstance(points, Path)
        else recipes.command_of_images(loaded, points.points)
    )
    shown = [point.model_dump(mode="json", exclude_defaults=True) for point in points.points]
    about = provenance(loaded.trained, "ema", command) | {"points": json.dumps(shown)}
    return about | ({"frames": str(points.frames)} if is_path and isinstance(points, Path) else {})


def _frames(loaded: Loaded, path: Path) -> Tensor:
    keys = keys_of(loaded, path)
    at = between(loaded.trained, keys, places_of(len(keys.latents), path.frames, path.closed), path.closed)
    return decode(loaded, at)


def _animation(loaded: Loaded, path: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ganforge") as folder:
        out = File(folder) / f"path.{path.form}"
        keys = keys_of(loaded, path)
        options: dict[str, Any] = {"closed": path.closed, "rate": path.rate}
        write_path(loaded.trained, out, keys, path.frames, _about(loaded, path), **options)
        return out.read_bytes()


def _raw(images: Tensor) -> Response:
    pixels = to_arrays(images)
    shape = ",".join(map(str, pixels.shape))
    return Response(pixels.tobytes(), media_type="application/octet-stream", headers={"X-Shape": shape})


def _file(content: bytes, form: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    return Response(content, media_type=TYPES[form], headers=headers)
