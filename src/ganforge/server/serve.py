"""Start a server, and end it: what is in progress is answered, what comes is refused."""

import asyncio
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from ganforge.errors import UserError, printable
from ganforge.server.app import create_app
from ganforge.server.guard import State
from ganforge.server.models import load_models
from ganforge.server.telemetry import Telemetry, log, start_logging

MOST_CONNECTIONS = 1_000
KEEP_ALIVE_SECONDS = 5
BACKLOG = 1_024
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})", re.ASCII)
SECONDS_TO_TAKE = 10
"""What clients have to take their answers in, once all are made and the server ends."""


class Server(uvicorn.Server):
    """Signals are ours: uvicorn would close its socket at once, and end by the signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing."""
        yield


def serve(
    runs: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    queue: int = 64,
    max_batch: int = 64,
    device: str = "auto",
    no_token: bool = False,
    allow_host: Sequence[str] = (),
) -> None:
    """Serve runs until SIGTERM or SIGINT, which drain: what is in progress is answered, then it returns.

    Where a thread still works for nobody the process ends instead, with 0. `port` 0 takes a free one. Without
    `token` one is drawn and printed. Raises UserError for runs that cannot be served, for an address that is
    not free, and for a name that is none.
    """
    if queue < 1 or max_batch < 1:
        raise UserError(f"--queue {queue} --max-batch {max_batch}: expected 1 or more")
    check_hosts(allow_host)
    telemetry = Telemetry()
    models = load_models(runs, device, max_batch, telemetry.decoded)
    chosen = None if no_token else token or secrets.token_urlsafe(24)
    bound = bind(host, port)
    start_logging()
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{bound.getsockname()[1]} serves {', '.join(models)}", flush=True)
    if chosen is None:
        print("without a token: whoever reaches this address may use it", flush=True)
    elif not token:
        print(f"token: {chosen}", flush=True)
    state = State(queue, telemetry)
    asyncio.run(_run(uvicorn.Config(
        create_app(models, state, chosen, (host, *allow_host)),
        http="h11",  # which bounds the headers
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SECONDS_TO_TAKE,
    ), state, bound, list(models)))  # fmt: skip
    if any(model.worker.working for model in models.values()):
        # For nobody, after a second signal or for a client that left: torch would abort where Python ends.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def check_hosts(names: Sequence[str]) -> None:
    """Raise UserError for a name by which no client could call a server."""
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise UserError(
                f"--allow-host {printable(name)}: expected a name without scheme and port, such as "
                "gans.example.org"
            )


def bind(host: str, port: int) -> socket.socket:
    """A socket bound there; raises UserError where the address is not free."""
    if not host:  # which the system would take for every address of the machine
        raise UserError("--host is empty: expected an address, such as 127.0.0.1, or 0.0.0.0 for all")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port < 2**16:
        raise UserError(f"--port {port}: expected 0 to 65535: choose another port, or 0 for any")
    try:
        bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"--host {host} --port {port}: {reason}: choose another port, or 0 for any"
        ) from error
    # Connections inherit it; Nagle's algorithm would cost 40 ms an answer, and asyncio leaves it on here.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


async def _run(config: uvicorn.Config, state: State, bound: socket.socket, names: list[str]) -> None:
    server, stopped, loop = Server(config), asyncio.Event(), asyncio.get_running_loop()

    def stop(number: int) -> None:
        if stopped.is_set():  # a second signal does not wait
            server.force_exit = True
        log("signal", signal=signal.Signals(number).name)
        state.draining = True
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(stop, number) and None)
    log("started", models=names)
    running = asyncio.create_task(server.serve(sockets=[bound]))
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    while any(state.in_progress.values()) and not server.force_exit:
        await asyncio.sleep(0.05)
    server.should_exit = True
    await running
    log("stopped")
