"""A comparison as files: tidy CSV, LaTeX, Markdown, and objects for JSON."""

import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganforge.errors import unknown_name
from ganforge.evaluation.compare import Compared, Line, distinguish, shared_note
from ganforge.evaluation.groups import (
    BOLD_NOTE,
    P_NOTE,
    SEEDS_NOTE,
    Group,
    best_group,
    differences,
    group_cell,
    line_p_value,
    summaries_of,
)
from ganforge.evaluation.statistics import HIGHER_IS_BETTER, p_value
from ganforge.files.atomic import make_folder, replace_file
from ganforge.files.provenance import LATEX_MARK, MARKDOWN_MARK, check_replaceable

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}  # fmt: skip


def choose_scores(lines: Sequence[Line], names: Sequence[str]) -> list[Line]:
    """The lines of the scores `names`, in that order; all without names. Raises UserError for an unknown."""
    known = list(dict.fromkeys(line.name for line in lines))
    for name in names:
        if name not in known:
            raise unknown_name("score", name, known, "(those of `ganforge compare` without --scores)")
    return [line for name in names or known for line in lines if line.name == name]


def to_objects(
    runs: Sequence[Compared], groups: Sequence[Group], lines: Sequence[Line]
) -> list[dict[str, Any]]:
    """The lines as objects for JSON: score, unit, protocol, each run, each group, and p-values of pairs."""
    return [
        {
            "score": line.name,
            "unit": line.unit,
            "protocol": line.protocol,
            "runs": {
                runs[place].name: {"value": score.value, "plus_minus": score.plus_minus}
                for place, score in line.scores.items()
            },
            "groups": {
                group.name: {
                    "mean": summary.mean,
                    "standard_deviation": summary.deviation,
                    "count": summary.count,
                }
                for group, summary in zip(groups, summaries_of(line, groups), strict=True)
                if summary is not None
            },
            "p_values": _pairs(line, groups),
        }
        for line in lines
    ]


