"""`ganforge reproduce`: which recipes, and their tables."""

import json
from pathlib import Path

import pytest
from command import run

from ganforge.errors import UserError
from ganforge.recipes import catalogue as recipes_module
from ganforge.recipes import reproduce
from ganforge.recipes.catalogue import Recipe, recipes
from ganforge.recipes.reproduce import choose, words_of


def recipe(name: str, minutes: float, **changes: object) -> Recipe:
    fields = {"what": "", "command": "", "images_per_second": 1, "memory_mb": 1, "score": "", "machine": "m"}
    return Recipe.model_validate(fields | {"name": name, "minutes": minutes, "date": "d"} | changes)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [recipe("long", 40), recipe("short", 2), recipe("middle", 30)]
    monkeypatch.setattr(reproduce, "recipes", lambda: entries)


@pytest.mark.parametrize(
    ("minutes", "chosen"),
    [
        (None, ["short", "middle", "long"]),
        (90, ["short", "middle", "long"]),
        (33, ["short", "middle"]),
        (2, ["short"]),
    ],
)
def test_all_that_fits_the_shortest_first(three: None, minutes: float | None, chosen: list[str]) -> None:
    found, left = choose((), everything=True, minutes=minutes)
    assert [entry.name for entry in found] == chosen
    assert sorted([*chosen, *left]) == ["long", "middle", "short"]


@pytest.mark.parametrize(
    ("minutes", "chosen"),
    [(None, ["first", "second"]), (42, ["first", "second"]), (41, None)],
)
def test_what_a_recipe_goes_on_from_comes_first(
    minutes: float | None, chosen: list[str] | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = "ganforge train gan_cls --text-encoder runs/text_encoder-emoji"
    second = recipe("second", 2, after="first", command=command)
    monkeypatch.setattr(reproduce, "recipes", lambda: [second, recipe("first", 40)])
    if chosen is None:
        with pytest.raises(UserError, match="--minutes 41: the shortest of these takes 42"):
            choose(("second",), minutes=minutes)
        return
    found, left = choose(("second",), minutes=minutes)
    assert ([entry.name for entry in found], left) == (chosen, {})
    assert [entry.name for entry in choose((), everything=True)[0]] == chosen
    assert words_of(second, tmp_path) == ["gan_cls", "--text-encoder", str(tmp_path / "first")]


def test_the_shortest_counts_what_comes_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entries = [recipe("second", 2, after="first"), recipe("first", 40), recipe("third", 5)]
    monkeypatch.setattr(reproduce, "recipes", lambda: entries)
    found, left = choose((), everything=True, minutes=45)
    assert [entry.name for entry in found] == ["third", "first"]
    assert list(left) == ["second"]
    alone = recipe("alone", 1, command="ganforge train srgan --from runs/mine")
    assert words_of(alone, tmp_path) == ["srgan", "--from", "runs/mine"]


def test_mistakes_are_named(three: None) -> None:
    with pytest.raises(UserError, match="name recipes or give --all: there are long, short, middle"):
        choose(())
    with pytest.raises(UserError, match="name recipes or give --all"):
        choose(("short",), everything=True)
    with pytest.raises(UserError, match="shor"):
        choose(("shor",))
    with pytest.raises(UserError, match="more than 0"):
        choose((), everything=True, minutes=0)
    with pytest.raises(UserError, match="the shortest of these takes 2"):
        choose((), everything=True, minutes=1)


def test_every_recipe_is_a_command_that_can_be_planned(tmp_path: Path) -> None:
    """Names in `published` and `measured` are those of scores; commands are of this command line."""
    for entry in recipes():
        assert entry.command.split()[:2] in (["ganforge", "demo"], ["ganforge", "train"])
        assert all(isinstance(text, str) and text for text in entry.published.values())
        if entry.after:
            before = next(other for other in recipes() if other.name == entry.after)
            _, _, system, _, data = before.command.split()[:5]
            assert f"runs/{system}-{data}" in entry.command.split()


def test_the_table_has_the_paper_the_record_and_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganforge.cli import main as cli

    entry = recipe(
        "tiny",
        1,
        command="ganforge train gan --data ring --steps 3 --batch 8",
        published={"modes": "7.9 of 8"},
        measured={"modes": 5},
    )
    monkeypatch.setattr(reproduce, "recipes", lambda: [entry])
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["reproduce", "tiny", "--folder", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "tiny" / "reproduction.json").read_text())
    modes = next(score for score in stored["scores"] if score["name"] == "modes")
    assert (modes["published"], modes["recorded"]) == ("7.9 of 8", 5)
    assert stored["minutes"] >= 0
    said = capsys.readouterr().out
    assert "7.9 of 8" in said
    assert "recorded: 1 on m" in said
    # The same command again goes on where it was: nothing is left to train.
    assert cli.main(["reproduce", "tiny", "--folder", str(tmp_path)]) == 0


def test_the_command_line_names_a_mistake_in_one_line(tmp_path: Path) -> None:
    done = run("reproduce", "nothing-like-it", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert recipes_module.recipes()
