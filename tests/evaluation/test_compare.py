"""Comparing judged runs: like numbers side by side, unlike ones never."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import draw_images, run

import ganforge
from ganforge.cli.tables import print_comparison
from ganforge.data.batch import DataSpec
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.compare import cell_of, lines_of, read_evaluated, shared_note
from ganforge.evaluation.comparison_page import write_html
from ganforge.evaluation.comparison_tables import write_csv
from ganforge.evaluation.groups import group_runs
from ganforge.files.images import save_image
from ganforge.generation.sample import write_samples
from ganforge.reporting.evaluations import store_evaluation
from ganforge.reporting.grids import embed_png, grid
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.options import TrainOptions

PROTOCOL = {"weights": "ema", "seed": 0, "generated": 100}

Make = Callable[..., Path]


def score(name: str, value: float, **changes: Any) -> dict[str, Any]:
    protocol = PROTOCOL | {"step": 500} | changes.pop("protocol", {})
    return {"name": name, "value": value, "protocol": protocol} | changes


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A run folder with stored scores and one sample grid, which nothing has trained."""

    def judged(
        name: str, scores: list[dict[str, Any]] | None, fingerprint: str = "a" * 64, binarise: str = "none"
    ) -> Path:
        config = RunConfig(
            ganforge="0",
            system="dcgan",
            data=DataOptions.model_validate({"data": "mnist", "binarise": binarise}),
            train=TrainOptions(),
            config={"steps": 500},
            spec=DataSpec(channels=1, height=4, width=4, num_images=9),
            fingerprint=fingerprint,
        )
        path = Run.create(tmp_path / name, config).path
        if scores is not None:
            (path / "evaluation.json").write_text(json.dumps(scores), encoding="utf-8")
        save_image(grid(torch.zeros(4, 1, 4, 4)), path / "samples" / "000500.png", {"seed": "3"})
        return path

    return judged


def test_like_numbers_share_a_line_whatever_the_step(make: Make) -> None:
    first = make("one", [score("fid", 3.5), score("kid", 1.25, unit="x 10^-3", plus_minus=0.5)])
    second = make("two", [score("fid", 2.5, protocol={"step": 900})])
    runs = read_evaluated([first, second])
    assert [(compared.name, compared.step) for compared in runs] == [("one", "500"), ("two", "900")]
    fid, kid = lines_of(runs)
    assert [cell_of(fid.scores.get(place)) for place in (0, 1)] == ["3.5", "2.5"]
    assert [cell_of(kid.scores.get(place)) for place in (0, 1)] == ["1.25 ± 0.5", "-"]
    assert (fid.differs, kid.differs, kid.unit) == ("", "", "x 10^-3")
    assert "seed: 0; generated: 100" in shared_note([fid, kid])


@pytest.mark.parametrize("change", [{"seed": 1}, {"generated": 50}, {"weights": "raw"}, {"labels": "even"}])
def test_unlike_protocols_are_never_in_one_line(make: Make, change: dict[str, Any]) -> None:
    paths = [
        make("one", [score("fid", 3.5)]),
        make("two", [score("fid", 2.5, protocol=change)]),
        make("three", [score("fid", 1.5)]),
    ]
    first, second = lines_of(read_evaluated(paths))
    assert (sorted(first.scores), sorted(second.scores)) == ([0, 2], [1])
    ((name, value),) = change.items()
    assert second.differs == f"{name}: {value}"
    assert first.differs == f"{name}: {PROTOCOL.get(name, 'none')}"


def test_other_data_and_other_units_are_unlike_too(make: Make) -> None:
    first = make("one", [score("nats", 3.5)])
    lines = lines_of(read_evaluated([first, make("two", [score("nats", 3.5)], fingerprint="b" * 64)]))
    assert [sorted(line.scores) for line in lines] == [[0], [1]]
    assert "fingerprint bbbb" in lines[1].differs
    lines = lines_of(read_evaluated([first, make("black", [score("nats", 3.5)], binarise="static")]))
    assert "mnist, binarise static, fingerprint aaaa" in lines[1].differs
    lines = lines_of(read_evaluated([first, make("three", [score("nats", 3.5, unit="bits")])]))
    assert [sorted(line.scores) for line in lines] == [[0], [1]]