def _pairs(line: Line, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The p-value of each pair of groups that has one."""
    pairs = []
    for (first, one), (second, two) in itertools.combinations(
        zip(groups, summaries_of(line, groups), strict=True), 2
    ):
        p = None if one is None or two is None else p_value(one, two)
        if p is not None:
            pairs.append({"groups": [first.name, second.name], "p": p})
    return pairs


def write_csv(
    path: Path,
    runs: Sequence[Compared],
    groups: Sequence[Group],
    lines: Sequence[Line],
    overwrite: bool = False,
) -> None:
    """One row for each score of each run, unrounded: group, run, seed, ..., then a column for each protocol.

    `spread` is how exactly the score itself was measured, where that is known. Raises UserError where
    another file than such a table is in the way, without `overwrite`.
    """
    check_replaceable(path, overwrite, "--csv")
    names = {place: group.name for group in groups for place in group.places}
    protocols = sorted({key for line in lines for score in line.scores.values() for key in score.protocol})
    protocols = [key for key in protocols if key != "step"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["group", "run", "seed", "system", "step", "score", "unit", "value", "spread", "trained_on"]
    writer.writerow([*head, *(f"protocol_{key.replace(' ', '_')}" for key in protocols)])
    for place, compared in enumerate(runs):
        config = compared.run.config
        for line in lines:
            if (score := line.scores.get(place)) is None:
                continue
            spread = "" if score.plus_minus is None else repr(score.plus_minus)
            row = [names[place], compared.name, config.train.seed, config.system]
            row += [score.protocol.get("step", ""), score.name, score.unit, repr(score.value), spread]
            measured = [score.protocol.get(key, "") for key in protocols]
            writer.writerow([*row, line.protocol["trained on"], *measured])
    _write(path, text.getvalue())


def write_latex(
    path: Path,
    runs: Sequence[Compared],
    groups: Sequence[Group],
    lines: Sequence[Line],
    overwrite: bool = False,
) -> None:
    """A tabular of booktabs for each data set: a row for each group, a column for each score and protocol.

    What was measured how stands in comments. Raises UserError as `write_csv`.
    """
    check_replaceable(path, overwrite, "--latex")
    parts = [f"{LATEX_MARK.decode()}, for \\usepackage{{booktabs}}\n% {SEEDS_NOTE}\n% {BOLD_NOTE}\n"]
    for block in _blocks(runs, groups, lines):
        rows = [
            [_latex(row.name), *(_latex_cell(*cell) for cell in zip(row.cells, row.bold, strict=True))]
            for row in block.rows
        ]
        heads = ["", *(_latex(head, " $\\uparrow$", " $\\downarrow$") for head in block.heads)]
        table = [" & ".join(cells) + r" \\" for cells in [heads, *rows]]
        parts.append(
            f"\n% {_one_line(block.about)}\n"
            + f"\\begin{{tabular}}{{l{'r' * len(block.heads)}}}\n\\toprule\n{table[0]}\n\\midrule\n"
            + "\n".join(table[1:])
            + "\n\\bottomrule\n\\end{tabular}\n"
        )
    _write(path, "".join(parts))


def write_markdown(
    path: Path,
    runs: Sequence[Compared],
    groups: Sequence[Group],
    lines: Sequence[Line],
    overwrite: bool = False,
) -> None:
    """The tables of `write_latex` in Markdown, with the protocols below. Raises UserError as `write_csv`."""
    check_replaceable(path, overwrite, "--markdown")
    parts = [f"{MARKDOWN_MARK.decode()}\n"]
    for block in _blocks(runs, groups, lines):
        heads = ["", *(_plain(head) for head in block.heads)]
        rows = [
            [
                _plain(row.name),
                *(f"**{text}**" if bold else text for text, bold in zip(row.cells, row.bold, strict=True)),
            ]
            for row in block.rows
        ]
        table = [heads, ["---", *["---:"] * len(block.heads)], *rows]
        parts.append("\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in table))
        parts.append(f"\n{_one_line(block.about)}.\n")
    differing = [f"{name}: {' / '.join(texts)}" for name, texts in differences(runs, groups).items()]
    parts += [f"\nDifferences of configuration: {'; '.join(differing)}.\n"] if differing else []
    parts.append(f"\n{SEEDS_NOTE}; {BOLD_NOTE}; {P_NOTE}.\n")
    _write(path, "".join(parts))


@dataclass(frozen=True)
class _Row:
    name: str
    cells: list[str]
    bold: list[bool]


@dataclass(frozen=True)
class _Block:
    """The table of one data set, and in words what all of its scores share."""

    about: str
    heads: list[str]
    rows: list[_Row]


def _blocks(runs: Sequence[Compared], groups: Sequence[Group], lines: Sequence[Line]) -> list[_Block]:
    """A table for each data set: scores on different data are never in one column."""
    blocks = []
    for data in dict.fromkeys(line.protocol["trained on"] for line in lines):
        same = [line for line in lines if line.protocol["trained on"] == data]
        named = dict.fromkeys(line.name for line in same)
        own = [line for name in named for line in distinguish([each for each in same if each.name == name])]
        present = {place for line in own for place in line.scores}
        fingerprints = {runs[place].run.config.fingerprint for place in present}
        rows = [group for group in groups if runs[group.places[0]].run.config.fingerprint in fingerprints]
        best = [best_group(line, rows) for line in own]
        table = [
            _Row(
                group.name + (f" (n={len(group.places)})" if len(group.places) > 1 else ""),
                [group_cell(line, group) for line in own],
                [each == place for each in best],
            )
            for place, group in enumerate(rows)
        ]
        p_values = [line_p_value(line, rows) for line in own]
        if any(p is not None for p in p_values):
            cells = ["-" if p is None else f"{p:.2g}" for p in p_values]
            table.append(_Row("p, best against next", cells, [False] * len(cells)))
        heads = [_head(line) for line in own]
        blocks.append(_Block(shared_note(own), heads, table))
    return blocks


def _head(line: Line) -> str:
    better = {True: " ↑", False: " ↓"}.get(HIGHER_IS_BETTER.get(line.name), "")  # type: ignore[arg-type]
    about = "; ".join(filter(None, (line.unit, line.differs)))
    return f"{line.name.replace('_', ' ')}{f' ({about})' if about else ''}{better}"


def _latex(text: str, up: str = "", down: str = "") -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in _one_line(text))
    escaped = re.sub(r"x 10\\textasciicircum\{\}(-?[0-9]+)", r"$\\times 10^{\1}$", escaped)
    return escaped.replace(" ↑", up).replace(" ↓", down)


def _latex_cell(text: str, bold: bool) -> str:
    number, _, spread = text.partition(" ± ")
    if number == "-":
        return "--"
    spread, _, count = spread.partition(" ")
    number = f"\\mathbf{{{number}}}" if bold else number
    number += f" \\pm {spread}" if spread else ""
    number = re.sub(r"e([+-]?)0*([0-9]+)", _power, number)
    return f"${number}$" + (f" {count}" if count else "")


def _power(exponent: re.Match[str]) -> str:
    return f"\\cdot 10^{{{exponent[1].strip('+')}{exponent[2]}}}"


def _plain(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write(path: Path, text: str) -> None:
    make_folder(path.parent)
    replace_file(path, text.encode("utf-8", "backslashreplace"))
