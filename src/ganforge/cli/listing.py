"""`ganforge list`, which imports no torch."""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganforge.cli.names import read_names
from ganforge.errors import UserError
from ganforge.recipes.catalogue import Recipe, recipes
from ganforge.runs.folder import Run, find_runs
from ganforge.runs.pretrained import PRETRAINED, packaged_runs


@dataclass(frozen=True)
class Listing:
    """List the names that other verbs accept."""

    what: tyro.conf.Positional[Literal["systems", "data", "runs", "recipes"]]
    folder: Annotated[Path, tyro.conf.arg(help="The folder of the runs.")] = Path("runs")
    verbose: Annotated[bool, tyro.conf.arg(help="Uncut lines; commands, cost and scores of recipes.")] = False

    def __call__(self, command: str) -> int:
        """Print a line for each name; returns the exit code."""
        names = read_names()
        if self.what == "systems":
            systems = names.systems.items()
            header = ("system", "needs", "paper")
            self._print(
                header, [(name, ", ".join(each.needs) or "-", each.summary) for name, each in systems]
            )
        elif self.what == "data":
            self._print(("data", "what"), names.data.items(), cut=False)
        elif self.what == "runs":
            packaged = [Path(f"{PRETRAINED}{name}") for name in packaged_runs()]
            paths = [*find_runs(self.folder), *packaged]
            self._print(("run", "steps", "system", "data"), [_run_row(path) for path in paths])
        elif self.verbose:
            print("\n".join(map(_all_of, recipes())))
        else:
            rows = [(recipe.name, f"{recipe.minutes:g}", recipe.what) for recipe in recipes()]
            self._print(("recipe", "minutes", "what"), rows)
            print("commands, cost and scores: ganforge list recipes --verbose")
        return 0

    def _print(self, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], cut: bool = True) -> None:
        """Columns; `cut` lines end at the width of the terminal, unless --verbose."""
        rows = [header, *rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        limit = shutil.get_terminal_size().columns if cut and not self.verbose else sys.maxsize
        for row in rows:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            print(line if len(line) <= limit else f"{line[: limit - 3]}...")


def _run_row(path: Path) -> tuple[str, ...]:
    try:
        run = Run.open(path)
    except UserError as error:  # the other runs are still worth showing
        return str(path), "", "", f"cannot be read: {error}"
    steps = run.config.config["steps"]
    done = max((line["step"] for line in run.metrics() + run.metrics("end")), default=0)
    progress = f"{steps if run.packaged else done}/{steps}"
    return str(path), progress, run.config.system, run.config.data.data


def _all_of(recipe: Recipe) -> str:
    return (
        f"{recipe.name}: {recipe.what}\n"
        f"  {recipe.command}\n"
        f"  {recipe.score}\n"
        f"  {recipe.minutes:g} minutes, {recipe.images_per_second:,.0f} images/s, "
        f"{recipe.memory_mb:,.0f} MB, {recipe.machine}, {recipe.date}\n"
    )
