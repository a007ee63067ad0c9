"""The real studio in a process of its own, and pages of it in a real browser."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import PROGRAM, environment

TOKEN = "secret"
SECONDS_TO_END = 30
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Studio:
    """A studio that runs: where, with a client that has its token."""

    process: subprocess.Popen[str]
    address: str
    runs: Path
    client: httpx.Client

    def link(self, place: str = "") -> str:
        """The address of a view, such as `#/runs`, for somebody who comes for the first time."""
        return f"{self.address}/?token={TOKEN}{place}"


@contextmanager
def studio(
    runs: Path, *arguments: object, cwd: Path | None = None, token: str | None = TOKEN
) -> Iterator[Studio]:
    """`ganforge studio --runs RUNS ARGUMENTS` on a free port; SIGTERM ends it, so that its lines count."""
    process = subprocess.Popen(
        [*PROGRAM, "studio", "--runs", str(runs), "--port", "0", *map(str, arguments)],
        env=environment(GANFORGE_TOKEN=token),
        cwd=cwd,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("http://"), line
            address = line.split()[0].partition("/?")[0].rstrip("/")
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with httpx.Client(
                base_url=address, headers=headers, timeout=60, trust_env=False, verify=False
            ) as client:
                yield Studio(process, address, runs, client)
        finally:
            process.terminate()
            try:
                process.wait(SECONDS_TO_END)
            finally:
                process.kill()


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright; skips the test where one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def page_of(chromium: Any, **options: Any) -> Iterator[Any]:
    """A page whose errors fail the test: exceptions, console errors, and requests to other hosts."""
    context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    page, wrong = context.new_page(), list[str]()
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1", "data:", "blob:"))
            else wrong.append(f"request to {request.url}")
        ),
    )
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong
