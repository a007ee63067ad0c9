"""Runs that differ in the seed only: grouping, tables, curves, and runs that nothing has evaluated."""

import csv
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from command import run

from ganforge.data.batch import DataSpec
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.compare import Compared, lines_of, read_evaluated, run_folders
from ganforge.evaluation.comparison_page import write_html
from ganforge.evaluation.comparison_tables import (
    choose_scores,
    to_objects,
    write_csv,
    write_latex,
    write_markdown,
)
from ganforge.evaluation.groups import (
    best_group,
    differences,
    group_cell,
    group_runs,
    line_p_value,
)
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.options import TrainOptions

GOOD, BAD = (3.0, 3.5, 4.0), (9.0, 9.5, 10.0)


def make(path: Path, seed: int, fid: float | None, **changes: Any) -> Path:
    """A run of `dcgan` that nothing has trained, with a stored FID and a log of three losses."""
    data = changes.pop("data", "mnist")
    config = RunConfig(
        ganforge="0",
        system=changes.pop("system", "dcgan"),
        data=DataOptions(data=data),
        train=TrainOptions(seed=seed, log_every=10 + seed),
        start_from=changes.pop("start_from", None),
        config={"steps": 500, "width": 16} | changes,
        spec=DataSpec(channels=1, height=4, width=4, num_images=9),
        fingerprint={"mnist": "a", "fashion-mnist": "b"}[data] * 64,
    )
    made = Run.create(path, config)
    for step in (10, 20, 30):
        line = {"kind": "train", "step": step, "images": step, "seconds": 1.0, "generator_loss": seed + step}
        made.append(line)
    if fid is not None:
        protocol = {"weights": "ema", "seed": 0, "generated": 100, "step": 500}
        both = [("fid", fid), ("ms_ssim", 0.5)]
        scores = [{"name": name, "value": value, "protocol": protocol} for name, value in both]
        (path / "evaluation.json").write_text(json.dumps(scores), encoding="utf-8")
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[Compared]:
    """Two widths of three seeds each."""
    for name, width, values in (("narrow", 8, BAD), ("wide", 32, GOOD)):
        for seed, value in enumerate(values):
            make(tmp_path / name / f"seed-{seed}", seed, value, width=width)
    return read_evaluated([tmp_path / "narrow", tmp_path / "wide"])


def test_seeds_make_a_group_with_mean_spread_and_count(two: list[Compared]) -> None:
    groups = group_runs(two)
    assert [(group.name, group.places) for group in groups] == [("narrow", (0, 1, 2)), ("wide", (3, 4, 5))]
    fid, ms_ssim = lines_of(two)
    assert [group_cell(fid, group) for group in groups] == ["9.5 ± 0.5", "3.5 ± 0.5"]
    assert (best_group(fid, groups), best_group(ms_ssim, groups)) == (1, None)
    assert line_p_value(fid, groups) == pytest.approx(0.1)
    assert differences(two, groups) == {"width": ["8", "32"]}
    (of_fid, _) = to_objects(two, groups, [fid, ms_ssim])
    assert of_fid["groups"]["wide"] == {"mean": 3.5, "standard_deviation": 0.5, "count": 3}
    assert of_fid["p_values"] == [{"groups": ["narrow", "wide"], "p": pytest.approx(0.1)}]


def test_only_runs_that_differ_in_the_seed_alone_are_grouped(tmp_path: Path) -> None:
    paths = [
        make(tmp_path / "a-0", 0, 1.0),
        make(tmp_path / "a-1", 1, 1.0),
        make(tmp_path / "same-seed", 1, 1.0),
        make(tmp_path / "longer", 2, 1.0, steps=900),
        make(tmp_path / "wider", 3, 1.0, width=99),
        make(tmp_path / "other-data", 4, 1.0, data="fashion-mnist"),
        make(tmp_path / "other-system", 5, 1.0, system="lsgan"),
        make(tmp_path / "warm", 6, 1.0, start_from="runs/first-6"),
        make(tmp_path / "warm-too", 7, 1.0, start_from="runs/first-7"),
    ]
    groups = group_runs(read_evaluated(paths))
    assert [group.places for group in groups] == [(0, 1), (2,), (3,), (4,), (5,), (6,), (7, 8)]
    assert groups[0].name == "a"
    assert len({group.name for group in groups}) == len(groups)


def test_a_seed_that_was_not_evaluated_counts_less_and_names_its_command(tmp_path: Path) -> None:
    for seed, value in enumerate((3.0, 4.0, None)):
        make(tmp_path / "my runs" / f"seed-{seed}", seed, value)
    make(tmp_path / "never", 0, None, width=8)
    runs = read_evaluated([tmp_path / "my runs", tmp_path / "never"])
    groups, (fid, _) = group_runs(runs), lines_of(runs)
    assert [group_cell(fid, group) for group in groups] == ["3.5 ± 0.71 (n=2)", "-"]
    (note,) = runs[2].notes
    assert note == f"not evaluated: `ganforge evaluate '{tmp_path}/my runs/seed-2'`"
    with pytest.raises(UserError, match="has not been evaluated: first `ganforge evaluate"):
        read_evaluated([tmp_path / "my runs" / "seed-2", tmp_path / "never"])


