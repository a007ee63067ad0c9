"""Makes docs/results.md from the stored results: never edit that page by hand.

python benchmarks/results.py            writes docs/results.md
python benchmarks/results.py --check    says whether it is what the results give, and changes nothing
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from trainings_table import METHODS, METHODS_DATA, TABLE

from ganforge.evaluation.statistics import Summary, clear_best

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "results.md"
HIGHLIGHTS = FOLDER.parent / "docs" / "highlights.md"
RECIPES = FOLDER.parent / "src" / "ganforge" / "recipes" / "recipes.json"

# Column, names of the score (the first that a row has counts), digits.
COLUMNS = (
    ("FID", ("fid",), 4),
    ("KID x 10^3", ("kid",), 4),
    ("precision", ("precision",), 3),
    ("recall", ("recall",), 3),
    ("coverage", ("coverage",), 3),
    ("two-sample, %", ("c2st_accuracy",), 3),
    ("nats", ("nll",), 4),
    ("samples/s", ("sampling_speed",), 4),
)
HIDDEN = ("sampling_speed", "fid_floor")
INTRODUCTION = """# Results

This page is made by `python benchmarks/results.py` from the JSON in [`benchmarks/`](../benchmarks) and from
the recipes of the package, after a table written by hand; a test compares them. Scores are explained in
[metrics](metrics.md), trainings in [comparisons](comparisons.md). A dash: the score is not
defined for the method, or was not yet known when the training was evaluated. Of several seeds the mean and
the standard deviation are shown; among methods the best is bold where its mean is ahead by more than the
larger of the two standard deviations that are compared. One seed has no spread, and is never bold. Minutes,
images/s and samples/s are means; a training on a busy machine counts for scores only.
"""


def rows_of(file: str) -> list[dict[str, Any]]:
    """The stored rows of a comparison; none where it was not made yet."""
    path = FOLDER / file
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def number(value: float, digits: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def summary(rows: list[dict[str, Any]], names: tuple[str, ...]) -> Summary | None:
    """The values of a score in the rows of one training, one for each seed; of the names the first one."""
    found = [next((row["scores"][name][0] for name in names if name in row["scores"]), None) for row in rows]
    values = tuple(value for value in found if value is not None)
    return Summary(values) if values else None


def column(summaries: list[Summary | None], digits: int, best: int | None = None) -> list[str]:
    """Mean ± standard deviation over seeds, that of the place `best` in bold."""
    cells = []
    for place, each in enumerate(summaries):
        if each is None:
            cells.append("-")
            continue
        spread = "" if each.deviation is None else f" ± {each.deviation:.2g}"
        text = number(each.mean, digits) + spread
        cells.append(f"**{text}**" if place == best else text)
    return cells


def mean(rows: list[dict[str, Any]], name: str, form: str = ".4g") -> str:
    """Over the rows that have it: those of a busy machine have no times."""
    values = [row[name] for row in rows if name in row]
    return format(sum(values) / len(values), form) if values else "-"


def methods_table(data: str) -> str:
    """One row for each method, over its seeds, in the order of the commands, measured or not yet."""
    stored = rows_of(TABLE["methods"].file)
    rows = [[row for row in stored if row["name"] == f"{data}-{method}"] for method in METHODS]
    columns = []
    for _, names, digits in COLUMNS:
        summaries = [summary(each, names) for each in rows]
        columns.append(column(summaries, digits, clear_best(names[0], summaries)))
    lines = []
    for place, (method, each) in enumerate(zip(METHODS, rows, strict=True)):
        minutes = mean(each, "minutes") if each else "not measured yet"
        lines.append([method, str(len(each)), *(cells[place] for cells in columns), minutes])
    return table(["method", "seeds", *(name for name, _, _ in COLUMNS), "minutes"], lines)


def comparison_table(file: str) -> str:
    """All trainings of a comparison with all their scores, over their seeds."""
    stored = rows_of(file)
    names = list(dict.fromkeys(row["name"] for row in stored))
    rows = [[row for row in stored if row["name"] == name] for name in names]
    scores = [
        name for name in dict.fromkeys(key for row in stored for key in row["scores"]) if name not in HIDDEN
    ]
    columns = [column([summary(each, (name,)) for each in rows], 4) for name in scores]
    lines = []
    for place, (name, each) in enumerate(zip(names, rows, strict=True)):
        cost = [mean(each, "minutes"), mean(each, "images_per_second", ",.0f")]
        lines.append([name, str(len(each)), *(cells[place] for cells in columns), *cost])
    return table(["run", "seeds", *(name.replace("_", " ") for name in scores), "minutes", "images/s"], lines)


def recipes_table() -> str:
    lines = []
    for recipe in sorted(json.loads(RECIPES.read_text(encoding="utf-8")), key=lambda entry: entry["name"]):
        measured, published = recipe.get("measured", {}), recipe.get("published", {})
        ours = "; ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in measured.items())
        paper = "; ".join(f"{name.replace('_', ' ')} {text}" for name, text in published.items())
        lines.append(
            [
                recipe["name"],
                paper or "-",
                ours or recipe["score"],
                f"{recipe['minutes']:g}",
                recipe["machine"],
            ]
        )
    return table(["recipe", "published", "ours", "minutes", "machine"], lines)


def surroundings() -> str:
    """The machines of all stored rows."""
    rows = [row for comparison in TABLE.values() for row in rows_of(comparison.file)]
    machines = sorted(
        {
            f"{row['machine'].replace(' Processor', '')}, {row['threads']} thread(s), torch {row['torch']}"
            for row in rows
        }
    )
    return "".join(f"* {machine}\n" for machine in machines)


def page() -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION, HIGHLIGHTS.read_text(encoding="utf-8"), "## Methods side by side\n"]
    parts.append(
        "Features of each data set's own reference classifier, 10,000 samples against the test set, "
        "averaged weights; "
        "two-sample is the accuracy of a fresh classifier, nats are -log p(x) of the 256 levels, of the VAE "
        "estimated with 500 samples. Seed 0 was trained on a Xeon, the others on an AMD EPYC in bf16; "
        "minutes and samples/s are those of seed 0, of one core that other work shared at times. "
        "Commands: `methods` of [`trainings_table.py`](../benchmarks/trainings_table.py); "
        "`python benchmarks/trainings.py methods --seeds 0 1 2 --jobs 2` measures three seeds.\n"
    )
    for data in METHODS_DATA:
        parts += [f"### {data}\n", methods_table(data)]
    parts += [
        "## Recipes: the paper next to ours\n",
        "`ganforge reproduce NAME` makes a row again.\n",
        recipes_table(),
    ]
    parts.append("## Other comparisons\n")
    for name, comparison in sorted(TABLE.items()):
        if name != "methods" and rows_of(comparison.file):
            parts += [f"### {comparison.what} (`{name}`)\n", comparison_table(comparison.file)]
    parts += ["## Machines\n", surroundings()]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.check:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        if not same:
            print(
                f"{PAGE.name} is not what the stored results give: python benchmarks/results.py",
                file=sys.stderr,
            )
        return 0 if same else 1
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(FOLDER.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
