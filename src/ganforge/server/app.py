"""The application: endpoints with their schema, in front of the models."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from ganforge.data.decode import Unreadable
from ganforge.errors import UserError, printable
from ganforge.generation.output import provenance
from ganforge.server.batching import Call
from ganforge.server.guard import CLIENT_LEFT, SECONDS_TO_RESTART, Guard, Refused, State
from ganforge.server.models import Model
from ganforge.server.requests import Options
from ganforge.server.results import TYPES, Result, choose_form, encode
from ganforge.server.tasks import TASKS
from ganforge.training.memory import is_shortage
from ganforge.version import __version__

NUM_ENCODERS = 2
"""Threads that encode answers, while models work."""


class ModelInfo(BaseModel):
    """A model and what it can do."""

    name: str
    system: str
    data: str
    step: int
    channels: int
    height: int
    width: int
    values: str
    classes: list[str]
    codes: bool
    can: list[str]


class ModelList(BaseModel):
    """The models of this server."""

    models: list[ModelInfo]


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str


class Status(BaseModel):
    """The state of the server."""

    status: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body cannot be read."},
    401: {"model": Problem, "description": "The token is missing or wrong."},
    403: {"model": Problem, "description": "A page of another site may not use this server."},
    404: {"model": Problem, "description": "No such model or endpoint."},
    406: {"model": Problem, "description": "No such format."},
    408: {"model": Problem, "description": "The body takes too long to arrive."},
    413: {"model": Problem, "description": "The body is too large."},
    421: {"model": Problem, "description": "Another host is meant."},
    422: {"model": Problem, "description": "What is wrong, what was expected, what to send."},
    429: {"model": Problem, "description": "Too many requests wait: see the header Retry-After."},
    503: {"model": Problem, "description": "The server is shutting down, or out of memory."},
}


def create_app(
    models: dict[str, Model], state: State, token: str | None, hosts: Collection[str] = ()
) -> Guard:
    """The ASGI application that serves `models`; those of equal abilities share their endpoints."""
    app = FastAPI(
        title="ganforge",
        version=__version__,
        description="Samples of trained models.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    app.state.encoders = ThreadPoolExecutor(NUM_ENCODERS, "encode")
    add_errors(app)

    @app.get("/health/live", responses={421: PROBLEMS[421]})
    async def live() -> Status:
        """Whether the process answers."""
        return Status(status="live")

    @app.get("/health/ready", responses={421: PROBLEMS[421], 503: PROBLEMS[503]})
    async def ready() -> Status:
        """Whether new requests are taken: not while the server drains."""
        if state.draining:
            raise Refused(503, "the server is shutting down", Retry_After=SECONDS_TO_RESTART)
        return Status(status="ready")

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}, 401: PROBLEMS[401]})
    async def metrics() -> Response:
        """Metrics in the text format of Prometheus."""
        return Response(state.telemetry.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models", responses={401: PROBLEMS[401]})
    async def list_models() -> ModelList:
        """The models and what each can do."""
        return ModelList(models=[ModelInfo(**model.describe()) for model in models.values()])

    for endpoint in TASKS:
        able = {name: model for name, model in models.items() if endpoint in model.can}
        if able:
            _add_task(app, endpoint, able)
    described = app.openapi()
    described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    described["security"] = [] if token is None else [{"token": []}]
    uploads = {endpoint for endpoint, (_, _, takes_image) in TASKS.items() if takes_image}
    return Guard(app, state, {name: model.can for name, model in models.items()}, uploads, token, hosts)


def _add_task(app: FastAPI, endpoint: str, models: dict[str, Model]) -> None:
    kind, _, uploads = TASKS[endpoint]
    path = f"/v1/models/{{name}}/{endpoint}"
    name_type = Annotated[str, Path(description="The model.", json_schema_extra={"enum": list(models)})]
    content: dict[str, Any]

    run = _runner(app, endpoint, models)

    if uploads:

        async def endpoint_of_uploads(request: Request, name: Any, options: Any) -> Response:
            upload = await request.body()
            if not upload:
                raise Refused(422, "no image: send its bytes as the body")
            return await run(request, name, options, upload)

        endpoint_of_uploads.__annotations__ |= {"name": name_type, "options": Annotated[kind, Query()]}
        function: Callable[..., Any] = endpoint_of_uploads
        content = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
    else:

        async def endpoint_of_json(request: Request) -> Response:
            options = kind.model_validate_json(await request.body())
            return await run(request, request.path_params["name"], options)

        # Before the route of FastAPI, which is the schema: its parameters take as long as all the rest.
        app.router.routes.insert(0, Route(path, endpoint_of_json, methods=["POST"]))

        async def described(name: Any) -> None: ...

        described.__annotations__ |= {"name": name_type}
        function = described
        content = {"application/json": {"schema": kind.model_json_schema()}}
    formats: dict[str, Any] = {each: {} for each in TYPES.values()}
    app.post(
        path,
        operation_id=endpoint,
        description=kind.__doc__,
        response_class=Response,
        responses=PROBLEMS
        | {200: {"content": formats, "description": "The images, in the format that is wanted."}},
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )(function)


def _runner(app: FastAPI, endpoint: str, models: dict[str, Model]) -> Callable[..., Awaitable[Response]]:
    """What answers a request for a model by its name: with its options, and what is uploaded."""
    _, work, uploads = TASKS[endpoint]

    async def run(request: Request, name: str, options: Options, *upload: bytes) -> Response:
        if name not in models:
            raise Refused(404, f"no model {printable(name)[:80]!r} has {endpoint}: {', '.join(models)}")
        model, form = models[name], options.format or choose_form(request.headers.get("accept", ""))
        if form is None:
            raise Refused(406, f"no such format: expected {', '.join(dict.fromkeys(TYPES.values()))}")
        seed = secrets.randbits(63) if options.seed is None else options.seed
        call = model.worker.submit(
            lambda: work(model, options, seed, *upload), decodes=not uploads and model.decodes
        )
        result = await _result_of(call, model, request)
        if result is None:
            return Response(status_code=CLIENT_LEFT)
        about = provenance(model.trained, "ema", "", seed)
        about |= {"run": name, "request": f"{endpoint} {options.model_dump_json(exclude_defaults=True)}"}
        about.pop("command")
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(app.state.encoders, encode, result, form, about)
        return Response(answer, media_type=TYPES[form], headers={"X-Ganforge-Seed": str(seed)})

    return run


async def _result_of(call: Call[Result], model: Model, request: Request) -> Result | None:
    """The result of a call, or None where the client leaves first, whose place is then free."""
    result = asyncio.wrap_future(call.future)
    watching = asyncio.ensure_future(_cancel_when_left(call, model, request))
    try:
        return await result
    except asyncio.CancelledError:
        if call.future.cancelled():
            return None
        raise
    except UserError as error:
        place = str(model.trained.run.path)  # which is not the client's business
        raise UserError(str(error).replace(place, model.name)) from error
    except Exception as error:
        if is_shortage(error):
            raise Refused(503, "out of memory: ask for fewer or smaller images", Retry_After="5") from error
        raise
    finally:
        watching.cancel()


async def _cancel_when_left(call: Call[Result], model: Model, request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    model.worker.cancel(call)


def add_errors(app: FastAPI) -> None:
    """Whatever is raised becomes a status and one message."""
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        UserError: _mistake,
        Unreadable: _unreadable,
        RequestValidationError: _invalid,
        ValidationError: _invalid,
        HTTPException: _http,
        Refused: _refused,
        Exception: _fault,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _mistake(_: Request, error: UserError) -> Response:
    return problem(422, str(error))


async def _unreadable(_: Request, error: Unreadable) -> Response:
    return problem(422, f"the image cannot be used: {error}")


async def _invalid(_: Request, error: RequestValidationError | ValidationError) -> Response:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, f"the body: {first['msg']}")
    start = 1 if isinstance(error, RequestValidationError) else 0  # that begins with "query"
    place = ".".join(str(part) for part in first["loc"][start:]) or "the body"
    return problem(422, f"{place}: {first['msg']}")


async def _http(_: Request, error: HTTPException) -> Response:
    return problem(error.status_code, str(error.detail), dict(error.headers or {}))


async def _refused(_: Request, error: Refused) -> Response:
    return problem(error.status, error.message, error.headers)


async def _fault(_: Request, error: Exception) -> Response:  # which uvicorn logs
    return problem(500, "a fault of the server, which its log describes")


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that is not 200: one message."""
    return JSONResponse({"error": printable(message)[:1_000]}, status, headers)
