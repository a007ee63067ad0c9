"""The real server in a process of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from command import PROGRAM, environment

TOKEN = "secret"


@dataclass(frozen=True)
class Serving:
    """A server that runs, where, the token that it wants, and a client that threads may share."""

    process: subprocess.Popen[str]
    address: str
    token: str
    client: httpx.Client

    def metric(self, name: str) -> float:
        """A value of its metrics; 0 where it has none."""
        lines = self.client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


@contextmanager
def serving(*arguments: object, log: Path, token: str | None = TOKEN) -> Iterator[Serving]:
    """`ganforge serve ARGUMENTS` on a free port, its log in `log`; it is killed at the end.

    Without a `token` the server draws one, and prints it.
    """
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*PROGRAM, "serve", *map(str, arguments), "--port", "0"],
            env=environment(GANFORGE_TOKEN=token),
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )
        with process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line.startswith("http://"), line
                address = line.split()[0]
                chosen = process.stdout.readline().removeprefix("token: ").strip() if token is None else token
                headers = {"Authorization": f"Bearer {chosen}"}
                with httpx.Client(
                    base_url=address, headers=headers, timeout=60, trust_env=False, verify=False
                ) as client:
                    yield Serving(process, address, chosen, client)
            finally:
                process.kill()
