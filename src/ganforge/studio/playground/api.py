"""What the playground's page calls."""

import asyncio
import atexit
import json
import secrets
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from fastapi.responses import StreamingResponse

from ganforge.data.sources.toys import TOYS
from ganforge.errors import printable
from ganforge.server.guard import Refused
from ganforge.studio.playground.losses import LIVE, LOSSES, Shared
from ganforge.studio.playground.points import preset, shown_points, window_of
from ganforge.studio.playground.save import save_run
from ganforge.studio.playground.session import Session
from ganforge.studio.playground.settings import Settings
from ganforge.studio.playground.stories import STORIES
from ganforge.studio.playground.views import pack_points
from ganforge.studio.workshop import Workshop

MOST_SESSIONS = 4
BEAT_SECONDS = 10.0
"""Between signs of life to a viewer of a session that stands still."""
NUM_THUMBNAIL = 250


class Sessions:
    """The open sessions by id: no more than `MOST_SESSIONS`; one that nobody watches makes room."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        atexit.register(self.close_all)

    def open(self, settings: Settings) -> tuple[str, Session]:
        """A new session; raises Refused where all are watched."""
        with self._lock:
            if len(self._sessions) >= MOST_SESSIONS:
                silent = max(self._sessions, key=lambda key: self._sessions[key].silent_seconds)
                if not self._sessions[silent].silent_seconds:
                    raise Refused(
                        429,
                        f"{MOST_SESSIONS} playgrounds are open: close one of their tabs",
                        Retry_After="30",
                    )
                self._sessions.pop(silent).close()
            key = secrets.token_urlsafe(9)
            session = Session(settings, on_end=lambda: self._forget(key))
            self._sessions[key] = session
        return key, session

    def get(self, key: str) -> Session:
        """The session `key`; raises Refused."""
        session = self._sessions.get(key)
        if session is None:
            raise Refused(
                404, "this playground was closed while nobody watched: reload the page to open it again"
            )
        return session

    def close(self, key: str) -> None:
        """End a session, if it is open."""
        with self._lock:
            session = self._sessions.pop(key, None)
        if session is not None:
            session.close()

    def close_all(self) -> None:
        """End every thread."""
        for key in list(self._sessions):
            session = self._sessions.get(key)
            self.close(key)
            if session is not None:
                session.join(2.0)

    def _forget(self, key: str) -> None:
        self._sessions.pop(key, None)


def playground_api(workshop: Workshop) -> APIRouter:
    """The endpoints below `/api/play`."""
    api = APIRouter(prefix="/play")
    sessions = Sessions()

    @api.get("")
    def offered() -> dict[str, Any]:
        """Data sets with thumbnails, losses with their fields, and stories."""
        return {
            "data": [
                {"name": name, "about": about.removeprefix("2-D points: "), "points": _thumbnail(name)}
                for name, about in TOYS.items()
            ],
            "losses": [
                {
                    "name": name,
                    "title": loss.title,
                    "about": loss.about,
                    "paper": loss.paper,
                    "arxiv": loss.arxiv,
                    "schema": loss.schema(),
                }
                for name, loss in LOSSES.items()
            ],
            "shared": Shared.model_json_schema()["properties"],
            "defaults": Settings().model_dump(mode="json"),
            "live": sorted(LIVE),
            "stories": [story.as_json() for story in STORIES],
        }

    @api.post("")
    def start(settings: Settings) -> dict[str, Any]:
        """Open a session at step 0."""
        key, session = sessions.open(settings)
        return {"id": key, **session.describe()}

    @api.get("/{key}/frames")
    async def frames(key: str) -> StreamingResponse:
        """Frames as they are made; they wait for the viewer."""
        return StreamingResponse(_stream(sessions.get(key)), media_type="text/event-stream")

    @api.post("/{key}/play")
    def play(
        key: str,
        until: Annotated[int | None, Body(embed=True, ge=0)] = None,
        speed: Annotated[Literal["slow", "single", "full"] | None, Body(embed=True)] = None,
    ) -> dict[str, Any]:
        """Train, up to a step where one is given."""
        sessions.get(key).play(until, speed)
        return {}

    @api.post("/{key}/pause")
    def pause(key: str) -> dict[str, Any]:
        """Stop after the step at work; returns the state, from which a link is made."""
        session = sessions.get(key)
        session.pause()
        return session.state()

    @api.post("/{key}/step")
    def step(
        key: str,
        only: Annotated[Literal["generator", "discriminator"] | None, Body(embed=True)] = None,
        count: Annotated[int, Body(embed=True, ge=1, le=100)] = 1,
    ) -> dict[str, Any]:
        """Some steps, of both networks or of one."""
        session = sessions.get(key)
        session.pause()
        session.advance(only, count)
        return session.state()

    @api.post("/{key}/fields")
    def fields(
        key: str, panel: Annotated[int, Body(embed=True)], fields: Annotated[dict[str, Any], Body(embed=True)]
    ) -> dict[str, Any]:
        """Change rates while it trains."""
        sessions.get(key).set_fields(panel, fields)
        return {}

    @api.get("/{key}/state")
    def state(key: str) -> dict[str, Any]:
        """Settings, step and a hash of the weights."""
        return sessions.get(key).state()

    @api.post("/{key}/save")
    def save(
        key: str,
        name: Annotated[str, Body(embed=True, max_length=100)],
        panel: Annotated[int, Body(embed=True)] = 0,
        link: Annotated[str, Body(embed=True, max_length=20_000)] = "",
    ) -> dict[str, str]:
        """Write a panel to a run folder."""
        run = save_run(sessions.get(key), panel, workshop.place_of(name), printable(link))
        return {"name": name, "path": str(run.path)}

    @api.delete("/{key}")
    def close(key: str) -> dict[str, Any]:
        """End a session."""
        sessions.close(key)
        return {}

    return api


async def _stream(session: Session) -> AsyncIterator[str]:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the studio ends
            loop.call_soon_threadsafe(ready.set)

    session.attach(wake)
    try:
        yield f"event: history\ndata: {json.dumps(session.history())}\n\n"
        while session.is_attached(wake):
            text = session.take(wake)
            if text is not None:
                yield f"data: {text}\n\n"
                continue
            try:
                await asyncio.wait_for(ready.wait(), BEAT_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
            ready.clear()
        yield "event: closed\ndata: {}\n\n"
    finally:
        session.detach(wake)


def _thumbnail(name: str) -> str:
    dataset = preset(name)
    return pack_points(shown_points(dataset, NUM_THUMBNAIL), window_of(shown_points(dataset)))
