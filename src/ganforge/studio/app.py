"""The application: the page with its modules, and what they call."""

from collections.abc import Collection
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

import ganforge.reporting
from ganforge.server.app import add_errors
from ganforge.studio.compare_api import compare_api
from ganforge.studio.create_api import create_api
from ganforge.studio.door import Door
from ganforge.studio.forms_api import forms_api
from ganforge.studio.learn import learn_api
from ganforge.studio.playground.api import playground_api
from ganforge.studio.runs_api import runs_api
from ganforge.studio.workshop import Workshop
from ganforge.version import __version__

STATIC = Path(__file__).with_name("static")
VENDOR = Path(ganforge.reporting.__file__).with_name("vendor")


def create_app(workshop: Workshop, token: str | None, hosts: Collection[str], port: int) -> Door:
    """The ASGI application of a studio, behind its door."""
    app = FastAPI(
        title="ganforge studio", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    add_errors(app)
    for api in (runs_api, forms_api, compare_api, create_api, learn_api, playground_api):
        app.include_router(api(workshop), prefix="/api")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.mount("/vendor", StaticFiles(directory=VENDOR), name="vendor")
    return Door(app, token, hosts, port)
