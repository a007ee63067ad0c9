"""`docs/results.md` is what the stored results give."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "results.py"


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