def test_the_window_that_parzen_found_is_no_protocol(make: Make) -> None:
    paths = [make(name, [score("parzen", 200, protocol={"sigma": name})]) for name in ("one", "two")]
    assert len(lines_of(read_evaluated(paths))) == 1


def test_csv_has_all_digits_and_the_whole_protocol(make: Make, tmp_path: Path) -> None:
    paths = [make("one", [score("fid", 1 / 3, plus_minus=1 / 7)]), make("two", [score("kid", 2)])]
    runs = read_evaluated(paths)
    write_csv(tmp_path / "new" / "table.csv", runs, group_runs(runs), lines_of(runs))
    with open(tmp_path / "new" / "table.csv", newline="", encoding="utf-8") as file:
        fid, kid = csv.DictReader(file)
    assert (float(fid["value"]), float(fid["spread"])) == (1 / 3, 1 / 7)
    assert (kid["value"], kid["spread"], kid["run"], kid["step"]) == ("2.0", "", "two", "500")
    assert {name: fid[f"protocol_{name}"] for name in PROTOCOL} == {k: str(v) for k, v in PROTOCOL.items()}


def test_html_shows_samples_side_by_side_and_loads_nothing(make: Make, tmp_path: Path) -> None:
    paths = [make("<one>", [score("fid", 3.5)]), make("two", [score("fid", 2.5, protocol={"seed": 1})])]
    runs = read_evaluated(paths)
    write_html(tmp_path / "page.html", runs, group_runs(runs), lines_of(runs))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 2
    assert "two: step 500, seed 3" in page
    assert "&lt;one&gt;" in page
    assert "<one>" not in page
    assert "<small>seed: 1</small>" in page
    assert "http://" not in page
    assert "https://" not in page
    for path in paths:
        (path / "samples" / "000500.png").write_bytes(b"broken")
    write_html(tmp_path / "page.html", runs, group_runs(runs), lines_of(runs))
    assert "<img" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_html_draws_samples_of_one_seed_whatever_the_runs_had(tmp_path: Path) -> None:
    draw_images(tmp_path / "data", count=24, side=8)
    small = {"latent_size": 4, "generator_hidden": (8,), "discriminator_hidden": (8,), "batch": 4, "steps": 1}
    for name, seed in (("one", 1), ("two", 2)):
        options = {**small, "seed": seed, "quiet": True, "device": "cpu"}
        ganforge.train("gan", str(tmp_path / "data"), run=tmp_path / name, **options)
        (tmp_path / name / "evaluation.json").write_text(json.dumps([score("fid", 3.5)]))
    runs = read_evaluated([tmp_path / "one", tmp_path / "two"])
    write_html(tmp_path / "page.html", runs, group_runs(runs), lines_of(runs), seed=7)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "one: step 1, seed 7" in page
    assert "two: step 1, seed 7" in page
    write_samples(ganforge.load(tmp_path / "two"), tmp_path / "grid.png", seed=7)
    assert embed_png(tmp_path / "grid.png", 640, "").address in page


