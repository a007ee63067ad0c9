"""Repeat recipes, and compare their scores with the paper's and the recorded ones."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from ganforge.errors import UserError, unknown_name
from ganforge.evaluation.evaluate import Score
from ganforge.files.atomic import replace_file
from ganforge.recipes.catalogue import Recipe, recipes
from ganforge.runs.device import describe_machine
from ganforge.runs.folder import Run


def choose(
    names: Sequence[str], everything: bool = False, minutes: float | None = None
) -> tuple[list[Recipe], dict[str, str]]:
    """The recipes to make, the shortest first, and of those left out the name and the reason.

    A recipe that starts from another's run comes after it. Raises UserError for unknown names, for no
    names, or names together with `everything`, or where nothing fits.
    """
    known = {recipe.name: recipe for recipe in recipes()}
    if bool(names) == everything:
        raise UserError(f"name recipes or give --all: there are {', '.join(known)}")
    for name in names:
        if name not in known:
            raise unknown_name("recipe", name, known, "(`ganforge list recipes`)")
    if minutes is not None and minutes <= 0:
        raise UserError(f"--minutes {minutes:g}: expected more than 0")
    requested = list(known.values()) if everything else [known[name] for name in dict.fromkeys(names)]
    chosen: list[Recipe] = []
    left: dict[str, str] = {}
    total = 0.0
    whole = {recipe.name: sum(entry.minutes for entry in _chain(recipe, known)) for recipe in requested}
    for recipe in sorted(requested, key=lambda recipe: (whole[recipe.name], recipe.name)):
        missing = [entry for entry in _chain(recipe, known) if entry not in chosen]
        needed = sum(entry.minutes for entry in missing)
        if minutes is not None and total + needed > minutes:
            left[recipe.name] = f"{needed:g} minutes, {max(0.0, minutes - total):.3g} are left"
        else:
            chosen += missing
            total += needed
    if not chosen:
        raise UserError(f"--minutes {minutes:g}: the shortest of these takes {min(whole.values()):g}")
    return chosen, left


def _chain(recipe: Recipe, known: dict[str, Recipe]) -> list[Recipe]:
    return [*(_chain(known[recipe.after], known) if recipe.after else ()), recipe]


def words_of(recipe: Recipe, folder: Path) -> list[str]:
    """The words after `ganforge train` of the recipe's command; the run it starts from is in `folder`."""
    words = shlex.split(recipe.command)[2:]
    if not recipe.after:
        return words
    return [str(folder / recipe.after) if word.startswith("runs/") else word for word in words]


def reproduction(recipe: Recipe, run: Run, scores: Sequence[Score]) -> dict[str, Any]:
    """The recipe's scores here next to the published and the recorded ones; stored in the run folder too."""
    seconds = sum(line["seconds"] for line in run.metrics("end"))
    found: dict[str, Any] = {
        "recipe": recipe.name,
        "command": recipe.command,
        "minutes": round(seconds / 60, 2),
        "machine": describe_machine(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "recorded_minutes": recipe.minutes,
        "recorded_machine": recipe.machine,
        "scores": [
            {
                "name": score.name,
                "published": recipe.published.get(score.name),
                "recorded": recipe.measured.get(score.name),
                "value": score.value,
                "plus_minus": score.plus_minus,
                "unit": score.unit,
            }
            for score in scores
        ],
    }
    replace_file(run.path / "reproduction.json", (json.dumps(found, indent=1) + "\n").encode())
    return found


def print_reproduction(found: dict[str, Any]) -> None:
    """The table: scores that are published or recorded first."""
    table = Table("score", "published", "recorded", "here", title=found["recipe"])
    ordered = sorted(
        found["scores"], key=lambda score: (score["published"] is None, score["recorded"] is None)
    )
    for score in ordered:
        spread = "" if score["plus_minus"] is None else f" ± {score['plus_minus']:.3g}"
        recorded = "-" if score["recorded"] is None else f"{score['recorded']:.4g}"
        here = f"{score['value']:.4g}{spread} {score['unit']}".strip()
        table.add_row(score["name"], score["published"] or "-", recorded, here)
    console = Console()
    console.print(table)
    console.print(
        f"{found['minutes']:g} minutes on {found['machine']}, {found['threads']} threads; recorded: "
        f"{found['recorded_minutes']:g} on {found['recorded_machine']}",
        highlight=False,
        markup=False,
    )
