"""`ganforge list`, which imports no torch."""

import json
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ganforge.cli.arguments import JSON
from ganforge.cli.names import read_names
from ganforge.errors import UserError, printable
from ganforge.recipes.catalogue import Recipe, recipes
from ganforge.reporting.units import folder_size
from ganforge.runs.folder import Run, find_runs
from ganforge.runs.pretrained import PRETRAINED, SAMPLES, packaged_runs
from ganforge.runs.state import best_score, state_of

PRETRAINED_COLUMNS = ("pretrained", "score", "size", "for", "samples")
RUN_COLUMNS = ("run", "state", "steps", "date", "best score", "size", "what")


@dataclass(frozen=True)
class Listing:
    """List the names that other verbs accept."""

    what: tyro.conf.Positional[Literal["systems", "data", "runs", "pretrained", "recipes"]]
    folder: Annotated[Path, tyro.conf.arg(help="The folder of the runs.")] = Path("runs")
    json: Annotated[bool, JSON] = False
    verbose: Annotated[bool, tyro.conf.arg(help="Uncut lines; commands, cost and scores of recipes.")] = False

    def __call__(self, command: str) -> int:
        """Print a line for each name; returns the exit code."""
        if self.json:
            print(json.dumps(self._objects(), indent=1))
        elif self.what == "systems":
            self._systems()
        elif self.what == "data":
            self._print(("data", "what"), read_names().data.items(), cut=False)
        elif self.what == "runs":
            self._runs()
        elif self.what == "pretrained":
            self._pretrained()
        elif self.verbose:
            print("\n".join(map(_all_of, recipes())))
        else:
            rows = [(recipe.name, f"{recipe.minutes:g}", recipe.what) for recipe in recipes()]
            self._print(("recipe", "minutes", "what"), rows)
            print("to repeat one: ganforge reproduce RECIPE; commands, cost and scores: --verbose")
        return 0

    def _objects(self) -> list[dict[str, Any]]:
        """What is listed, with all that is known of each."""
        if self.what == "systems":
            systems = read_names().systems.items()
            return [
                {"name": name, "for": each.purpose, "needs": list(each.needs), "paper": each.summary}
                for name, each in systems
            ]
        if self.what == "data":
            return [{"name": name, "what": what} for name, what in read_names().data.items()]
        if self.what == "runs":
            rows = [
                dict(zip(RUN_COLUMNS, _run_row(path), strict=True))
                for path in find_runs(self.folder, nested=True)
            ]
            return [{name.replace(" ", "_"): value for name, value in row.items()} for row in rows]
        if self.what == "pretrained":
            return [dict(zip(PRETRAINED_COLUMNS, row, strict=True)) for row in _pretrained_rows()]
        return [recipe.model_dump(mode="json") for recipe in recipes()]

    def _systems(self) -> None:
        """What each system is for and needs; papers, too long for 80 columns, with --verbose."""
        systems = read_names().systems.items()
        rows = [(name, each.purpose, _needs(each.needs)) for name, each in systems]
        if self.verbose:
            papers = [each.summary for _, each in systems]
            self._print(
                ("system", "for", "needs", "paper"),
                [(*row, paper) for row, paper in zip(rows, papers, strict=True)],
            )
            return
        self._print(("system", "for", "needs"), rows)
        print("start here: ganforge train FOLDER; papers: --verbose")

    def _runs(self) -> None:
        rows = [_run_row(path) for path in find_runs(self.folder, nested=True)]
        if rows:
            self._print(RUN_COLUMNS, rows)
        else:
            print(f"no runs in {self.folder}: ganforge train FOLDER makes one")
        print()
        self._pretrained()

    def _pretrained(self) -> None:
        shown = len(PRETRAINED_COLUMNS) if self.verbose else PRETRAINED_COLUMNS.index("samples")
        self._print(PRETRAINED_COLUMNS[:shown], [row[:shown] for row in _pretrained_rows()])
        if self.what == "pretrained":
            print("what it is, and can do: ganforge info pretrained:NAME; where its samples are: --verbose")

    def _print(self, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], cut: bool = True) -> None:
        """Columns; `cut` lines end at the width of the terminal, unless --verbose."""
        rows = [header, *rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        limit = shutil.get_terminal_size().columns if cut and not self.verbose else sys.maxsize
        limit = max(limit, widths[0])  # a name is what one types
        for row in rows:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            print(line if len(line) <= limit else f"{line[: max(limit - 3, widths[0])]}...")


def _needs(needs: list[str]) -> str:
    words = {"embeddings": "captions, encoder", "sources": "pairs"}
    return ", ".join(words.get(need, need) for need in needs) or "-"


def _run_row(path: Path) -> tuple[str, ...]:
    try:
        run = Run.open(path)
    except UserError as error:  # the other runs are still worth showing
        return str(path), "unreadable", *[""] * 4, f"cannot be read: {error}"
    state = state_of(run)
    newest = max(
        file.stat().st_mtime
        for file in (run.path / "config.json", run.path / "metrics.jsonl")
        if file.exists()
    )
    return (
        str(path),
        state.condition,
        "-" if state.condition == "imported" else f"{state.step}/{state.steps}",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(newest)),
        best_score(run),
        folder_size(run.path),
        f"{run.config.system} {_trained_on(run)}",
    )


def _pretrained_rows() -> list[tuple[str, ...]]:
    """The runs that come with the package, what for, and where an image of their samples is."""
    systems, rows = read_names().systems, list[tuple[str, ...]]()
    for name in packaged_runs():
        run = Run.open(Path(f"{PRETRAINED}{name}"))
        samples = run.path / SAMPLES
        rows.append(
            (
                f"{PRETRAINED}{name}",
                best_score(run),
                folder_size(run.path),
                systems[run.config.system].purpose,
                str(samples) if samples.is_file() else "",
            )
        )
    return rows


def _trained_on(run: Run) -> str:
    origin = run.config.origin
    return f"on {run.config.data.data}" if origin is None else f"imported from {printable(origin.file)}"


def _all_of(recipe: Recipe) -> str:
    return (
        f"{recipe.name}: {recipe.what}\n"
        f"  {recipe.command}\n"
        f"  {recipe.score}\n"
        f"  {recipe.minutes:g} minutes, {recipe.images_per_second:,.0f} images/s, "
        f"{recipe.memory_mb:,.0f} MB, {recipe.machine}, {recipe.date}\n"
    )
