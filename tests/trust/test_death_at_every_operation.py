"""Killed at any file operation of a start or a save, the same command ends with the same bytes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import deaths
import pytest
from captioned import draw_captioned
from command import environment, files_of, metrics_of

import ganforge

TINY = {"batch": 4, "device": "cpu", "precision": "fp32", "quiet": True}
EVERY = ["--steps", "2", "--checkpoint-every", "1", "--sample-every", "1", "--log-every", "1", "--keep", "1"]
ALL = [*EVERY, "--batch", "4", "--device", "cpu", "--precision", "fp32", "--run", "r"]
NETWORKS = ["--latent-size", "4", "--width", "4", "--discriminator-width", "4", "--text-size", "4"]
POINTS = ["train", "gan", "--data", "ring", "--latent-size", "4"]
POINTS += ["--generator-hidden", "8", "--discriminator-hidden", "6"]
COMMANDS: dict[str, list[str]] = {
    "points": POINTS,
    "from": [*POINTS, "--from", "../parent"],
    "encoder": [
        "train",
        "gan_cls",
        "--data",
        "../data",
        "--text-encoder",
        "../encoder_run",
        "--size",
        "16",
        *NETWORKS,
    ],
}
STRIDES = {"points": 5, "from": 23, "encoder": 29}
"""In `make test` every fifth operation or fewer; `pytest -m soak` takes all."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deaths")
    small: dict[str, object] = {"latent_size": 4, "generator_hidden": (8,), "discriminator_hidden": (6,)}
    ganforge.train("gan", "ring", run=folder / "parent", steps=1, seed=5, **small, **TINY)
    draw_captioned(folder / "data")
    small = {"size": 16, "width": 4, "embedding_size": 8}
    ganforge.train("text_encoder", str(folder / "data"), run=folder / "encoder_run", steps=1, **small, **TINY)
    return folder


def die(place: Path, folder: Path, kind: str, first: int, stride: int) -> None:
    """Run the command of `kind` with a death at every `stride`-th operation, and compare what stays."""
    for name in ("parent", "data", "encoder_run"):
        (folder / name).symlink_to(place / name)
    words = [sys.executable, deaths.__file__, str(first), str(stride), *COMMANDS[kind], *ALL]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["failed"] == {}
    assert result["total"] > 60
    whole = contents(folder / "whole" / "r")
    for number in range(first, result["total"] + 1, stride):
        assert contents(folder / str(number) / "r") == whole, number
    shutil.rmtree(folder)


def contents(run: Path) -> dict[str, object]:
    """All that a run is, without times; what a death leaves of a report is not of the run."""
    files = {name: data for name, data in files_of(run).items() if not name.startswith("report.html")}
    files.pop("metrics.jsonl")
    recorded = {kind: metrics_of(run, kind) for kind in ("train", "samples", "note")}
    return {**files, **recorded, "ends": [line["step"] for line in metrics_of(run, "end")][-1:]}


@pytest.mark.parametrize("kind", COMMANDS)
def test_death_at_operations_of_start_and_save(place: Path, tmp_path: Path, kind: str) -> None:
    die(place, tmp_path, kind, 1, STRIDES[kind])


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", COMMANDS)
def test_death_at_every_operation(place: Path, tmp_path: Path, kind: str) -> None:
    die(place, tmp_path, kind, 1, 1)
