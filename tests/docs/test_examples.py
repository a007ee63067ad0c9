"""The examples run, with small numbers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import draw_images, environment
from documents import ROOT, read

EXAMPLES = ROOT / "examples"


def run_example(name: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_own_images(tmp_path: Path) -> None:
    draw_images(tmp_path / "images", side=16)
    options = ["--size", "16", "--steps", "2", "--width", "4"]
    said = run_example("train_own_images.py", "images", *options, cwd=tmp_path)
    assert said.startswith("2 steps")
    assert (tmp_path / "runs" / "own-images" / "grid.png").is_file()


@pytest.mark.slow
def test_evaluate_and_compare(tmp_path: Path) -> None:
    options = ["--data", "ring", "--steps", "2", "--samples", "200"]
    said = run_example("evaluate_and_compare.py", *options, cwd=tmp_path)
    assert said.splitlines()[0].split() == ["score", "gan", "dcgan"]
    assert "frechet_distance" in said


def test_own_system(tmp_path: Path) -> None:
    said = run_example("own_system.py", "--steps", "2", cwd=tmp_path)
    assert "frechet_distance" in said


def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of nbformat 4.5, and its code, cell after cell."""
    notebook = json.loads(read(EXAMPLES / "first_steps.ipynb"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert {"cells", "metadata", "nbformat", "nbformat_minor"} == notebook.keys()
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        extra = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | extra
        assert all(line.endswith("\n") for line in cell["source"][:-1])
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code"), (
        "stored without outputs"
    )
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    small = code.replace("STEPS = 1_500", "STEPS = 2").replace("STEPS + 500", "STEPS + 1")
    assert small.count("STEPS = 2") == small.count("STEPS + 1") == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    exec(compile(small, "first_steps.ipynb", "exec"), names)  # the notebook is ours
    assert names["trained"].step == 3
