"""`ganforge sweep`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganforge.cli.children import Child, check_jobs, last_line, run_children
from ganforge.errors import UserError
from ganforge.reporting.sweep_page import Axis, TrialRow, ranked_trials, write_sweep_page
from ganforge.runs.folder import Run
from ganforge.runs.options import HIGHER_IS_BETTER
from ganforge.training.sweep import ERROR, importance, open_study, run_sweep
from ganforge.training.sweep_spec import Range, SweepSpec, label_of, read_spec

if TYPE_CHECKING:
    from optuna.study import Study

SHOWN = 5
STATES = {"COMPLETE": "finished", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "running",
          "WAITING": "waiting"}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """Search options: a grid, at random, or by Optuna's TPE; the same command resumes."""

    spec: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="A TOML file: system, data, score, [options], [space] ...")]
    ]
    run: Annotated[
        Path | None, tyro.conf.arg(help="The folder of the sweep; default: runs/NAME of NAME.toml.")
    ] = None
    jobs: Annotated[
        int, tyro.conf.arg(help="Child processes that train at the same time; more may join from elsewhere.")
    ] = 1

    def __call__(self, command: str) -> int:
        """Do the trials that are left, then print and write the results; returns the exit code."""
        check_jobs(self.jobs)
        spec = read_spec(self.spec)
        folder = self.run or Path("runs") / self.spec.stem
        if self.jobs == 1:
            study = run_sweep(spec, folder, lambda text: print(text, flush=True))
        else:
            study = open_study(spec, folder)
            words = ["sweep", str(self.spec), "--run", str(folder)]
            children = [
                Child(f"process {number}", words, folder / f"process-{number}.log")
                for number in range(1, self.jobs + 1)
            ]
            codes, number = run_children(children, self.jobs)
            if number:
                print("stopped, everything is saved: the same command resumes", file=sys.stderr)
                return 128 + number
            if failed := [child for child in children if codes[child.name]]:
                raise UserError(last_line(failed[0]).removeprefix("error: "))
        rows = _rows(study, folder)
        page = folder / "sweep.html"
        write_sweep_page(
            page,
            f"Sweep of {spec.system} on {spec.data}",
            spec.score,
            HIGHER_IS_BETTER[spec.score],
            _axes(spec),
            rows,
            importance(study),
            _protocol(rows),
        )
        _print(spec, rows)
        print(f"page          {page}")
        return 0


def _axes(spec: SweepSpec) -> list[Axis]:
    return [
        Axis(name, low=axis.low, high=axis.high, log=axis.log)
        if isinstance(axis, Range)
        else Axis(name, tuple(label_of(choice) for choice in axis))
        for name, axis in spec.space.items()
    ]


def _rows(study: "Study", folder: Path) -> list[TrialRow]:
    """The trials as the page shows them; one that was stopped early has its last score."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        scores = trial.intermediate_values
        rows.append(
            TrialRow(
                trial.number,
                STATES[trial.state.name],
                trial.params,
                scores[max(scores)] if scores else None,
                folder / f"trial-{trial.number:04d}",
                scores,
                str(trial.user_attrs.get(ERROR, "")),
            )
        )
    return rows


def _protocol(rows: Sequence[TrialRow]) -> str:
    """How the score was measured, as the first run with one logged it."""
    for row in rows:
        if row.scores:
            return str(Run.open(row.run).metrics("evaluation")[-1]["protocol"])
    return "no trial has a score"


def _print(spec: SweepSpec, rows: Sequence[TrialRow]) -> None:
    """The best trials, how the others ended, and what to type next."""
    ranked = ranked_trials(rows, HIGHER_IS_BETTER[spec.score])
    table = Table("trial", *spec.space, spec.score)
    for row in ranked[:SHOWN]:
        values = [row.values[name] for name in spec.space]
        cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        table.add_row(str(row.number), *map(Text, cells), f"{row.score:.4g}")
    console = Console()
    console.print(table)
    counts = {state: sum(row.state == state for row in rows) for state in STATES.values()}
    console.print(", ".join(f"{count} {state}" for state, count in counts.items() if count), highlight=False)
    if ranked:
        print(f"best run      {ranked[0].run}")
