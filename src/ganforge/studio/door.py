"""What every request of the studio passes first: host, origin, token and size."""

import hmac
from collections.abc import Collection
from urllib.parse import parse_qs, quote, unquote, urlencode

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ganforge.server.guard import (
    CALLED_BY,
    CLIENT_LEFT,
    MOST_JSON_BYTES,
    MOST_UPLOAD_BYTES,
    Hosts,
    Refused,
    answer,
    read_body,
    replayed,
    urlsplit_host,
)

COOKIE = "ganforge_studio"
PARAMETER = "token"
SAFE = ("GET", "HEAD")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer: nothing from other hosts, no frame around it, no address of it in theirs."""


class Door:
    """The application behind it sees only requests of this machine's pages that know the token.

    `token`: what the cookie, the parameter `token` or `Authorization: Bearer` must say, None for none; the
    parameter sets the cookie and leaves the address. `hosts`: names that the header Host may have, besides
    localhost and the machine's. `port` is part of the cookie's name.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Collection[str], port: int) -> None:
        self._app, self._token, self._hosts = app, token, Hosts(hosts)
        self._cookie = f"{COOKIE}_{port}"  # cookies know no ports: two studios would sign each other out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        closing = _with_headers(send)
        try:
            if (place := self._check(scope, headers)) is not None:
                await _redirect(place, f"{self._cookie}={quote(self._token or '', safe='')}", closing)
                return
            if scope["method"] in SAFE:
                await self._app(scope, receive, closing)
                return
            uploads = not headers.get("content-type", b"").startswith(b"application/json")
            body = await read_body(headers, receive, MOST_UPLOAD_BYTES if uploads else MOST_JSON_BYTES)
            await self._app(scope, replayed(body, receive), closing)
        except Refused as refused:
            if refused.status != CLIENT_LEFT:
                await answer(refused, closing)
        except ConnectionError:  # the client left while its body was read
            pass

    def _check(self, scope: Scope, headers: dict[str, bytes]) -> str | None:
        """Where to go with a cookie, if the address has the token; raises Refused for who may not come in."""
        host = headers.get("host", b"").decode("latin-1")
        if not self._hosts.are_called(host):
            raise Refused(421, f"the studio is not called by that Host: use its {CALLED_BY}")
        origin = headers.get("origin", b"").decode("latin-1")
        if origin and urlsplit_host(origin) != host.lower():
            raise Refused(403, "a page of another site may not use the studio")
        if scope["method"] not in SAFE and headers.get("sec-fetch-site", b"same-origin") != b"same-origin":
            raise Refused(403, "a page of another site may not use the studio")
        if self._token is None:
            return None
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if (given := query.pop(PARAMETER, None)) and self._is_token(given[0]):
            rest = urlencode(query, doseq=True)
            place = "/" + quote(scope["path"].lstrip("/\\"))  # of this host: //name would be another
            return place + (f"?{rest}" if rest else "")
        bearer = headers.get("authorization", b"").removeprefix(b"Bearer ").decode("latin-1")
        cookies = cookie_parser(headers.get("cookie", b"").decode("latin-1"))
        if self._is_token(bearer) or self._is_token(unquote(cookies.get(self._cookie, ""))):
            return None
        raise Refused(
            401, "the token is missing or wrong: open the address that the studio printed, with its token"
        )

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("latin-1", "replace"), (self._token or "").encode())


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            added = [pair for pair in added if pair[0] not in names]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return sending


async def _redirect(place: str, cookie: str, send: Send) -> None:
    headers = [
        (b"location", place.encode("latin-1")),
        (b"set-cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Strict".encode()),
        (b"content-length", b"0"),
    ]
    start: Message = {"type": "http.response.start", "status": 303, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b""})
