"""`ganforge compare`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import JSON, OVERWRITE
from ganforge.cli.tables import print_comparison
from ganforge.evaluation.compare import lines_of, read_evaluated, to_objects, write_csv, write_html
from ganforge.files.provenance import check_replaceable


@dataclass(frozen=True)
class Compare:
    """Compare evaluated runs in one table."""

    runs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help="Run folders with scores of `ganforge evaluate`.")]
    ]
    csv: Annotated[Path | None, tyro.conf.arg(help="Also write the table to this CSV file.")] = None
    html: Annotated[
        Path | None, tyro.conf.arg(help="Also write an HTML page, with samples of the runs side by side.")
    ] = None
    evaluation: Annotated[
        str,
        tyro.conf.arg(
            help="Of several evaluations of a run, one with this in its file name (in RUN/evaluations), such "
            "as inception or seed-1; default: that of the newest checkpoint with the most samples."
        ),
    ] = ""
    all_evaluations: Annotated[
        bool, tyro.conf.arg(help="Compare all evaluations of the runs, each in a column; one run is enough.")
    ] = False
    json: Annotated[bool, JSON] = False
    overwrite: Annotated[bool, OVERWRITE] = False
    seed: Annotated[int, tyro.conf.arg(help="Seed of the page's samples, the same for every run.")] = 0

    def __call__(self, command: str) -> int:
        """Print and store the table; returns the exit code."""
        written = {path: check_replaceable(path, self.overwrite, option) for option, path in self._outputs()}
        runs = read_evaluated(self.runs, self.evaluation, self.all_evaluations)
        lines = lines_of(runs)
        if self.json:
            print(json.dumps(to_objects(runs, lines), indent=1))
        else:
            print_comparison(runs, lines)
        if self.csv is not None:
            write_csv(self.csv, runs, lines, self.overwrite)
            print(f"stored in {self.csv}{written[self.csv]}", file=sys.stderr if self.json else sys.stdout)
        if self.html is not None:
            write_html(self.html, runs, lines, self.seed, self.overwrite)
            print(f"stored in {self.html}{written[self.html]}", file=sys.stderr if self.json else sys.stdout)
        return 0

    def _outputs(self) -> list[tuple[str, Path]]:
        outputs = (("--csv", self.csv), ("--html", self.html))
        return [(option, path) for option, path in outputs if path is not None]