def test_folders_and_patterns_name_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/b/seed-10", "runs/b/seed-2", "runs/a", "runs/odd[1]"):
        make(Path(name), 0, 1.0)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "zip.zip").write_bytes(b"")
    every = [str(path) for path in run_folders(["runs/*"])]
    assert every == ["runs/a", "runs/b/seed-2", "runs/b/seed-10", "runs/odd[1]"]
    assert run_folders(["runs/a", "runs/*"]) == [Path(path) for path in every]
    assert run_folders(["runs/odd[1]"]) == [Path("runs/odd[1]")]
    with pytest.raises(UserError, match=r"runs/c\* matches no run folder: see `ganforge list runs`"):
        run_folders(["runs/c*"])


def test_tidy_csv_gives_the_same_statistics(two: list[Compared], tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", two, group_runs(two), lines_of(two))
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 6
    values = [float(row["value"]) for row in rows if (row["group"], row["score"]) == ("wide", "fid")]
    assert (statistics.mean(values), statistics.stdev(values)) == (3.5, 0.5)
    assert [row["seed"] for row in rows if row["score"] == "fid"] == ["0", "1", "2"] * 2
    assert {row["protocol_generated"] for row in rows} == {"100"}
    write_csv(tmp_path / "t.csv", two, group_runs(two), lines_of(two))  # its own table is replaced
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="was not made by ganforge"):
        write_csv(tmp_path / "mine.csv", two, group_runs(two), lines_of(two))


def cells_of(table: str) -> list[list[str]]:
    """The cells of a LaTeX tabular."""
    rows = re.findall(r"^(.*) \\\\$", table, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]


def test_latex_has_a_table_for_each_data_set_and_no_letter_that_breaks_it(tmp_path: Path) -> None:
    for seed, (good, bad) in enumerate(zip(GOOD, BAD, strict=True)):
        make(tmp_path / "a_&_b" / f"seed-{seed}", seed, good)
        make(tmp_path / "other" / f"seed-{seed}", seed, bad, width=8)
        make(tmp_path / "clothes" / f"seed-{seed}", seed, 1.0, data="fashion-mnist")
    runs = read_evaluated([tmp_path / "a_&_b", tmp_path / "other", tmp_path / "clothes"])
    write_latex(tmp_path / "t.tex", runs, group_runs(runs), choose_scores(lines_of(runs), ["ms_ssim", "fid"]))
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    digits, clothes = text.split(r"\begin{tabular}")[1:]
    assert cells_of(digits) == [
        ["", "ms ssim", r"fid $\downarrow$"],
        [r"a\_\&\_b (n=3)", r"$0.5 \pm 0$", r"$\mathbf{3.5} \pm 0.5$"],
        ["other (n=3)", r"$0.5 \pm 0$", r"$9.5 \pm 0.5$"],
        ["p, best against next", "$1$", "$0.1$"],
    ]
    assert cells_of(clothes)[1] == ["clothes (n=3)", r"$0.5 \pm 0$", r"$1 \pm 0$"]
    assert len(cells_of(clothes)) == 2  # nothing to compare with there
    plain = re.sub(r"\\[{}]", "", re.sub(r"(?m)^%.*$", "", text))
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert text.count(r"\end{tabular}") == 2


def test_markdown_is_bold_where_the_best_is_clear(two: list[Compared], tmp_path: Path) -> None:
    write_markdown(tmp_path / "t.md", two, group_runs(two), lines_of(two))
    text = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert "| narrow (n=3) | 9.5 ± 0.5 | 0.5 ± 0 |" in text
    assert "| wide (n=3) | **3.5 ± 0.5** | 0.5 ± 0 |" in text
    assert "| p, best against next | 0.1 | 1 |" in text
    assert "Differences of configuration: width: 8 / 32." in text
    widths = {row.count("|") for row in text.splitlines() if row.startswith("|")}
    assert widths == {4}


def test_unknown_scores_are_named(two: list[Compared]) -> None:
    with pytest.raises(UserError, match=r"unknown score 'fidd'.*fid"):
        choose_scores(lines_of(two), ["fidd"])


def test_the_page_overlays_curves_in_the_colour_of_the_group(two: list[Compared], tmp_path: Path) -> None:
    write_html(tmp_path / "p.html", two, group_runs(two), lines_of(two))
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    charts = [json.loads(text) for text in re.findall(r'application/json">(.*?)</script>', page)]
    (losses,) = [chart for chart in charts if len(chart["lines"]) == 6]
    assert losses["steps"] == [10, 20, 30]
    assert [line["values"][0] for line in losses["lines"]] == [10, 11, 12, 10, 11, 12]
    colours = re.findall(r'<span data-colour="(\w+)"><i></i>(\S+)/seed', page)
    assert {name: colour for colour, name in colours} == {"narrow": "c0", "wide": "c1"}
    assert '<td title="wide/seed-0: 3; wide/seed-1: 3.5; wide/seed-2: 4"><b>3.5 ± 0.5</b></td>' in page
    assert "<th>width</th><td>8</td><td>32</td>" in page
    assert "seeds 0, 1, 2" in page


def test_the_command_with_a_pattern(two: list[Compared], tmp_path: Path) -> None:
    make(tmp_path / "later", 0, None, width=64)
    done = run("compare", f"{tmp_path}/*", "--scores", "fid", "--latex", "t.tex", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3.5 ± 0.5" in done.stdout
    assert "3 seeds" in done.stdout
    assert "ms_ssim" not in done.stdout
    assert f"note: later: not evaluated: `ganforge evaluate {tmp_path}/later`" in done.stdout
    assert "stored in t.tex" in done.stdout
    done = run("compare", f"{tmp_path}/no*thing", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
