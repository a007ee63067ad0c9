"""`ganforge list`: names of this version, on one screen."""

import json
import re
from pathlib import Path

import pytest
from command import draw_images

import ganforge
from ganforge.cli.main import main
from ganforge.cli.names import read_names
from ganforge.recipes.catalogue import recipes

LINES, COLUMNS = 24, 80


@pytest.mark.parametrize(
    ("what", "name"),
    [("systems", "dcgan"), ("data", "mnist"), ("recipes", "demo"), ("pretrained", "pretrained:srgan-photos")],
)
def test_list_fits_one_screen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], what: str, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    assert main(["list", what]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert any(line.startswith(f"{name} ") for line in lines)
    assert sum(-(-len(line) // COLUMNS) for line in lines) <= LINES


def test_verbose_lists_commands_and_scores_of_recipes(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes", "--verbose"]) == 0
    text = capfd.readouterr().out
    for recipe in recipes():
        assert recipe.command in text
        assert recipe.score in text


@pytest.mark.parametrize("what", ["systems", "data", "recipes", "pretrained"])
def test_lists_as_json(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    text = capfd.readouterr().out
    assert main(["list", what, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    names = [next(iter(each.values())) for each in found]
    assert len(names) > 2
    assert all(any(line.startswith(f"{name} ") for line in text.splitlines()) for name in names)


def test_pretrained_runs_ask_for_images_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "pretrained:srgan-photos"]) == 2
    assert "needs images of yours: ganforge apply pretrained:srgan-photos" in capfd.readouterr().err


def test_systems_say_what_they_are_for_uncut(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    assert main(["list", "systems"]) == 0
    text = capfd.readouterr().out
    assert "..." not in text
    assert "start here: ganforge train FOLDER" in text
    systems = read_names().systems
    for name, system in systems.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        assert 10 < len(system.purpose) <= 44
        assert system.purpose in line
    assert len({system.purpose for system in systems.values()}) > 15
    assert main(["list", "systems", "--verbose"]) == 0
    text = capfd.readouterr().out
    assert all(system.summary in text for system in systems.values())


def test_names_are_never_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.chdir(tmp_path)
    name = "a-run-with-a-name-of-more-than-twenty-letters"
    draw_images(tmp_path / "images")
    ganforge.train("dcgan", "images", run=f"runs/{name}", quiet=True, steps=1, batch=8, width=4)
    capfd.readouterr()
    assert main(["list", "runs", "--json"]) == 0
    (found,) = json.loads(capfd.readouterr().out)
    assert (found["run"], found["state"], found["steps"]) == (f"runs/{name}", "finished", "1/1")
    for what, names in {"recipes": [recipe.name for recipe in recipes()], "runs": [f"runs/{name}"]}.items():
        assert main(["list", what]) == 0
        firsts = [line.split(" ")[0].removesuffix("...") for line in capfd.readouterr().out.splitlines()]
        assert set(names) <= set(firsts)


def test_list_without_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list", "runs"]) == 0
    text = capfd.readouterr().out
    assert "no runs in runs: ganforge train FOLDER makes one" in text
    assert "pretrained:gan-cls-emoji" in text


def test_list_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    draw_images(tmp_path / "images")
    small = {"batch": 8, "latent_size": 4, "width": 4}
    ganforge.train("dcgan", "images", run="runs/a", quiet=True, steps=2, **small)
    (tmp_path / "runs/broken").mkdir()
    (tmp_path / "runs/broken/config.json").write_text("{")
    capfd.readouterr()
    assert main(["list", "runs"]) == 0
    captured = capfd.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["runs/a"]]
    assert row[1:3] == ["finished", "2/2"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d", " ".join(row[3:5]))
    assert row[6:] == ["kB", "dcgan", "on", "images"]
    (broken,) = [row for row in rows if row[:1] == ["runs/broken"]]
    assert broken[1] == "unreadable"
    assert "cannot be read" in " ".join(broken)
    assert captured.err == ""
