"""What every request passes first: host, token, state, queue and size, before any of its body is used."""

import asyncio
import hmac
import ipaddress
import json
import math
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ganforge.server.telemetry import Telemetry, log

MOST_JSON_BYTES, MOST_UPLOAD_BYTES = 64 * 2**10, 8 * 2**20
BODY_SECONDS = 30.0
"""A body that takes longer is given up: it holds a place in the queue."""
MOST_SECONDS_TO_RETRY = 60
FIRST_SECONDS = 0.1
"""What a request is taken to need before any was measured."""
SECONDS_TO_RESTART = "5"
"""The header Retry-After of a server that drains."""
OPEN = ("/health/live", "/health/ready")
"""Without a token, for probes that have none."""
CALLED_BY = "address, localhost, or a name of its option --allow-host"
CLIENT_LEFT = 499
"""The status that logs have for a client that left; nobody receives it."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the program
    """An answer that is not 200: its status, one message, and headers."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class State:
    """What the server is doing: whether it drains; by model, requests in progress and mean seconds of one."""

    queue: int
    telemetry: Telemetry
    draining: bool = False
    in_progress: dict[str, int] = field(default_factory=dict)
    mean_seconds: dict[str, float] = field(default_factory=dict)

    def enter(self, model: str) -> None:
        """Take a place in the queue of a model; raises Refused where there is none, or it drains."""
        if self.draining:
            raise Refused(
                503, "the server is shutting down: try another, or later", Retry_After=SECONDS_TO_RESTART
            )
        number = self.in_progress.get(model, 0)
        if number >= self.queue:
            seconds = number * self.mean_seconds.get(model, FIRST_SECONDS)
            wait = min(MOST_SECONDS_TO_RETRY, max(1, math.ceil(seconds)))
            raise Refused(429, f"{model} has {number} requests waiting: try later", Retry_After=str(wait))
        self._set(model, number + 1)

    def leave(self, model: str, seconds: float) -> None:
        """Give the place back; `seconds`: how long it was held."""
        share = seconds / max(1, self.in_progress[model])  # of what was in progress at a time
        mean = self.mean_seconds.get(model, FIRST_SECONDS)
        self.mean_seconds[model] = mean + 0.05 * (share - mean)
        self._set(model, self.in_progress[model] - 1)

    def _set(self, model: str, number: int) -> None:
        self.in_progress[model] = number
        self.telemetry.in_progress.labels(model).set(number)


class Hosts:
    """The names of this machine that a Host header may have: addresses, localhost, its own, and `more`."""

    def __init__(self, more: Collection[str] = ()) -> None:
        self._names = {name.lower() for name in ("localhost", socket.gethostname(), *more)}

    def are_called(self, host: str) -> bool:
        """Whether a Host header is one of this machine: no name of a foreign site (DNS rebinding)."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            ipaddress.ip_address(name)  # an address is no name that could be bound to another address
            return True
        except ValueError:
            return False


class Guard:
    """The application behind it sees only requests that may be answered, with bodies of bounded size.

    `token`: what `Authorization: Bearer` must say, None for none. `hosts`: names that the header Host may
    have, besides localhost and the machine's. `models`: model -> its endpoints; `uploads`: those whose body
    is an image.
    """

    def __init__(
        self,
        app: ASGIApp,
        state: State,
        models: Mapping[str, Collection[str]],
        uploads: Collection[str],
        token: str | None,
        hosts: Collection[str],
    ) -> None:
        self._uploads = uploads
        self._app, self._state, self._models, self._token = app, state, models, token
        self._hosts = Hosts(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began, status = time.monotonic(), CLIENT_LEFT
        model, endpoint = self._place(scope)

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        entered = False
        try:
            headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
            self._check(scope, headers)
            if model and scope["method"] == "POST":
                self._state.enter(model)
                entered = True
            body = await read_body(
                headers, receive, MOST_UPLOAD_BYTES if endpoint in self._uploads else MOST_JSON_BYTES
            )
            await self._app(scope, replayed(body, receive), send_noting)
        except Refused as refused:
            await answer(refused, send_noting)
        except ConnectionError:  # the client left while its body was read
            pass
        finally:
            seconds = time.monotonic() - began
            if entered:
                self._state.leave(model, seconds)
            self._state.telemetry.answered(endpoint, status, seconds)
            if endpoint not in OPEN:
                client = scope["client"][0] if scope.get("client") else ""
                fields: dict[str, Any] = {
                    "model": model,
                    "status": status,
                    "seconds": round(seconds, 4),
                    "client": client,
                }
                log("request", method=scope["method"], endpoint=endpoint, **fields)

    def _place(self, scope: Scope) -> tuple[str, str]:
        """The model and the endpoint, from a set that clients cannot enlarge."""
        parts = scope["path"].split("/")
        is_task = len(parts) == 5 and parts[:3] == ["", "v1", "models"]
        if is_task and parts[4] in self._models.get(parts[3], ()):
            return parts[3], parts[4]
        known = (*OPEN, "/metrics", "/openapi.json", "/v1/models")
        return "", scope["path"] if scope["path"] in known else "other"

    def _check(self, scope: Scope, headers: dict[str, bytes]) -> None:
        """Raise Refused for another host, a foreign page, or a token that is missing or wrong."""
        host = headers.get("host", b"").decode("latin-1")
        if not self._hosts.are_called(host):
            raise Refused(421, f"this server is not called by that Host: use its {CALLED_BY}")
        if scope["path"] in OPEN:
            return
        if self._token is None:
            # A page of another site can send requests, though not read the answers; with a token it cannot.
            origin = headers.get("origin", b"").decode("latin-1")
            if origin and urlsplit_host(origin) != host.lower():
                raise Refused(403, "a page of another site may not use this server")
            return
        given = headers.get("authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(given, self._token.encode()):
            raise Refused(
                401,
                "the token is missing or wrong: send the header Authorization: Bearer TOKEN, with the token "
                "that the server printed",
                WWW_Authenticate="Bearer",
            )


def urlsplit_host(origin: str) -> str:
    """The host and port of an Origin header, in lower case; empty where it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def read_body(headers: dict[str, bytes], receive: Receive, most: int) -> bytes:
    """The body; raises Refused for one that is too large or slow, ConnectionError without its end."""
    too_large = Refused(413, f"the body is too large: expected at most {most:,} bytes", Connection="close")
    length = headers.get("content-length", b"0")
    if length.isdigit() and int(length[:20]) > most:
        raise too_large
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise too_large
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Refused(408, f"the body took more than {BODY_SECONDS:g} seconds", Connection="close") from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body once, and then what happens to the connection."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def answer(refused: Refused, send: Send) -> None:
    """Send what a refusal says."""
    content = json.dumps({"error": refused.message}).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in refused.headers.items()),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": refused.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": content})
