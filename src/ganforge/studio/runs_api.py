"""What the page calls about runs: list, follow, start, stop, resume, remove."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import StreamingResponse

from ganforge.errors import printable
from ganforge.runs.folder import is_held
from ganforge.server.guard import Refused
from ganforge.studio import runs
from ganforge.studio.follow import Followers
from ganforge.studio.jobs import Job
from ganforge.studio.workshop import Workshop

LOGS = ".studio"
"""In the folder of the runs: the output of commands."""


def runs_api(workshop: Workshop) -> APIRouter:
    """The endpoints below `/api/runs`."""
    api = APIRouter(prefix="/runs")
    _add_readings(api, workshop)
    _add_commands(api, workshop)
    _add_trash(api, workshop)
    return api


def _add_readings(api: APIRouter, workshop: Workshop) -> None:
    readings = runs.Readings()
    followers = Followers(lambda path: runs.row_of(path, readings))

    @api.get("")
    def list_runs() -> dict[str, Any]:
        """Every run of the folder, the newest first, and the commands at work."""
        rows = runs.list_runs(workshop.runs, readings)
        jobs = {
            job.run: {name: value for name, value in _about(job).items() if name != "output"}
            for job in workshop.jobs.all()
        }
        return {"folder": str(workshop.runs), "runs": rows, "jobs": jobs}

    @api.get("/{name}")
    def one(name: str) -> dict[str, Any]:
        """What the report of a run says, and how it stands."""
        run = workshop.open(name)
        job = workshop.jobs.of(name)
        place = str(run.path) if run.path.parent == workshop.runs else name
        about = None if job is None else _about(job)
        return runs.detail(run, readings) | runs.row_of(run.path, readings) | {"job": about, "path": place}

    @api.get("/{name}/samples/{step}.png")
    def grid(name: str, step: int) -> Response:
        """A sample grid."""
        try:
            content = runs.read_grid(workshop.open(name).path, step)
        except OSError as error:
            raise Refused(404, f"{name} has no samples of step {step}") from error
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @api.get("/{name}/events")
    def events(name: str) -> StreamingResponse:
        """How the run stands, again whenever that changes; ends with the viewer."""
        stream = followers.follow(workshop.open(name).path)
        return StreamingResponse(stream, media_type="text/event-stream")


def _about(job: Job) -> dict[str, Any]:
    working = job.exit_code is None
    return {"command": job.command, "working": working, "error": job.error(), "output": job.tail()}


def _add_commands(api: APIRouter, workshop: Workshop) -> None:
    def log_of(name: str) -> Path:
        return workshop.runs / LOGS / f"{name}.log"

    @api.post("/{name}/start")
    def start(name: str, words: Annotated[list[str], Body(embed=True, max_length=200)]) -> dict[str, str]:
        """Train: `words` follow `ganforge train`, without `--run`."""
        path = workshop.place_of(name)
        if (path / "config.json").exists():
            raise Refused(409, f"there is a run {name} already: choose another name, or resume it")
        if any(word == "--run" or word.startswith("--run=") for word in words):
            raise Refused(422, "--run: the studio chooses it by the name")
        job = workshop.jobs.start(name, ["train", *words, "--run", str(path)], log_of(name))
        return {"command": job.command}

    @api.post("/{name}/stop")
    def stop(name: str) -> dict[str, str]:
        """Save and stop, as Ctrl-C does."""
        workshop.jobs.stop(name, workshop.place_of(name))
        return {}

    @api.post("/{name}/resume")
    def resume(name: str, steps: Annotated[int | None, Body(embed=True, ge=1)] = None) -> dict[str, str]:
        """Resume it, up to its steps or `steps`."""
        run = workshop.open(name)
        more = [] if steps is None else ["--steps", str(steps)]
        job = workshop.jobs.start(name, ["resume", str(run.path), *more], log_of(name))
        return {"command": job.command}

    @api.post("/{name}/evaluate")
    def evaluate(name: str) -> dict[str, str]:
        """Score the run, as `ganforge evaluate` does."""
        job = workshop.jobs.start(name, ["evaluate", str(workshop.open(name).path)], log_of(name))
        return {"command": job.command}


def _add_trash(api: APIRouter, workshop: Workshop) -> None:
    @api.delete("/{name}")
    def remove(name: str) -> dict[str, str]:
        """Move the run to the trash folder."""
        path = workshop.open(name).path
        if path.parent != workshop.runs:
            raise Refused(403, f"{printable(name)} came with the package and stays")
        if is_held(path):
            raise Refused(409, f"{name} is being trained: stop it first")
        return {"moved": runs.move_to_trash(workshop.runs, path).name}

    @api.post("/{name}/restore")
    def restore(name: str, moved: Annotated[str, Body(embed=True)]) -> dict[str, str]:
        """Take the run back from the trash folder, where it is called `moved`."""
        path, place = workshop.place_of(name), workshop.runs / runs.TRASH / workshop.place_of(moved).name
        if path.exists():
            raise Refused(409, f"there is a run {name} already")
        if not (place / "config.json").is_file():
            raise Refused(404, f"no {moved} in the trash")
        place.rename(path)
        return {}
