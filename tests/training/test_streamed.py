"""Trainings on tar shards: resumed exactly, and the same in two processes."""

import json
from pathlib import Path

import pytest
from command import draw_images, files_of, run
from launched import together

import ganforge
from ganforge.data.options import DataOptions
from ganforge.data.pack_shards import pack_shards

OPTIONS = ["--width", "4", "--batch", "8", "--device", "cpu", "--precision", "fp32", "--log-every", "2"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("streamed")
    pack_shards(DataOptions(data=str(draw_images(place))), place / "packed", 12_000)
    return place / "packed"


def test_a_training_on_shards_resumes_exactly(packed: Path, tmp_path: Path) -> None:
    settings = {"width": 4, "batch": 8, "device": "cpu", "precision": "fp32", "quiet": True}
    ganforge.train("dcgan", f"wds:{packed}", run=tmp_path / "whole/run", steps=9, **settings)
    ganforge.train("dcgan", f"wds:{packed}", run=tmp_path / "run", steps=4, **settings)
    ganforge.resume(tmp_path / "run", steps=9, quiet=True)
    last = "checkpoints/000009"
    assert files_of(tmp_path / "run" / last) == files_of(tmp_path / "whole/run" / last)


def test_shards_that_moved_are_found(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/shards").symlink_to(packed)
    words = ["train", "dcgan", "--data", "wds:shards", "--run", "run", *OPTIONS]
    assert run(*words, "--steps", 2, cwd=tmp_path / "a").returncode == 0
    (tmp_path / "a").rename(tmp_path / "b")
    done = run("resume", "b/run", "--steps", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_train_on_shards_as_one(packed: Path, tmp_path: Path) -> None:
    words = ["train", "dcgan", "--data", f"wds:{packed}", "--steps", 8, *OPTIONS]
    assert run(*words, "--run", "alone", cwd=tmp_path).returncode == 0
    done = together(*words, "--run", "both", cwd=tmp_path)
    assert [code for code, _, _ in done] == [0, 0], done
    found = {}
    for name in ("alone", "both"):
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text("utf-8").splitlines())
        found[name] = [line["discriminator_loss"] for line in lines if line["kind"] == "train"]
    assert len(found["alone"]) == 4
    assert found["both"] == pytest.approx(found["alone"], rel=1e-4)


def test_the_command_packs_checks_and_refuses(packed: Path, tmp_path: Path) -> None:
    done = run("data", "pack", f"wds:{packed}", "again", "--shards", "20KB", cwd=tmp_path)
    assert done.returncode == 0
    assert "shards; train with --data wds:again" in done.stdout
    checked = run("data", "check", "wds:again", cwd=tmp_path)
    assert "ready to train" in checked.stdout
    refused = run("data", "pack", f"wds:{packed}", "more", "--shards", "lots", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "error: --shards lots: expected a size such as 256MB\n"
    (tmp_path / "again" / "train-000000.tar").unlink()
    checked = run("data", "check", "wds:again", cwd=tmp_path)
    assert checked.returncode == 1
    assert "train-000000.tar (missing)" in checked.stdout
