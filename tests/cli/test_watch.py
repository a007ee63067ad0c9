"""`ganforge watch`: a run as another terminal sees it."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import PROGRAM, draw_images, environment, files_of, run, start
from PIL import Image

import ganforge
from ganforge.cli.main import main
from ganforge.cli.terminal_images import graphics, half_blocks
from ganforge.runs.folder import Run, is_held, locked
from ganforge.runs.state import best_score, state_of

SMALL = {"batch": 8, "latent_size": 4, "width": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    draw_images(folder / "images")
    ganforge.train(
        "dcgan", str(folder / "images"), run=folder / "a", quiet=True, steps=4, log_every=2, **SMALL
    )
    return folder


def test_a_finished_run_ends_at_once_and_nothing_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = files_of(place)
    monkeypatch.chdir(place)
    assert main(["watch", "a"]) == 0
    text = capfd.readouterr().out
    assert "dcgan on" in text
    assert "samples at step 4: a/samples/000004.png" in text
    assert "4/4" in text
    assert "D(real)" in text
    assert text.splitlines()[-1] == "a: finished at step 4 of 4: ganforge evaluate a"
    assert files_of(place) == before


@pytest.mark.slow
def test_a_run_is_followed_to_its_end(place: Path, tmp_path: Path) -> None:
    words = ["train", "dcgan", "--data", str(place / "images"), "--run", "r", "--steps", "100000"]
    small = ["--batch", "8", "--width", "4", "--latent-size", "4", "--log-every", "5", "--device", "cpu"]
    training = start(*words, *small, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "r/metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        watching = subprocess.Popen(
            [*PROGRAM, "watch", "r"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
        )
        time.sleep(3)
        assert watching.poll() is None
        assert state_of(Run.open(tmp_path / "r")).condition == "running"
        training.send_signal(signal.SIGINT)
        text = watching.communicate(timeout=60)[0]
    finally:
        training.communicate(timeout=60)
    assert watching.returncode == 0
    assert "stopped at step" in text
    assert "ganforge resume r" in text


@pytest.mark.slow
def test_ctrl_c_ends_watching_and_not_the_run(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "a", tmp_path / "a")
    with locked(tmp_path / "a"):
        watching = subprocess.Popen(
            [*PROGRAM, "watch", "a"], cwd=tmp_path, env=environment(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert watching.stdout
        assert "dcgan" in watching.stdout.readline()
        time.sleep(1)
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=30)
        assert (watching.returncode, errors) == (0, "")
        assert is_held(tmp_path / "a")


def test_mistakes(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(tmp_path / "none")]) == 2
    assert "is not a run folder" in capfd.readouterr().err
    shutil.copytree(place / "a", tmp_path / "a")
    (tmp_path / "a/report.html").unlink()
    assert main(["watch", str(tmp_path / "a"), "--open"]) == 2
    assert "has no report yet" in capfd.readouterr().err
    assert main(["watch", "pretrained:gan-cls-emoji"]) == 2
    assert "nothing trains in pretrained:gan-cls-emoji: `ganforge info" in capfd.readouterr().err


def test_watching_needs_no_torch(place: Path) -> None:
    code = "import sys\n"
    code += "from ganforge.cli.main import main\nmain(['watch', 'a'])\nassert 'torch' not in sys.modules"
    done = subprocess.run(
        [PROGRAM[0], "-c", code], cwd=place, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# --- state --------------------------------------------------------------------------------------------------


def state_with(place: Path, tmp_path: Path, lines: list[dict[str, object]]) -> tuple[str, int]:
    folder = tmp_path / "r"
    shutil.copytree(place / "a", folder, dirs_exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    state = state_of(Run.open(folder))
    return state.condition, state.step


def test_states(place: Path, tmp_path: Path) -> None:
    start, one = {"kind": "start", "step": 0}, {"kind": "train", "step": 1}
    nan = {"kind": "diagnosis", "step": 2, "signal": "nan", "text": "NaN"}
    failure, end = {"kind": "failure", "step": 1, "text": "OSError: x"}, {"kind": "end", "step": 4}
    again = {"kind": "start", "step": 1}
    assert state_with(place, tmp_path, []) == ("not started", 0)
    assert state_with(place, tmp_path, [start, one]) == ("stopped", 1)
    assert state_with(place, tmp_path, [start, one, failure]) == ("failed", 1)
    assert state_with(place, tmp_path, [start, one, nan]) == ("diverged", 1)
    assert state_with(place, tmp_path, [start, one, nan, failure]) == ("diverged", 1)
    assert state_with(place, tmp_path, [start, one, failure, again]) == ("stopped", 1)
    assert state_with(place, tmp_path, [start, one, nan, one]) == ("stopped", 1)  # rolled back
    assert state_with(place, tmp_path, [start, one, end]) == ("finished", 4)
    with locked(tmp_path / "r"):
        assert state_with(place, tmp_path, [start, one])[0] == "running"


def test_odd_lines_are_left_out(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    slow = {"kind": "train", "step": 2, "seconds_per_step": "slow", "images_per_second": None}
    scores = {"kind": "evaluation", "step": 2, "fid": 3.5, "note": "x", "protocol": "y", "best_so_far": True}
    odd: list[dict[str, object]] = [{}, {"kind": 3, "step": 1}, {"kind": "train"}]
    odd += [{"kind": "train", "step": "x"}, slow, scores]
    assert state_with(place, tmp_path, odd) == ("stopped", 2)
    assert main(["watch", str(tmp_path / "r")]) == 0
    assert "step 2: fid 3.5, the best so far" in capfd.readouterr().out


def test_a_training_that_fails_says_so_in_its_log(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganforge.training import loop

    monkeypatch.setattr(loop, "_save", lambda run, training: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ganforge.train("dcgan", str(place / "images"), run=tmp_path / "f", quiet=True, steps=4, **SMALL)
    state = state_of(Run.open(tmp_path / "f"))
    assert (state.condition, state.why) == ("failed", "ZeroDivisionError: division by zero")


def test_best_score(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "a", tmp_path / "a")
    run_ = Run.open(tmp_path / "a")
    assert best_score(run_) == ""
    scores = [
        {"name": "sampling_speed", "value": 1.0},
        {"name": "kid", "value": 2.5},
        {"name": "fid", "value": 31.25},
    ]
    (tmp_path / "a/evaluation.json").write_text(json.dumps(scores))
    assert best_score(run_) == "fid 31.25"
    (run_.best / "000003").mkdir(parents=True)
    (run_.best / "000003/state.json").write_text(json.dumps({"metric": "kid", "value": 1.5, "step": 3}))
    assert best_score(run_) == "kid 1.5"


# --- images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, "blocks"),
    ],
)
def test_terminals(monkeypatch: pytest.MonkeyPatch, names: dict[str, str], expected: str) -> None:
    for name in ("TERM", "TMUX", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert graphics() == expected


def test_half_blocks_have_the_colours_of_the_pixels() -> None:
    image = Image.new("RGB", (2, 2))
    for place_, colour in {(0, 0): (255, 0, 0), (1, 0): (0, 255, 0), (0, 1): (0, 0, 255)}.items():
        image.putpixel(place_, colour)
    text = half_blocks(image, 2, 1)
    assert text.plain == "▀▀"
    styles = [span.style for span in text.spans]
    assert [(s.color.triplet, s.bgcolor.triplet) for s in styles] == [  # type: ignore[union-attr]
        ((255, 0, 0), (0, 0, 255)), ((0, 255, 0), (0, 0, 0)),
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are of Unix")
def test_help_names_it(place: Path) -> None:
    assert "Follow a run" in run("watch", "--help", cwd=place).stdout
