"""`ganforge reproduce`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.demo import DEMO
from ganforge.cli.evaluate import evaluate_with_status
from ganforge.cli.train import train_run
from ganforge.recipes.reproduce import choose, print_reproduction, reproduction, words_of


@dataclass(frozen=True)
class Reproduce:
    """Repeat recipes and compare their scores with the paper's and the recorded ones."""

    names: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(help="Recipes of `ganforge list recipes`.")]
    ] = ()
    all: Annotated[bool, tyro.conf.arg(help="All recipes, the shortest first.")] = False
    minutes: Annotated[
        float | None, tyro.conf.arg(help="Only recipes that fit into this time, as recorded.")
    ] = None
    folder: Annotated[Path, tyro.conf.arg(help="Where the run folders are made.")] = Path("runs/reproduce")

    def __call__(self, command: str) -> int:
        """Train, evaluate and print a table of each recipe; returns the exit code."""
        chosen, left_out = choose(self.names, self.all, self.minutes)
        for name, reason in left_out.items():
            print(f"left out: {name} ({reason})", file=sys.stderr)
        for recipe in chosen:
            words = DEMO if recipe.command == "ganforge demo" else words_of(recipe, self.folder)
            run = train_run([*words, "--run", str(self.folder / recipe.name)])
            assert run is not None
            print_reproduction(reproduction(recipe, run, evaluate_with_status(run.path)))
        return 0
