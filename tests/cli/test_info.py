"""`ganforge info`: of what ganforge wrote, of other files, and of runs."""

import json
from pathlib import Path

import pytest
from PIL import Image

import ganforge
from ganforge.cli.info import abilities
from ganforge.cli.main import main
from ganforge.systems.discovery import find


def test_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    ganforge.train("dcgan", "mnist", run="runs/a", steps=1, batch=4, width=4, quiet=True)
    for out in ("a.png", "a.webp", "a.npz"):
        assert main(["sample", "runs/a", "--count", "2", "--seed", "5", "--out", out]) == 0
        capsys.readouterr()
        assert main(["info", out]) == 0
        shown = capsys.readouterr().out
        assert "seed     5" in shown
        assert shown.endswith(f"to make it again: ganforge sample runs/a --count 2 --seed 5 --out {out}\n")
    assert main(["info", "runs/a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == "1 of 1"
    assert main(["info", "runs/a"]) == 0
    shown = capsys.readouterr().out
    assert "steps    1 of 1" in shown
    assert "can      sample, explore, analyze features" in shown
    assert main(["info", "pretrained:srgan-photos"]) == 0
    assert "can     sample, apply" in capsys.readouterr().out


def test_info_of_what_is_no_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "other.png")
    for path, shown in {"other.png": "carries no origin", "nowhere": "is not a run folder"}.items():
        assert main(["info", str(tmp_path / path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert shown in line


def test_abilities() -> None:
    assert abilities(find("vae"))[:3] == ["sample", "explore", "explore reconstructions"]
    assert "explore completions" in abilities(find("pixelcnn"))
    assert "explore" not in abilities(find("pixelcnn"))
    assert "analyze outliers" in abilities(find("dcgan"))
    assert abilities(find("vae")).count("analyze outliers") == 1
