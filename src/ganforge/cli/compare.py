"""`ganforge compare`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import JSON, OVERWRITE
from ganforge.cli.tables import print_comparison
from ganforge.evaluation.compare import lines_of, read_evaluated
from ganforge.evaluation.comparison_page import write_html
from ganforge.evaluation.comparison_tables import (
    choose_scores,
    to_objects,
    write_csv,
    write_latex,
    write_markdown,
)
from ganforge.evaluation.groups import group_runs
from ganforge.files.provenance import check_replaceable


@dataclass(frozen=True)
class Compare:
    """Compare evaluated runs in one table; those that differ in the seed only are one column."""

    runs: tyro.conf.Positional[
        Annotated[
            tuple[Path, ...],
            tyro.conf.arg(
                help="Run folders with scores of `ganforge evaluate`, folders of these, 'runs/*' in quotes."
            ),
        ]
    ]
    scores: Annotated[
        str | None, tyro.conf.arg(help="Only these scores, in this order, such as fid,recall; default: all.")
    ] = None
    csv: Annotated[
        Path | None, tyro.conf.arg(help="Also write a tidy CSV file: a row for each score of each run.")
    ] = None
    latex: Annotated[
        Path | None,
        tyro.conf.arg(help="Also write a LaTeX table (booktabs) for each data set, such as t.tex."),
    ] = None
    markdown: Annotated[Path | None, tyro.conf.arg(help="Also write these tables in Markdown.")] = None
    html: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Also write an HTML page, with samples and curves of the runs next to each other."
        ),
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
        outputs = [
            ("--csv", self.csv, write_csv),
            ("--latex", self.latex, write_latex),
            ("--markdown", self.markdown, write_markdown),
        ]
        paths = [(option, path) for option, path, _ in (*outputs, ("--html", self.html, None)) if path]
        written = {path: check_replaceable(path, self.overwrite, option) for option, path in paths}
        runs = read_evaluated(self.runs, self.evaluation, self.all_evaluations)
        groups = group_runs(runs)
        names = [] if self.scores is None else [name.strip() for name in self.scores.split(",")]
        lines = choose_scores(lines_of(runs), names)
        if self.json:
            print(json.dumps(to_objects(runs, groups, lines), indent=1))
        else:
            print_comparison(runs, groups, lines)
        for _, path, write in outputs:
            if path is not None:
                write(path, runs, groups, lines, self.overwrite)
        if self.html is not None:
            write_html(self.html, runs, groups, lines, self.seed, self.overwrite)
        for path, replaced in written.items():
            print(f"stored in {path}{replaced}", file=sys.stderr if self.json else sys.stdout)
        return 0
