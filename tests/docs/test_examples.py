"""The examples run, with small numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command import draw_images, environment, run
from documents import ROOT, read
from PIL import Image

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


def test_batch_job(tmp_path: Path) -> None:
    """As a job of Slurm: at SIGUSR1 it saves a checkpoint and calls scontrol once."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >> queue\n')
    program.chmod(0o755)
    surroundings = environment() | {"SLURM_JOB_ID": "17"}
    surroundings["PATH"] = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = ["bash", EXAMPLES / "train.sbatch", "gan", "--data", "ring", "--run", "r", "--steps"]
    job = subprocess.Popen([*words, "1000000"], cwd=tmp_path, env=surroundings, stdout=subprocess.PIPE)
    while not (tmp_path / "r" / "metrics.jsonl").is_file():
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=120)
    assert job.returncode == 138
    assert (tmp_path / "queue").read_text() == "requeue 17\n"
    assert list((tmp_path / "r" / "checkpoints").glob("[0-9]*")), "the next job resumes from it"


def test_onnx_sample(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    exported = run("export", "onnx", "pretrained:digits-dcgan", "digits", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    said = run_example("onnx_sample.py", "digits", "--count", "3", cwd=tmp_path)
    assert said == "samples.png: 3 samples\n"
    with Image.open(tmp_path / "samples.png") as image:
        assert image.size == (84, 28)
        assert image.getextrema() == (0, 255)  # black paper and white strokes


def test_gradio_demo(tmp_path: Path) -> None:
    """Only where gradio is installed, which the development environment leaves out: it is 300 MB."""
    pytest.importorskip("gradio")
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import gradio_demo; "
        "drawn = gradio_demo.page('pretrained:gan-cls-emoji').fn(3, 5, 'red apple'); "
        "print(len(drawn), drawn[0].size)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.stdout == "3 (64, 64)\n", done.stderr


def test_own_system(tmp_path: Path) -> None:
    said = run_example("own_system.py", "--steps", "2", cwd=tmp_path)
    assert "frechet_distance" in said


@pytest.mark.parametrize(
    ("name", "smaller", "steps"),
    [
        ("first_steps.ipynb", {"STEPS = 1_500": "STEPS = 2", "STEPS + 500": "STEPS + 1"}, 3),
        ("explore_and_export.ipynb", {"STEPS = 1_500": "STEPS = 2", "steps=50": "steps=2"}, 2),
    ],
)
def test_notebook(
    name: str, smaller: dict[str, str], steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form of nbformat 4.5, and its code, cell after cell."""
    notebook = json.loads(read(EXAMPLES / name))
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
    for long, short in smaller.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    exec(compile(code, name, "exec"), names)  # the notebook is ours
    assert names["trained"].step == steps
