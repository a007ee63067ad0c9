"""Who may come in, and with what: hosts, origins, tokens, methods, sizes, and headers of every answer."""

import http.client
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from studios import TOKEN, Studio, studio

CALLS = ("/", "/api/runs", "/static/app.js", "/vendor/uplot/uPlot.min.css", "/openapi.json", "/nothing")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("runs"), "--allow-host", "gans.example.org") as each:
        yield each


def call(started: Studio, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    """A request with these headers alone, its path as it is."""
    place = urlsplit(started.address)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    all_headers = {"Host": place.netloc} | {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in all_headers.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


BEARER = f"Bearer {TOKEN}"


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_nothing_answers_without_the_token(started: Studio, method: str, path: str) -> None:
    assert call(started, method, path).status == 401
    for wrong in ("Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xe9"):
        assert call(started, method, path, Authorization=wrong).status == 401


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_headers_of_every_answer(started: Studio, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": BEARER}, {"Authorization": BEARER, "Origin": started.address}):
        answer = call(started, method, path, **headers)
        names = {name.lower() for name, _ in answer.getheaders()}
        assert not {name for name in names if name.startswith("access-control-")}
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe-eval" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert TOKEN.encode() not in answer.content  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PATCH", "BREW"])
def test_methods_that_nothing_has(started: Studio, method: str) -> None:
    assert call(started, method, "/api/runs", Authorization=BEARER).status == 405
    answer = call(
        started,
        method,
        "/api/runs",
        Authorization=BEARER,
        Access_Control_Request_Method="POST",
        Origin=started.address,
    )
    assert answer.status == 405


def test_head(started: Studio) -> None:
    answer = call(started, "HEAD", "/static/app.js", Authorization=BEARER)
    assert answer.status == 200
    assert answer.content == b""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "a b",
        "localhost@evil.example",
        "evil.example#localhost",
        "evil.example\\@localhost.evil.example",
    ],
)
def test_foreign_hosts(started: Studio, host: str) -> None:
    """As DNS rebinding makes them."""
    assert call(started, "GET", "/api/runs", Host=host, Authorization=BEARER).status in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "gans.example.org"])
def test_own_hosts(started: Studio, host: str) -> None:
    assert call(started, "GET", "/api/runs", Host=host, Authorization=BEARER).status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_foreign_origins(started: Studio, method: str) -> None:
    place = urlsplit(started.address)
    other = f"http://{place.hostname}:{(place.port or 0) + 1}"
    for origin in (
        "http://evil.example",
        "null",
        other,
        f"{started.address}.evil.example",
        "http://[::1",
        "x",
    ):
        answer = call(started, method, "/api/runs/a", Authorization=BEARER, Origin=origin)
        assert answer.status == 403, origin
    assert call(started, method, "/api/runs/a", Authorization=BEARER, Origin=started.address).status in (
        404,
        405,
    )


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "what"])
def test_changes_come_from_the_page(started: Studio, site: str) -> None:
    """A form of another port of this host is same-site, so it brings the cookie along."""
    for method, path in (("POST", "/api/runs/a/stop"), ("DELETE", "/api/runs/a")):
        assert call(started, method, path, Authorization=BEARER, Sec_Fetch_Site=site).status == 403


def test_the_token_leaves_the_address(started: Studio) -> None:
    answer = call(started, "GET", f"/?a=1&token={TOKEN}&b=x%20y")
    assert answer.status == 303
    assert answer.headers["location"] == "/?a=1&b=x+y"
    cookie = answer.headers["set-cookie"]
    port = urlsplit(started.address).port
    assert cookie == f"ganforge_studio_{port}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert call(started, "GET", "/api/runs", Cookie=f"ganforge_studio_{port}={TOKEN}").status == 200
    assert call(started, "GET", "/?token=wrong").status == 401
    assert call(started, "GET", f"/?token=wrong&token={TOKEN}").status == 401


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/%0d%0aSet-Cookie:%20a=b",
        "/%5cevil.example",
        "/%2fevil.example",
        "/%E4%BD%A0",
        "/%ff",
        "*",
    ],
)
def test_the_way_back_stays_here(started: Studio, path: str) -> None:
    answer = call(started, "GET", f"{path}?token={TOKEN}")
    assert answer.status in (303, 400)
    if answer.status == 303:
        place = answer.headers["location"]
        assert place.isascii()
        assert place.startswith("/")
        assert not place.startswith(("//", "/\\"))
        assert answer.headers["set-cookie"].startswith("ganforge_studio_")


