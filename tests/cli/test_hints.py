"""The names that other programs have for options, and a first command without a system."""

from pathlib import Path

import pytest
from command import draw_images

import ganforge
from ganforge.cli.main import main
from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.systems.discovery import suggest_system

TRAIN = ["train", "dcgan", "--data", "mnist"]
HINTS = [
    ([*TRAIN, "--lr", "0.001"], "--lr: did you mean --learning-rate?"),
    ([*TRAIN, "--lr=0.001"], "--lr: did you mean --learning-rate?"),
    ([*TRAIN, "--batch-size", "64"], "--batch-size: did you mean --batch?"),
    ([*TRAIN, "--batch_size", "64"], "did you mean --batch?"),
    ([*TRAIN, "-b", "64"], "-b: did you mean --batch?"),
    ([*TRAIN, "--epochs", "5"], "training is counted in steps, and an epoch is as many as there are images"),
    ([*TRAIN, "--epochs", "5"], "type --steps"),
    ([*TRAIN, "--num-steps", "5"], "--num-steps: did you mean --steps?"),
    ([*TRAIN, "--gpu", "0"], "--gpu: did you mean --device?"),
    ([*TRAIN, "--workers", "4"], "none is needed"),
    ([*TRAIN, "--img-size", "64"], "--img-size: did you mean --size?"),
    ([*TRAIN, "--output", "x"], "--output: did you mean --run?"),
    ([*TRAIN, "--resume"], "the same command resumes"),
    ([*TRAIN, "--resume-from", "runs/a"], "did you mean --from?"),
    ([*TRAIN, "--lr", "1", "--epochs", "2"], "--epochs: training is counted in steps"),
    (["train", "dcgan", "--dataset", "mnist"], "--dataset: did you mean --data?"),
    (["sample", "runs/a", "--output", "x.png"], "--output: did you mean --out?"),
    (["sample", "runs/a", "--num-samples", "3"], "--num-samples: did you mean --count?"),
    (["evaluate", "runs/a", "--num-images", "3"], "--num-images: did you mean --num-samples?"),
    ([*TRAIN, "--frobnicate"], "--frobnicate: there is nothing like it (ganforge train dcgan --help)"),
    ([*TRAIN, "more"], "unexpected 'more'"),
]


@pytest.mark.parametrize(("words", "hint"), HINTS, ids=[" ".join(words) for words, _ in HINTS])
def test_hints(words: list[str], hint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert hint in line
    assert "full helptext" not in line


def test_python_has_the_same_hints() -> None:
    for wrong, right in {"lr": "learning_rate", "batch_size": "batch", "num_epochs": "steps"}.items():
        with pytest.raises(UserError, match=rf"unknown option {wrong}: .*\b{right}\b"):
            ganforge.train("dcgan", "mnist", **{wrong: 1})


def test_the_suggested_system_suits_the_data() -> None:
    images = DataSpec(channels=3, height=32, width=32, num_images=99)
    assert suggest_system(images)[0] == "dcgan"
    assert suggest_system(images, "cuda")[0] == "r3gan"
    assert suggest_system(images.model_copy(update={"source_shape": (1, 32, 32)}))[0] == "pix2pix"
    assert suggest_system(images.model_copy(update={"source_shape": (3, 8, 8)}))[0] == "srresnet"
    points = DataSpec(channels=2, height=1, width=1, num_images=9, values="points")
    assert suggest_system(points)[0] == "gan"
    with pytest.raises(UserError, match="1 training image: expected 50 or more"):
        suggest_system(images.model_copy(update={"num_images": 1}))


def test_train_without_a_system_chooses_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "my images", count=60)
    small = ["--steps", "2", "--width", "8", "--batch", "8"]
    assert main(["train", "my images", *small]) == 0
    assert "dcgan for this data: " in capfd.readouterr().err
    assert main(["train", "--data", "my images", *small, "--dry-run"]) == 0
    shown = capfd.readouterr().out
    assert "run folder: runs/dcgan-my images (exists: would resume)" in shown
    assert main(["train", "my images", "--pairs", "edges", "--dry-run", "--width", "8"]) == 0
    assert "chosen: pix2pix for this data: " in capfd.readouterr().out
    new = ["--run", "new", "--minutes", "0.2"]
    assert main(["train", "my images", *new, "--dry-run", "--width", "8", "--batch", "8"]) == 0
    assert "chosen: 0.2 minutes on this CPU: 8x8, width 8, " in capfd.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["train", "my images", "--help"])
    assert ended.value.code == 0
    assert "Radford" in capfd.readouterr().out


def test_train_without_data_says_what_to_type(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    draw_images(tmp_path / "few", count=5)
    for words, shown in {
        ("--steps", "5"): "expected data: ganforge train my_images",
        ("--data", "nowhere"): "nowhere",
        ("nowhere",): "unknown system or data 'nowhere'",
        ("mnst",): "did you mean mnist",
        (str(tmp_path / "few"),): "5 training images: expected 50 or more",
        ("hf:",): "hf:",
    }.items():
        assert main(["train", *words]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert shown in line


def test_dry_run_says_cost_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    words = "train r3gan --data images --dry-run --steps 5000000000 --width 8 --batch 8 --device cpu"
    assert main(words.split()) == 0
    captured = capfd.readouterr()
    lines = captured.out.splitlines()
    assert lines[1].startswith("5,000,000,000 steps take about ")
    assert "years on this CPU" in lines[1] or "days" in lines[1]
    reason = next(index for index, line in enumerate(lines) if line.startswith("chosen for this data"))
    assert reason < lines.index("{")
    assert "measuring a few steps" in captured.err
