"""Progress of a training: one line that fits the terminal, or a line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from ganforge.reporting.log import PROBABILITIES
from ganforge.reporting.units import duration

SMALLEST_BAR, LARGEST_BAR = 5, 40  # columns
_SECONDS_BETWEEN_LINES = 15.0


class ProgressLine:
    """Step, time left, D(real) and D(fake), images/s and losses: as many, in this order, as fit in one line.

    A bar takes the columns that are left, at the front. `seconds_left` is None as long as nothing is timed.
    """

    def __init__(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps
        self.seconds_left: float | None = None
        self._measured: list[str] = []

    def measure(self, images_per_second: float, values: Mapping[str, float]) -> None:
        """Show these values of a line of the log from now on."""
        self._measured = _measured(images_per_second, values)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The line for `options.max_width` columns."""
        yield self.text(options.max_width)

    def text(self, width: int, bar: bool = True) -> Text:
        """The line for `width` columns."""
        parts = [f"{self.step:,}/{self.steps:,}", _left(self.seconds_left)]
        for part in self._measured:
            if len("  ".join([*parts, part])) > width:
                break
            parts.append(part)
        text = "  ".join(parts)
        columns = min(LARGEST_BAR, width - len(text) - 2)
        if columns < SMALLEST_BAR or not bar:
            return Text(text, no_wrap=True, overflow="crop")
        done = min(columns, round(columns * self.step / max(self.steps, 1)))
        drawn = [("━" * done, "green"), ("━" * (columns - done), "bright_black"), ("  ", ""), (text, "")]
        return Text.assemble(*drawn, no_wrap=True, overflow="crop")


def _measured(images_per_second: float, values: Mapping[str, float]) -> list[str]:
    """What to show of a line of the log, the most important first."""
    probabilities = [f"{name} {values[key]:.2f}" for key, name in PROBABILITIES.items() if key in values]
    losses = [f"{key.removesuffix('_loss')} {values[key]:.3f}" for key in values if key.endswith("_loss")]
    return [*probabilities, f"{images_per_second:,.0f} images/s", *losses]


def _left(seconds: float | None) -> str:
    return "timing the first steps" if seconds is None else f"{duration(seconds)} left"


class Display:
    """A context that shows a `ProgressLine` and messages above it; `quiet` shows nothing."""

    def __init__(self, step: int, steps: int, quiet: bool) -> None:
        console = Console(stderr=True)
        self._line = ProgressLine(step, steps)
        self.quiet = quiet
        self._last_line = time.monotonic()
        self._pace: float | None = None  # seconds per step
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(self._line, console=console)

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def advance(self, step: int) -> None:
        """Show this step."""
        self._line.step = step
        if self._pace is not None:
            self._line.seconds_left = self._pace * (self._line.steps - step)

    def time(self, seconds_per_step: float) -> None:
        """Show the time left at this pace from now on."""
        self._pace = seconds_per_step
        self.advance(self._line.step)

    def measure(self, step: int, images_per_second: float, values: Mapping[str, float]) -> None:
        """Show the values of a line of the log."""
        self.advance(step)
        self._line.measure(images_per_second, values)
        if self._live or self.quiet:
            return
        if time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES or step == self._line.steps:
            self._last_line = time.monotonic()
            counted, left = f"step {step:,}/{self._line.steps:,}", _left(self._line.seconds_left)
            print("  ".join([counted, left, *_measured(images_per_second, values)]), file=sys.stderr)

    def say(self, text: str) -> None:
        """Print a line above the progress."""
        if self._live:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self.quiet:
            print(text, file=sys.stderr)
