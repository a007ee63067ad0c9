"""What the page calls to play with a model: images of latents, paths, prompts, uploads."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from ganforge.generation.output import to_arrays
from ganforge.server.guard import Refused
from ganforge.studio.create_gallery import list_models, read_thumbnail
from ganforge.studio.create_models import Models
from ganforge.studio.create_points import Points, decode, keys_of
from ganforge.studio.runs import Readings
from ganforge.studio.workshop import Workshop


def create_api(workshop: Workshop) -> APIRouter:
    """The endpoints below `/api/create`."""
    api, models = APIRouter(prefix="/create"), Models(workshop)
    _add_gallery(api, workshop, models)
    _add_latents(api, models)
    return api


def _add_gallery(api: APIRouter, workshop: Workshop, models: Models) -> None:
    readings = Readings()

    @api.get("")
    def gallery() -> dict[str, Any]:
        """Every model to play with."""
        return {"models": list_models(workshop.runs, readings)}

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
        return {
            "directions": [{"name": f"{method}-{n}", "share": each.share} for n, each in enumerate(found)]
        }

    @api.post("/{name}/images")
    def images(name: str, points: Points) -> Response:
        """Their images, raw: uint8, of a shape that the header says."""
        loaded = models.get(name)
        made = loaded.work(lambda: decode(loaded, keys_of(loaded, points)))
        return _raw(made)


def _raw(images: Any) -> Response:
    pixels = to_arrays(images)
    shape = ",".join(map(str, pixels.shape))
    return Response(pixels.tobytes(), media_type="application/octet-stream", headers={"X-Shape": shape})
