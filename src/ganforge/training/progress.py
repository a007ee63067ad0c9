"""Progress of a training: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS_BETWEEN_LINES = 15.0


class Display:
    """A context that shows steps, images/s, time left and the latest losses; `quiet` shows nothing."""

    def __init__(self, title: str, step: int, steps: int, quiet: bool) -> None:
        console = Console(stderr=True)
        self._steps = steps
        self._quiet = quiet
        self._last_line = time.monotonic()
        self._text = ""
        self._bar: Progress | None = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(title, total=steps, completed=step, text="")

    def __enter__(self) -> "Display":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, step: int) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._task, completed=step)

    def measure(
        self, step: int, images_per_second: float, seconds_left: float, losses: dict[str, float]
    ) -> None:
        """Show a new line of metrics."""
        shown = " ".join(f"{name.removesuffix('_loss')} {value:.3f}" for name, value in losses.items())
        if self._bar:
            self._bar.update(self._task, completed=step, text=f"{images_per_second:,.0f} images/s {shown}")
        elif not self._quiet and (
            time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES or step == self._steps
        ):
            self._last_line = time.monotonic()
            left = f"{seconds_left / 60:.1f} min left"
            print(
                f"step {step}/{self._steps}  {images_per_second:,.0f} images/s  {left}  {shown}",
                file=sys.stderr,
            )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False)
        elif not self._quiet:
            print(text, file=sys.stderr)
