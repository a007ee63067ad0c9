"""`ganforge compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.tables import print_comparison
from ganforge.evaluation.compare import lines_of, read_evaluated, write_csv, write_html


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
    seed: Annotated[int, tyro.conf.arg(help="Seed of the page's samples, the same for every run.")] = 0

    def __call__(self, command: str) -> int:
        """Print and store the table; returns the exit code."""
        runs = read_evaluated(self.runs)
        lines = lines_of(runs)
        print_comparison(runs, lines)
        if self.csv is not None:
            write_csv(self.csv, runs, lines)
            print(f"stored in {self.csv}")
        if self.html is not None:
            write_html(self.html, runs, lines, self.seed)
            print(f"stored in {self.html}")
        return 0
