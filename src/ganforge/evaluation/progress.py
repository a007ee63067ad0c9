"""What a long score says meanwhile: how much is done, and the time that is left."""

import time
from collections.abc import Callable

from ganforge.reporting.units import duration

Say = Callable[[str], None]
FIRST_SECONDS = 2.0
"""Before, a pace is not known."""


class Progress:
    """Says of `total` things, `what` in words, how many are done and the time left, by the pace so far."""

    def __init__(self, say: Say, what: str, total: int) -> None:
        self._say, self._what, self._total = say, what, total
        self._begun = time.monotonic()
        say(f"{what}: {total:,}")

    def at(self, done: int) -> None:
        """Say that `done` of them are done."""
        seconds = time.monotonic() - self._begun
        text = f"{self._what}: {done:,} of {self._total:,}"
        if seconds > FIRST_SECONDS and 0 < done < self._total:
            text += f", about {duration(seconds / done * (self._total - done))} left"
        self._say(text)
