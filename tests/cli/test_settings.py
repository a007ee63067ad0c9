"""`ganforge train --config FILE` and `--like RUN`: options from elsewhere, below those that are typed."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import draw_images

from ganforge.cli.main import main

FLAT = """
system = "dcgan"
data = "pictures"
run = "first"
steps = 2
batch = 8
width = 4
flip = true
device = "cpu"
learning-rate = 0.0003
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw_images(tmp_path / "pictures", count=60, side=8)
    draw_images(tmp_path / "others", count=60, side=16)
    (tmp_path / "run.toml").write_text(FLAT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(run: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(run, "config.json").read_text("utf-8"))
    return loaded


def test_a_file_gives_what_is_not_typed(place: Path) -> None:
    assert main(["train", "--config", "run.toml"]) == 0
    first = config_of("first")
    assert (first["system"], first["data"]["flip"], first["config"]["learning_rate"]) == ("dcgan", True, 3e-4)
    assert main(["train", "--config=run.toml", "--run", "typed", "--steps", "3", "--no-flip"]) == 0
    typed = config_of("typed")
    assert (typed["config"]["steps"], typed["data"]["flip"], typed["config"]["width"]) == (3, False, 4)
    assert main(["train", "lsgan", "--config", "run.toml", "--run", "other"]) == 0
    assert config_of("other")["system"] == "lsgan"


def test_the_config_of_a_run_makes_the_same_run(place: Path) -> None:
    assert main(["train", "--config", "run.toml"]) == 0
    Path("flat.json").write_text(json.dumps({"system": "dcgan", "data": "pictures", "size": 8}), "utf-8")
    assert main(["train", "--config", "first/config.json", "--run", "second"]) == 0
    assert main(["train", "--like", "first", "--run", "third"]) == 0
    assert config_of("first") == config_of("second") == config_of("third")
    assert main(["train", "--config", "flat.json", "--steps", "2", "--dry-run"]) == 0


def test_like_a_run_on_other_data(place: Path) -> None:
    """What was typed stays; what the first data suggested is suggested anew."""
    words = [
        "train",
        "dcgan",
        "--data",
        "pictures",
        "--run",
        "first",
        "--steps",
        "2",
        "--batch",
        "8",
        "--device",
        "cpu",
    ]
    assert main([*words, "--width", "4", "--beta1", "0.4"]) == 0
    assert main(["train", "--like", "first", "--data", "others", "--run", "second", "--seed", "5"]) == 0
    first, second = config_of("first"), config_of("second")
    assert second["config"] == first["config"]
    assert (second["spec"]["height"], second["train"]["seed"]) == (16, 5)
    assert second["config"]["beta1"] == 0.4


@pytest.mark.parametrize(
    ("content", "name", "line"),
    [
        ('system = "dcgan"\nstepz = 3', "a.toml", "unknown option stepz: did you mean steps?"),
        ('system = "dcgan"\nsteps = "many"', "a.toml", "--steps: input should be a valid integer"),
        ('data = "pictures"\nflip = 3.5', "a.toml", "--flip"),
        ('system = "dkgan"', "a.toml", "did you mean dcgan"),
        ("system = [", "a.toml", "is not TOML"),
        ("{", "a.json", "is not JSON"),
        ("[1]", "a.json", "expected options by name"),
        ('{"system": 7}', "a.json", "system is 7: expected text"),
        ('{"data": {"data": "pictures"}, "tra1n": {}}', "a.json", "did you mean train?"),
        ('{"system": "evil_module:System", "data": "pictures"}', "a.json", "not imported unasked"),
    ],
)
def test_a_bad_file_is_one_line(
    place: Path, content: str, name: str, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_text(content, encoding="utf-8")
    assert main(["train", "--config", name, "--run", "bad"]) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert line in error
    assert not Path("bad").exists()


def test_other_mistakes(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words, line in {
        ("--config", "absent.json"): "cannot be read: No such file",
        ("--like", "absent"): "is not a run folder",
        ("--like",): "expected a run folder",
        ("--like", "a", "--config", "b"): "leave one of them out",
    }.items():
        assert main(["train", *words]) == 2
        assert line in capfd.readouterr().err
