"""Means of what a step reports, summed on the device and read only when a line is due; its pace."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Meter:
    """Running means of named 0-dim tensors, and the step from which one of them was not finite."""

    def __init__(self) -> None:
        # By the sorted names of what came together; of each, the sums and how long they have been finite.
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._good: dict[tuple[str, ...], Tensor] = {}
        self._steps: list[int] = []

    def add(self, values: dict[str, Tensor], step: int = 0) -> None:
        """Take in the values of `step`, without reading them."""
        names = tuple(sorted(values))
        self._steps.append(step)
        if not names:
            return
        added = torch.stack([values[name].detach() for name in names]).to(_wide(values[names[0]].device))
        self._sums[names] = sums = self._sums[names] + added if names in self._sums else added
        # A sum that is NaN or infinite once stays so: in float64 no sum of float32 numbers overflows.
        good = sums.isfinite()
        self._good[names] = self._good[names] + good if names in self._good else good.long()

    def read(self) -> dict[str, float]:
        """The means since the last reset. Sync: reads from the device."""
        return {name: total / len(self._steps) for name, total in self._totals().items()}

    def first_bad_steps(self) -> dict[str, int]:
        """Where a mean is not finite, the step of its first such value. Sync: reads from the device."""
        found: dict[str, int] = {}
        for names, counts in self._good.items():
            found |= {name: int(good) for name, good in zip(names, counts.cpu(), strict=True)}
        return {name: self._steps[good] for name, good in found.items() if good < len(self._steps)}

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._good, self._steps = {}, {}, []

    def state(self) -> dict[str, object]:
        """For a checkpoint between two lines, which is only taken where all sums are finite."""
        return {"count": len(self._steps), "sums": self._totals()}

    def load(self, state: dict[str, object], device: torch.device) -> None:
        """Restore what `state` gave."""
        self.reset()
        sums, count = state["sums"], state["count"]
        assert isinstance(sums, dict) and isinstance(count, int)  # noqa: PT018
        self._steps = [0] * count  # good ones: their numbers are never read
        if names := tuple(sorted(sums)):
            totals = [sums[name] for name in names]
            self._sums[names] = torch.tensor(totals, dtype=_wide(device), device=device)
            self._good[names] = torch.full((len(names),), count, device=device)

    def _totals(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for names, sums in self._sums.items():
            for name, total in zip(names, sums.cpu(), strict=True):
                found[name] = found.get(name, 0.0) + float(total)
        return found


def _wide(device: torch.device) -> torch.dtype:
    """The widest type of a `device`: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


class Clock:
    """Seconds of training proper: images and checkpoints do not count into images/s."""

    def __init__(self, images: int) -> None:
        self.begun = time.monotonic()
        self._mark, self._images = self.begun, images
        self._paused = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens here."""
        start = time.monotonic()
        yield
        self._paused += time.monotonic() - start

    def now(self) -> float:
        """Seconds of training proper since some moment before its first step."""
        return time.monotonic() - self._paused

    def lap(self, images: int) -> tuple[float, int]:
        """Seconds and images since the last lap."""
        now = self.now()
        result = now - self._mark, images - self._images
        self._mark, self._images = now, images
        return result
