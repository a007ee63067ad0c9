"""The snippets of the README and of the tour run, with small numbers; the tour's example class trains."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from command import draw_images
from documents import ROOT, blocks, name_of, program_words, shell_commands

from ganforge.cli.main import main

PAGES = [ROOT / "README.md", ROOT / "docs" / "tour.md"]
NOT_RUN = {
    "make demo": "trains for minutes",
    "make test": "runs this test",
    "pip install -c constraints.txt .": "needs a package registry",
    "pip install -c constraints.txt .[download]": "needs a package registry",
}
# What is added to a command so that it takes seconds; the same whenever it is repeated.
SMALL = {
    "train my_images": "--batch 4 --width 4 --size 16",
    "train dcgan": "--steps 2 --batch 4 --width 4",
    "train cgan": "--steps 1 --batch 4",
    "train infogan": "--steps 1 --batch 4",
    "evaluate": "--num-samples 40",
}
SMALLER_PYTHON = {
    "steps=1000, width=32": "steps=2, batch=4, width=4",
    "steps=2_000, width=32": "steps=2, batch=4, width=4",
    'evaluate("runs/first")': 'evaluate("runs/first", num_samples=40)',
    "evaluate(trained.run.path)": "evaluate(trained.run.path, num_samples=40)",
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images; the runs that snippets make stay in it for the snippets after them."""
    folder = tmp_path_factory.mktemp("snippets")
    draw_images(folder / "my_images", count=60, side=64)
    return folder


def run_command(words: list[str]) -> None:
    own = program_words(words)
    if own is None:
        assert " ".join(words) in NOT_RUN, "neither a command of ganforge nor listed as not run"
        return
    own = ["0.15" if before == "--minutes" else word for before, word in pairwise(["", *own])]
    for start, options in SMALL.items():
        if " ".join(own).startswith(start):
            own = [*own, *options.split()]
    assert main(own) == 0, f"ganforge {' '.join(own)}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_snippets_run(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    commands = [words for block in blocks(page, "sh") for words in shell_commands(block)]
    assert len(commands) > 4
    for words in commands:
        run_command(words)
    code = "\n".join(block for block in blocks(page, "python") if "class " not in block)
    smaller = code
    for old, new in SMALLER_PYTHON.items():
        smaller = smaller.replace(old, new)
    assert smaller.count("steps=2,") == smaller.count("ganforge.train(")
    exec(compile(smaller, name_of(page), "exec"), {})  # the page is ours


def test_every_replacement_is_used() -> None:
    code = "\n".join(block for page in PAGES for block in blocks(page, "python"))
    assert not [old for old in SMALLER_PYTHON if old not in code]
    commands = [words for page in PAGES for block in blocks(page, "sh") for words in shell_commands(block)]
    shown = {" ".join(words) for words in commands}
    assert not NOT_RUN.keys() - shown
    assert not [start for start in SMALL if not any(line.startswith(f"ganforge {start}") for line in shown)]


@pytest.mark.parametrize("data", ["ring", "my_images"])
def test_the_class_of_the_tour_trains(data: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = (block for block in blocks(ROOT / "docs" / "tour.md", "python") if "class " in block)
    (name,) = re.findall(r"^class (\w+)\(LatentSystem\)", example, re.MULTILINE)
    module = f"tour_{data}"  # a name of its own: a module is imported once per process
    (workplace / f"{module}.py").write_text(example, encoding="utf-8")
    monkeypatch.chdir(workplace)
    monkeypatch.syspath_prepend(str(workplace))
    size = [] if data == "ring" else ["--size", "8"]
    run = f"runs/tour-{data}"
    train = ["train", f"{module}:{name}", "--data", data, "--run", run, "--batch", "4", *size]
    assert main([*train, "--steps", "2"]) == 0
    assert main([*train, "--steps", "3"]) == 0
    assert main(["sample", run, "--count", "4", "--out", f"{run}.png", "--system", f"{module}:{name}"]) == 0
    assert Path(f"{run}.png").is_file()
