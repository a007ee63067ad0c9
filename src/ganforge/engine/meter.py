"""Means of what a step reports, summed on the device and read only when a line is due; its pace."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Meter:
    """Running means of named 0-dim tensors."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Take in one step's values, without reading them."""
        for name, value in values.items():
            value = value.detach().to(torch.float64, copy=True)
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def read(self) -> dict[str, float]:
        """The means since the last reset. Sync: reads from the device."""
        return {name: float(total) / self._count for name, total in self._sums.items()}

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._count = {}, 0

    def state(self) -> dict[str, object]:
        """For a checkpoint between two lines."""
        return {"count": self._count, "sums": {name: float(total) for name, total in self._sums.items()}}

    def load(self, state: dict[str, object], device: torch.device) -> None:
        """Restore what `state` gave."""
        sums, count = state["sums"], state["count"]
        assert isinstance(sums, dict) and isinstance(count, int)  # noqa: PT018
        self._sums = {name: torch.tensor(t, dtype=torch.float64, device=device) for name, t in sums.items()}
        self._count = count


class Clock:
    """Seconds of training proper: pictures and checkpoints do not count into images/s."""

    def __init__(self, images: int) -> None:
        self.begun = time.monotonic()
        self._mark, self._images = self.begun, images

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens here."""
        start = time.monotonic()
        yield
        self._mark += time.monotonic() - start

    def lap(self, images: int) -> tuple[float, int]:
        """Seconds and images since the last lap."""
        now = time.monotonic()
        result = now - self._mark, images - self._images
        self._mark, self._images = now, images
        return result
