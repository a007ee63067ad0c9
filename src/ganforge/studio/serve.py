"""Start the studio, and end it; trainings continue without it."""

import asyncio
import secrets
import signal
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from ganforge.errors import UserError
from ganforge.server.serve import BACKLOG, KEEP_ALIVE_SECONDS, MOST_CONNECTIONS, Server, bind, check_hosts
from ganforge.studio.app import create_app
from ganforge.studio.jobs import Jobs
from ganforge.studio.workshop import Workshop

SECONDS_TO_LEAVE = 1
"""What streams to viewers have, once the studio ends."""


def serve(
    runs: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    no_token: bool = False,
    allow_host: Sequence[str] = (),
    jobs: int = 2,
    device: str = "auto",
    open_page: bool = False,
) -> None:
    """Serve the studio until SIGTERM or SIGINT. `port` 0 takes a free one; without `token` one is drawn.

    Raises UserError for an address that is not free, and a folder that cannot be made.
    """
    check_hosts(allow_host)
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: expected 1 or more")
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--runs {runs}: {error.strerror}: name a folder") from error
    chosen = None if no_token else token or secrets.token_urlsafe(24)
    bound = bind(host, port)
    number = bound.getsockname()[1]
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host in ("0.0.0.0", "::") else host
    address = f"http://{shown}:{number}/" + ("" if chosen is None else f"?token={chosen}")
    print(f"{address} shows the runs in {runs}", flush=True)
    if chosen is None:
        print("without a token: whoever reaches this address may train and delete", flush=True)
    if open_page:
        webbrowser.open(address)
    workshop = Workshop(runs, device, Jobs(jobs))
    config = uvicorn.Config(
        create_app(workshop, chosen, (host, *allow_host), number),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SECONDS_TO_LEAVE,
        backlog=BACKLOG,
    )
    asyncio.run(_run(Server(config), bound))
    if working := [job.run for job in workshop.jobs.all() if job.exit_code is None]:
        print(f"still at work without the studio: {', '.join(working)}", flush=True)


async def _run(server: Server, bound: object) -> None:
    loop = asyncio.get_running_loop()

    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(setattr, server, "should_exit", True)

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    await server.serve(sockets=[bound])  # type: ignore[list-item]
