"""`ganforge watch`, which follows a run from another terminal and only reads; imports no torch."""

import re
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.live import Live

from ganforge.cli.terminal_images import print_image
from ganforge.errors import UserError
from ganforge.reporting.browser import show
from ganforge.reporting.log import number_of
from ganforge.runs.folder import Run
from ganforge.runs.state import State, state_of
from ganforge.training.progress import ProgressLine

_SECONDS = 1.0  # between two looks at the folder
_SECONDS_BETWEEN_LINES = 15.0  # where the output is no terminal
_LAST = 3  # earlier warnings that are repeated at first


@dataclass(frozen=True)
class Watch:
    """Follow a run from another terminal: step, time left, scores, diagnosis and samples; changes nothing."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    open: Annotated[bool, tyro.conf.arg(help="Open the report in the browser.")] = False
    images: Annotated[bool, tyro.conf.arg(help="Show sample grids in the terminal.")] = True

    def __call__(self, command: str) -> int:
        """Follow the run until it ends or Ctrl-C; returns the exit code."""
        run = Run.open(self.run)
        if run.packaged or run.shared or run.config.origin is not None:
            raise UserError(f"nothing trains in {self.run}: `ganforge info {self.run}` says what it is")
        if self.open:
            report = run.path / "report.html"
            if not report.exists():
                raise UserError(f"{run.path} has no report yet: it is written with the first samples")
            print(show(report))
        with suppress(KeyboardInterrupt):
            _follow(run, self.images)
        return 0


class _Follower:
    """What was shown of a run so far."""

    def __init__(self, run: Run, console: Console, images: bool) -> None:
        self._run, self._console, self._images = run, console, images and console.is_terminal
        self._num_lines = 0
        self._grid: Path | None = None

    def look(self, line: ProgressLine, lines: list[dict[str, Any]], state: State, live: Live) -> None:
        """Bring `line` up to date, and print what is new above it."""
        trained = [each for each in lines if each["kind"] == "train"]
        line.step, line.steps = state.step, state.steps
        if trained:
            newest = trained[-1]
            values = {
                key: number for key, value in newest.items() if (number := number_of(value)) is not None
            }
            line.seconds_left = (state.steps - state.step) * values.get("seconds_per_step", 0.0)
            line.measure(values.get("images_per_second", 0.0), values)
        if len(lines) < self._num_lines:  # resumed from an earlier checkpoint
            self._num_lines = len(lines)
        new = lines[self._num_lines :]
        news = [text for each in new if (text := _news(each))]
        for text in news if self._num_lines else news[-_LAST:]:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._num_lines = len(lines)
        self._show_grid(live)

    def _show_grid(self, live: Live) -> None:
        grids = [path for path in self._run.path.glob("samples/*.png") if re.fullmatch("[0-9]+", path.stem)]
        newest = max(grids, key=lambda path: int(path.stem), default=None)
        if newest is None or newest == self._grid:
            return
        self._grid = newest
        self._console.print(
            f"samples at step {int(newest.stem):,}: {newest}", highlight=False, soft_wrap=True
        )
        if self._images:
            live.stop()
            print_image(self._console, newest)
            live.start()


def _follow(run: Run, images: bool) -> None:
    console = Console()
    line = ProgressLine(0, int(run.config.config["steps"]))
    follower = _Follower(run, console, images)
    last_line = -_SECONDS_BETWEEN_LINES
    console.print(f"{run.config.system} on {run.config.data.data}, {run.path}", highlight=False)
    with Live(line, console=console, transient=True, auto_refresh=console.is_terminal) as live:
        while True:
            lines = run.lines()
            state = state_of(run, lines)
            follower.look(line, lines, state, live)
            if state.condition != "running":
                break
            if not console.is_terminal and time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                print(line.text(1_000, bar=False).plain, flush=True)
            time.sleep(_SECONDS)
    print(line.text(console.width, bar=False).plain)
    print(_ending(run, state))


def _news(line: dict[str, Any]) -> str:
    """What is worth a line of its own: scores and diagnosis."""
    step = f"step {line['step']:,}: "
    if line["kind"] == "evaluation":
        skipped = ("kind", "step", "protocol", "best_so_far")
        numbers = {name: number_of(value) for name, value in line.items() if name not in skipped}
        scores = [f"{name} {value:.4g}" for name, value in numbers.items() if value is not None]
        return step + ", ".join(scores) + (", the best so far" if line.get("best_so_far") else "")
    return step + str(line.get("text")) if line["kind"] in ("diagnosis", "failure") else ""


def _ending(run: Run, state: State) -> str:
    """How the run stands now that nobody trains it, and what to type."""
    place = shlex.quote(str(run.path))
    done = f"{run.path}: {state.condition} at step {state.step:,} of {state.steps:,}"
    if state.condition == "finished":
        return f"{done}: ganforge evaluate {place}"
    if state.condition == "diverged":
        return done
    return f"{done}: ganforge resume {place}"
