"""The pages for researchers run, at tiny size: from an own system in one file to a table."""

from itertools import pairwise
from pathlib import Path

import pytest
from command import draw_images
from documents import ROOT, blocks, program_words, shell_commands

import ganforge
from ganforge.cli.main import main
from ganforge.runs.folder import Run

PAPER, PARTS = ROOT / "docs" / "paper.md", ROOT / "docs" / "parts.md"
OTHERS = {"mnist": "first", "fashion-mnist": "second"}
"""Small images in the place of the page's data."""
SMALL = {"train": ["--steps", "2", "--batch", "4", "--device", "cpu"], "evaluate": ["--num-samples", "20"]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in OTHERS.values():
        draw_images(tmp_path / name, count=24, side=8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def small_words(words: list[str]) -> list[str]:
    """A command of the page, small, on small data, its patterns of paths expanded as a shell does."""
    words = [
        OTHERS.get(word, word) if before == "--data" else word for before, word in pairwise(["", *words])
    ]
    words = [
        path for word in words for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
    ]
    more = [] if "--like" in words else SMALL.get(words[0], [])
    return [*words, *more]


@pytest.mark.slow
def test_the_paper_is_written(place: Path) -> None:
    (method,) = blocks(PAPER, "python")
    Path("my_gan.py").write_text(method, encoding="utf-8")
    commands = [words for block in blocks(PAPER, "sh") for words in shell_commands(block)]
    assert len(commands) == 10
    for command in commands:
        words = program_words(command)
        assert words is not None
        small = small_words(words)
        assert main(small) == 0, small
    runs = sorted(Path("runs").glob("*/seed-*"))
    assert len(runs) == 12
    assert all(list((run / "evaluations").glob("*.json")) for run in runs)
    assert list(Path("tries/first/tensorboard").glob("events.*"))
    slower, first = (Run.open(Path(f"tries/{name}")).config for name in ("slower", "first"))
    assert slower.config == first.config | {"learning_rate": 1e-4}


def test_the_parts_of_the_page_train(place: Path) -> None:
    data, parts, hook = blocks(PARTS, "python")
    Path("my_parts.py").write_text(parts, encoding="utf-8")
    smaller = {"steps=10": "steps=2, batch=4, width=4", "steps=20": "steps=4"}
    smaller['own", data=data)'] = 'own", data=data, num_samples=20)'
    for old, new in smaller.items():
        assert old in data
        data = data.replace(old, new)
    exec(compile(data, "parts.md", "exec"), {})
    assert ganforge.load("runs/own", trust_code=True).step == 4
    commands = [words for block in blocks(PARTS, "") for words in shell_commands(block)]
    trained = [words for command in commands if (words := program_words(command)) and words[1] == "dcgan"]
    assert len(trained) == 2
    for number, words in enumerate(trained):
        assert main(small_words([*words, "--run", f"runs/{number}"])) == 0
    hook = hook.replace('"mnist"', '"first"').replace("steps=1000", "steps=2, batch=4, width=4")
    exec(compile(hook.replace("% 100", "% 1"), "parts.md", "exec"), {})
    assert ganforge.load("runs/watched", trust_code=True).step == 2
