"""`docs/results.md` is what the stored results give."""

import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from command import environment

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "results.py"
SHARED = ROOT.parent / "shared" / "data"


def test_the_page_equals_what_the_stored_results_give() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_changed_number_or_page_is_seen(tmp_path: Path, seed: str) -> None:
    """The real script on a copy, under two orders of hashing."""
    for folder in ("benchmarks", "docs", "src/ganforge/recipes"):
        (tmp_path / folder).mkdir(parents=True)
    own = [ROOT / "benchmarks" / name for name in ("results.py", "trainings_table.py")]
    for path in [*(ROOT / "benchmarks").glob("*.json"), *own]:
        (tmp_path / "benchmarks" / path.name).write_bytes(path.read_bytes())
    recipes = (ROOT / "src" / "ganforge" / "recipes" / "recipes.json").read_text(encoding="utf-8")
    (tmp_path / "src" / "ganforge" / "recipes" / "recipes.json").write_text(recipes, encoding="utf-8")
    for name in ("highlights.md", "results.md"):
        (tmp_path / "docs" / name).write_bytes((ROOT / "docs" / name).read_bytes())

    def check() -> int:
        command = [sys.executable, tmp_path / "benchmarks" / "results.py", "--check"]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        return subprocess.run(command, capture_output=True, env=environment).returncode

    assert check() == 0
    stored = tmp_path / "benchmarks" / "family_stacked.json"
    text = stored.read_text(encoding="utf-8")
    assert "997" in text
    stored.write_text(text.replace("997", "998"), encoding="utf-8")
    assert check() == 1
    stored.write_text(text, encoding="utf-8")
    page = tmp_path / "docs" / "results.md"
    page.write_text(page.read_text(encoding="utf-8").replace("997", "999"), encoding="utf-8")
    assert check() == 1


def copied(folder: Path) -> Path:
    """A copy of what makes the results, in a folder of its own."""
    for name in ("benchmarks", "docs", "src/ganforge/recipes"):
        (folder / name).mkdir(parents=True)
    for path in (ROOT / "benchmarks").glob("*.py"):
        (folder / "benchmarks" / path.name).write_bytes(path.read_bytes())
    recipes = "src/ganforge/recipes/recipes.json"
    for name in (recipes, "docs/highlights.md"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_methods_on_two_data_sets_with_seeds_by_one_command(tmp_path: Path) -> None:
    """The command of `docs/results.md` with two trainings, two seeds and two steps, then the page."""
    clothes = SHARED / "fashion-mnist"
    if not clothes.is_dir():
        pytest.skip(f"needs {clothes}, which is not part of the package")
    folder = copied(tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "fashion-mnist").symlink_to(clothes)
    here = environment(GANFORGE_CACHE=str(tmp_path / "cache"))
    words = ["methods", "--seeds", "0", "1", "--steps", "2", "--num-samples", "60", "--only"]
    words += ["mnist-gan", "fashion-mnist-gan"]
    script = [sys.executable, str(folder / "benchmarks" / "trainings.py")]
    done = subprocess.run([*script, *words], cwd=folder, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "benchmarks" / "family_methods.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["name"], row["seed"]) for row in rows] == [
        (name, seed) for name in ("fashion-mnist-gan", "mnist-gan") for seed in (0, 1)
    ]
    kid = [row["scores"]["kid"][0] for row in rows if row["name"] == "mnist-gan"]
    middle, spread = statistics.mean(kid), statistics.stdev(kid)
    tables = (folder / "runs" / "methods" / "table.md").read_text(encoding="utf-8").split("| --- |")
    assert len(tables) == 3  # one for each data set
    assert f"{middle:.4g} ± {spread:.2g}" in tables[2]
    assert "| mnist-gan (n=2) |" in tables[2]
    assert "| fashion-mnist-gan (n=2) |" in tables[1]
    made = subprocess.run(
        [sys.executable, folder / "benchmarks" / "results.py"], env=environment(), check=True
    )
    assert made.returncode == 0
    page = (folder / "docs" / "results.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| gan \| 2 \| .*$", page.partition("### fashion-mnist")[0], re.MULTILINE)
    assert f"± {spread:.2g}" in row
    assert page.count("not measured yet") == 14 - 2