def test_of_several_evaluations_the_most_trustworthy_is_compared_or_all(make: Make) -> None:
    quick = score("fid", 9.5, protocol={"generated": 50})
    first, second = make("one", [score("fid", 3.5)]), make("two", [score("fid", 2.5)])
    store_evaluation(first, [quick])
    runs = read_evaluated([first, second])
    (fid,) = lines_of(runs)
    assert [cell_of(fid.scores.get(place)) for place in (0, 1)] == ["3.5", "2.5"]
    assert "1 of 2 evaluations" in runs[0].notes[0]
    assert runs[1].notes == ()
    runs = read_evaluated([first], every=True)
    assert [compared.scores[0].value for compared in runs] == [3.5, 9.5]
    assert "50 samples" in runs[1].name
    store_evaluation(second, [quick])
    runs = read_evaluated([first, second], evaluation="50-samples")
    assert [compared.scores[0].value for compared in runs] == [9.5, 9.5]
    with pytest.raises(
        UserError, match=r"--evaluation inception: expected part of .*: evaluation\.json, step-000500"
    ):
        read_evaluated([first, second], evaluation="inception")
    with pytest.raises(UserError, match="one evaluation to compare"):
        read_evaluated([second], evaluation="50-samples", every=True)


def test_runs_of_one_name_keep_their_folders(make: Make) -> None:
    scores = [score("fid", 3.5)]
    paths = [make("a/same", scores), make("b/same", scores)]
    assert [compared.name for compared in read_evaluated(paths)] == ["a/same", "b/same"]
    deeper = [make("c/a/same", scores), paths[0]]
    assert [compared.name for compared in read_evaluated(deeper)] == [str(path) for path in deeper]


def test_user_mistakes_are_named(make: Make, tmp_path: Path) -> None:
    good, unjudged = make("good", [score("fid", 3.5)]), make("unjudged", None)
    torn = make("torn", [score("fid", 3.5)])
    (torn / "evaluation.json").write_text('[{"name": "fid"', encoding="utf-8")
    with pytest.raises(UserError, match="1 named: compare needs two or more"):
        read_evaluated([good])
    with pytest.raises(UserError, match="good is named twice"):
        read_evaluated([good, good / ".." / "good"])
    with pytest.raises(UserError, match="has not been evaluated: first `ganforge evaluate"):
        read_evaluated([unjudged, make("another", None)])
    with pytest.raises(UserError, match="cannot be read: write it again with `ganforge evaluate"):
        read_evaluated([good, torn])
    with pytest.raises(UserError, match="not a run folder"):
        read_evaluated([good, tmp_path / "none"])


def test_scores_of_older_versions_are_read_with_a_note(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    old = score("label_agreement", 90) | {"judge_version": 3}
    paths = [make("old", [old, score("of_some_system", 1)]), make("new", [score("class_accuracy", 80)])]
    runs = read_evaluated(paths)
    assert [value.name for value in runs[0].scores] == ["class_accuracy", "of_some_system"]
    (accuracy, _) = lines_of(runs)
    assert {place: value.value for place, value in accuracy.scores.items()} == {0: 90, 1: 80}
    print_comparison(runs, group_runs(runs), lines_of(runs))
    printed = capsys.readouterr().out
    assert "note: old: label_agreement is called class_accuracy now" in printed
    assert "note: old: fields of another version are left out: judge_version" in printed
    assert runs[1].notes == ()


def test_the_command(make: Make, tmp_path: Path) -> None:
    make("one", [score("fid", 3.5)])
    make("two", [score("fid", 2.5, protocol={"seed": 1})])
    done = run("compare", "one", "two", "--csv", "t.csv", "--html", "t.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "seed: 1" in done.stdout
    assert "stored in t.csv" in done.stdout
    assert (tmp_path / "t.csv").is_file()
    assert (tmp_path / "t.html").is_file()
    done = run("compare", "one", "two", "--json", "--csv", "t.csv", cwd=tmp_path)
    lines = json.loads(done.stdout)
    assert [(line["score"], line["runs"]) for line in lines] == [
        ("fid", {"one": {"value": 3.5, "plus_minus": None}}),
        ("fid", {"two": {"value": 2.5, "plus_minus": None}}),
    ]
    assert "stored in t.csv" in done.stderr
    refused = run("compare", "one", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: 1 named: compare needs two or more run folders")
    assert refused.stderr.count("\n") == 1
