"""How runs stand, read once for all of their viewers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_LOOKS = 1.0


class Followers:
    """Streams of how runs stand; `read` looks at one, at most once in `SECONDS_BETWEEN_LOOKS`."""

    def __init__(self, read: Callable[[Path], dict[str, Any]]) -> None:
        self._read = read
        self._locks: dict[Path, asyncio.Lock] = {}
        self._kept: dict[Path, tuple[float, str]] = {}

    async def follow(self, path: Path) -> AsyncIterator[str]:
        """Server-sent events: the run in `path`, again whenever that changes, else a comment; endless."""
        before = ""
        while True:
            text = await self._text(path)
            yield f"data: {text}\n\n" if text != before else ": still here\n\n"
            before = text
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def _text(self, path: Path) -> str:
        async with self._locks.setdefault(path, asyncio.Lock()):
            seconds, text = self._kept.get(path, (0.0, ""))
            if time.monotonic() - seconds >= 0.9 * SECONDS_BETWEEN_LOOKS or not text:
                text = json.dumps(await asyncio.to_thread(self._read, path))
                self._kept[path] = (time.monotonic(), text)
        return text