def test_cookies(started: Studio) -> None:
    """Cookies know no ports: those of other programs of this machine are among them, in any form."""
    port = urlsplit(started.address).port
    own = f"ganforge_studio_{port}={TOKEN}"
    for cookie in (
        own,
        f"a=b; {own}",
        f'state={{"a": [1, 2]}}; {own}',
        f"x y; =; é=1; {own}; b",
        f"{own}; [bad",
    ):
        assert (
            call(started, "GET", "/api/runs", Cookie=cookie.encode("latin-1").decode("latin-1")).status == 200
        )
    for cookie in (
        f"ganforge_studio_{port}=other",
        f"ganforge_studio_1={TOKEN}",
        f"ganforge_studio={TOKEN}",
        "",
        ";",
    ):
        assert call(started, "GET", "/api/runs", Cookie=cookie).status == 401


@pytest.mark.parametrize("token", ["a;b", 'with "quotes", and spaces', "k\\=%41"])
def test_tokens_of_any_letters(tmp_path_factory: pytest.TempPathFactory, token: str) -> None:
    """What a cookie may not hold as it is."""
    with (
        studio(tmp_path_factory.mktemp("runs"), "--token", token) as each,
        httpx.Client(trust_env=False) as client,
    ):
        answer = client.get(f"{each.address}/", params={"token": token}, follow_redirects=True)
        assert answer.status_code == 200
        assert client.get(f"{each.address}/api/runs").status_code == 200


def test_two_studios(started: Studio, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One browser with both: neither signs the other out."""
    with (
        studio(tmp_path_factory.mktemp("runs"), "--token", "other") as second,
        httpx.Client(trust_env=False) as client,
    ):
        client.get(f"{started.address}/?token={TOKEN}")
        client.get(f"{second.address}/?token=other")
        assert len(client.cookies) == 2
        assert [client.get(f"{each.address}/api/runs").status_code for each in (started, second)] == [
            200,
            200,
        ]


def test_bodies_are_bounded(started: Studio) -> None:
    for kind, size in (("application/json", 70_000), ("image/png", 9 * 2**20)):
        answer = call(
            started,
            "POST",
            "/api/runs/a/start",
            Authorization=BEARER,
            Content_Type=kind,
            Content_Length=str(size),
        )
        assert answer.status == 413
    place = urlsplit(started.address)
    head = f"POST /api/runs/a/start HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: {BEARER}\r\n"
    with socket.create_connection((str(place.hostname), place.port or 0), 30) as chunks:
        chunks.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(20):
                chunks.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        except OSError:
            pass
        assert b" 413 " in chunks.recv(100)
    with socket.create_connection((str(place.hostname), place.port or 0), 30) as headers:
        headers.sendall(f"GET / HTTP/1.1\r\nHost: {place.netloc}\r\nX: ".encode() + b"x" * 200_000)
        assert headers.recv(100)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431")
    assert started.client.get("/api/runs").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "%2e%2e%2fapp.py",
        "....//app.py",
        "lib/../../door.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "%00",
        "lib",
        "",
        ".",
        "lib/%5c..%5c..%5cdoor.py",
        "app.js%00.css",
    ],
)
def test_static_files_alone(started: Studio, path: str) -> None:
    for folder in ("static", "vendor"):
        answer = call(started, "GET", f"/{folder}/{path}", Authorization=BEARER)
        assert answer.status in (400, 404, 405), answer.content[:200]  # type: ignore[attr-defined]


def test_documentation_from_elsewhere_is_off(started: Studio) -> None:
    assert [started.client.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]


def test_without_a_token(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hosts and origins are checked all the same."""
    with studio(tmp_path_factory.mktemp("runs"), "--no-token", token=None) as each:
        assert call(each, "GET", "/api/runs").status == 200
        assert call(each, "GET", "/api/runs", Host="evil.example").status == 421
        assert call(each, "POST", "/api/runs/a/stop", Origin="http://evil.example").status == 403
