"""What the page calls before a training: systems, data, checks, forms."""

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Body

from ganforge.data.sources.catalogue import available as available_data
from ganforge.runs.device import choose_device
from ganforge.runs.folder import find_runs
from ganforge.studio.forms import check_data, describe_start, open_start
from ganforge.studio.workshop import Workshop
from ganforge.systems.discovery import available, find

Options = Annotated[dict[str, Any], Body(max_length=40)]


def forms_api(workshop: Workshop) -> APIRouter:
    """The endpoints `/api/systems`, `/api/check` and `/api/form`."""
    api = APIRouter()
    one_at_a_time = threading.Lock()  # opening data takes a core, and memory

    @api.get("/systems")
    def systems() -> dict[str, Any]:
        """Systems and data sets by name."""
        return {
            "systems": [_system(name) for name in available()],
            "data": [{"name": name, "what": what} for name, what in available_data().items()],
        }

    @api.post("/check")
    def check(data: Options) -> dict[str, Any]:
        """What a data set contains, its problems, and some of its images."""
        with one_at_a_time:
            return check_data(data)

    @api.post("/form")
    def form(
        system: Annotated[str, Body(max_length=100)], data: Options, like: Annotated[str, Body()] = ""
    ) -> dict[str, Any]:
        """The fields of a training of `system` on `data`; values of the run `like`, if one is cloned."""
        run = workshop.open(like) if like else None
        options = data if run is None else run.config.data.model_dump(mode="json") | data
        name = system if run is None else run.config.system
        with one_at_a_time:
            start = open_start(name, options, workshop.device)
        device = "cuda" if choose_device(workshop.device).type == "cuda" else "cpu"
        taken = {path.name for path in find_runs(workshop.runs)}
        return describe_start(start, run, device, taken) | {"folder": str(workshop.runs)}

    return api


def _system(name: str) -> dict[str, Any]:
    kind = find(name)
    paper = (kind.__doc__ or "").strip().partition("\n")[0]
    return {"name": name, "for": kind.purpose, "needs": sorted(kind.needs), "paper": paper}
