"""`ganforge list`: names of this version, on one screen."""

from pathlib import Path

import pytest
from command import draw_images

import ganforge
from ganforge.cli.main import main
from ganforge.recipes.catalogue import recipes

LINES, COLUMNS = 24, 80


@pytest.mark.parametrize(("what", "name"), [("systems", "dcgan"), ("data", "mnist"), ("recipes", "demo")])
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


def test_list_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    small = {"batch": 8, "latent_size": 4, "width": 4}
    ganforge.train("dcgan", "images", run="runs/a", quiet=True, steps=2, **small)
    (tmp_path / "runs/broken").mkdir()
    (tmp_path / "runs/broken/config.json").write_text("{")
    capfd.readouterr()
    assert main(["list", "runs"]) == 0
    captured = capfd.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    assert ["runs/a", "2/2", "dcgan", "images"] in rows
    assert any(row[0] == "runs/broken" and "cannot be read" in " ".join(row) for row in rows)
    assert captured.err == ""
