"""Exact resume: killed, stopped or left alone, a run ends with the same bytes."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import draw_images, files_of, metrics_of, run, start

import ganforge
from ganforge.data.loader import Loader
from ganforge.errors import UserError
from ganforge.runs.checkpoint import load_checkpoint
from ganforge.systems.discovery import find
from ganforge.training import loop as engine
from ganforge.training.state import Training, load_state

STEPS = 40
OFTEN = {"steps": STEPS, "checkpoint_every": 10, "log_every": 7, "sample_every": 4}
SMALL: dict[str, dict[str, Any]] = {
    "gan": {"batch": 6, "latent_size": 4, "generator_hidden": (8,), "discriminator_hidden": (6,)},
    "dcgan": {"batch": 6, "latent_size": 4, "width": 4},
    "gaussian": {},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small images and, for each kind of run, its folder `KIND-whole`, never interrupted."""
    folder = tmp_path_factory.mktemp("resume")
    draw_images(folder / "images")
    return folder


def options_of(kind: str) -> dict[str, Any]:
    return OFTEN | SMALL[kind]


def command_of(kind: str, folder: str, **changes: Any) -> list[str]:
    system, data = ("gan", "gaussian") if kind == "gaussian" else (kind, "images")
    words = ["train", system, "--data", data, "--run", folder]
    for name, value in (options_of(kind) | changes).items():
        words.append(f"--{name.replace('_', '-')}")
        words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return words


def whole(place: Path, kind: str) -> Path:
    """The run that was never interrupted, made by the first test that needs it."""
    folder = place / f"{kind}-whole"
    if not folder.exists():
        done = run(*command_of(kind, folder.name), cwd=place)
        assert done.returncode == 0, done.stderr
    return folder


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def logged(folder: Path, step: int) -> Callable[[], bool]:
    """Whether a line of `step` has been logged."""
    file, mark = folder / "metrics.jsonl", f'"kind": "train", "step": {step},'.encode()
    return lambda: file.exists() and mark in file.read_bytes()


def assert_same(folder: Path, reference: Path, checkpoints: bool = True) -> None:
    if checkpoints:
        assert files_of(folder / "checkpoints") == files_of(reference / "checkpoints")
        assert len(list((folder / "checkpoints").iterdir())) == 2
    name = f"{STEPS:06d}"
    assert files_of(folder / "checkpoints" / name) == files_of(reference / "checkpoints" / name)
    assert len(files_of(folder / "checkpoints" / name)) == 6
    assert_same_images(folder, reference)
    assert metrics_of(folder) == metrics_of(reference)
    assert [line["step"] for line in metrics_of(folder)] == [7, 14, 21, 28, 35, 40]
    ends = [line["step"] for line in metrics_of(folder, "end")]  # one more for each stop by a signal
    assert ends.count(STEPS) == 1
    assert ends[-1] == STEPS


def assert_same_images(folder: Path, reference: Path) -> None:
    """Equal samples; the text chunk `run` is the folder's name, which is the only difference."""
    mine, theirs = files_of(folder / "samples"), files_of(reference / "samples")
    assert mine.keys() == theirs.keys()
    assert len(mine) == STEPS // 4 + 1
    for name in mine:
        assert mine[name] == theirs[name], name


def cut_short(reference: Path, folder: Path) -> Path:
    """A copy of the whole run in `folder`, as a kill after step 30 leaves it; samples name their run."""
    copy = folder / reference.name
    shutil.copytree(reference, copy)
    shutil.rmtree(copy / "checkpoints" / f"{STEPS:06d}")
    return copy


@pytest.mark.parametrize("kind", list(SMALL))
def test_resume_needs_only_the_folder_and_gives_the_same_bytes(
    place: Path, tmp_path: Path, kind: str
) -> None:
    """From another working directory than the run began in."""
    reference = whole(place, kind)
    folder = cut_short(reference, tmp_path)
    done = run("resume", folder.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(folder, reference)
    assert metrics_of(folder, "start")[-1]["command"] == f"ganforge resume {folder.name}"
    finished = run("resume", folder, cwd=place)
    assert finished.returncode == 0
    assert f"ganforge resume {folder} --steps {2 * STEPS}" in finished.stderr + finished.stdout
    assert_same(folder, reference)


def test_resume_from_python_is_the_command(place: Path, tmp_path: Path) -> None:
    reference = whole(place, "gaussian")
    folder = cut_short(reference, tmp_path)
    assert ganforge.resume(folder, quiet=True).step == STEPS
    assert metrics_of(folder) == metrics_of(reference)
    assert ganforge.resume(folder, steps=STEPS + 2, log_every=1, quiet=True).step == STEPS + 2
    assert [line["step"] for line in metrics_of(folder)][-2:] == [STEPS + 1, STEPS + 2]
    with pytest.raises(UserError, match=r"batch cannot change in a run: expected some of steps, device"):
        ganforge.resume(folder, batch=3)
    with pytest.raises(UserError, match=f"{STEPS + 2} steps done, 5 were requested"):
        ganforge.resume(folder, steps=5)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["nowhere"], "nowhere is not a run folder"),
        (["pretrained:srgan-photos"], "came with the package and stays as it is"),
        (
            ["gaussian-whole", "--learning-rate", "1"],
            "only the options of `ganforge resume --help` can change",
        ),
        (["gaussian-whole", "--keep-best", "kid"], "--keep-best kid needs evaluations"),
        (["gaussian-whole", "--steps", "0"], "--steps"),
    ],
)
def test_what_resume_rejects(place: Path, words: list[str], shown: str) -> None:
    whole(place, "gaussian")
    done = run("resume", *words, cwd=place)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert shown in line


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(SMALL))
def test_kill_9_and_the_same_command_give_the_same_bytes(place: Path, kind: str) -> None:
    reference = whole(place, kind)
    # The same name elsewhere, for samples name their run.
    elsewhere = place / f"{kind}-killed"
    elsewhere.mkdir()
    (elsewhere / "images").symlink_to(place / "images")
    command = command_of(kind, reference.name)
    folder = elsewhere / reference.name
    for step in (21, 28):  # between the checkpoints of 20 and 30, twice
        process = start(*command, cwd=elsewhere)
        try:
            wait_for(process, logged(folder, step))
            os.killpg(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (folder / f"checkpoints/{STEPS:06d}").exists(), "it was too late: nothing was interrupted"
    done = run(*command, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr
    assert_same(folder, reference)
    assert len(metrics_of(folder, "start")) >= 2
    assert not [path for path in folder.rglob("*") if ".tmp-" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number", "code"), [("gan", signal.SIGTERM, 143), ("dcgan", signal.SIGINT, 130)]
)
def test_a_signal_saves_within_a_step_and_the_same_command_goes_on(
    place: Path, kind: str, number: signal.Signals, code: int
) -> None:
    reference = whole(place, kind)
    elsewhere = place / f"{kind}-stopped"
    elsewhere.mkdir()
    (elsewhere / "images").symlink_to(place / "images")
    command = command_of(kind, reference.name)
    folder = elsewhere / reference.name
    process = start(*command, cwd=elsewhere)
    wait_for(process, logged(folder, 14))
    sent = time.monotonic()
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - sent < 5
    assert process.returncode == code, said
    (line,) = said.splitlines()
    found = re.fullmatch(r"stopped at step (\d+), everything is saved: the same command resumes.*", line)
    assert found, said
    step = int(found[1])
    assert 14 <= step < STEPS
    assert load_checkpoint(folder / f"checkpoints/{step:06d}").state["step"] == step
    assert max(int(path.name) for path in (folder / "checkpoints").iterdir()) == step
    assert (folder / "report.html").exists()
    done = run(*command, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert f"resuming {reference.name} at step {step}" in done.stderr
    assert_same(folder, reference, checkpoints=False)


# --- in this process ----------------------------------------------------------------------------------------


def train(place: Path, kind: str, folder: Path, **changes: Any) -> ganforge.Trained:
    system, data = ("gan", "gaussian") if kind == "gaussian" else (kind, str(place / "images"))
    return ganforge.train(system, data, run=folder, quiet=True, **(options_of(kind) | {"keep": 9} | changes))


@pytest.mark.parametrize("moment", ["_log", "_image", "_save"])
def test_a_signal_at_any_moment_of_a_step_is_saved(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Also while the step's line, image or checkpoint is being written."""
    at = {"_log": 21, "_image": 24, "_save": 20}[moment]
    plain = getattr(engine, moment)

    def signalled(run: Any, training: Any, *rest: Any) -> None:
        if training.step == at:
            os.kill(os.getpid(), signal.SIGTERM)
        plain(run, training, *rest)

    monkeypatch.setattr(engine, moment, signalled)
    with pytest.raises(engine.Stopped) as stopped:
        train(place, "gan", tmp_path / "r")
    assert stopped.value.exit_code == 143
    assert at <= stopped.value.step <= at + 1
    newest = max(int(path.name) for path in (tmp_path / "r/checkpoints").iterdir())
    assert newest == stopped.value.step
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_in_the_last_step_lets_the_run_end(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = engine._image

    def signalled(run: Any, training: Any, *rest: Any) -> None:
        if training.step == STEPS:
            os.kill(os.getpid(), signal.SIGTERM)
        plain(run, training, *rest)

    monkeypatch.setattr(engine, "_image", signalled)
    assert train(place, "gan", tmp_path / "r").step == STEPS
    assert len(metrics_of(tmp_path / "r", "end")) == 1


def _drop_system(training: Training, before: dict[str, Any]) -> None:
    training.system.load_state_dict(before["system"])


def _drop_average(training: Training, before: dict[str, Any]) -> None:
    training.average.load(before["average"])


def _drop_optimizer(name: str) -> Callable[[Training, dict[str, Any]], None]:
    def drop(training: Training, _: dict[str, Any]) -> None:
        training.optimizers[name].state.clear()

    return drop


def _drop_random(training: Training, _: dict[str, Any]) -> None:
    torch.manual_seed(0)


def _drop_meter(training: Training, _: dict[str, Any]) -> None:
    training.meter.reset()


def _drop_step(training: Training, _: dict[str, Any]) -> None:
    training.step = 0


def _drop_one_buffer(training: Training, before: dict[str, Any]) -> None:
    name = next(name for name in before["system"] if name.endswith("running_mean"))
    training.system.get_buffer(name).copy_(before["system"][name])


OMISSIONS: dict[str, Callable[..., None]] = {
    "system": _drop_system,
    "average": _drop_average,
    "optimizer of the discriminator": _drop_optimizer("discriminator"),
    "optimizer of the generator": _drop_optimizer("generator"),
    "random": _drop_random,
    "meter": _drop_meter,
    "step": _drop_step,
    "one buffer": _drop_one_buffer,
}


@pytest.fixture(scope="module")
def dcgan_run(place: Path) -> Path:
    """A whole run of DCGAN with all its checkpoints."""
    folder = place / "inside" / "r"
    train(place, "dcgan", folder)
    return folder


def resumed(place: Path, whole_run: Path, folder: Path) -> Path:
    """The run `whole_run` as a crash after step 20 would have left it, gone on with."""
    shutil.copytree(whole_run, folder)
    for step in (30, 40):
        shutil.rmtree(folder / f"checkpoints/{step:06d}")
    train(place, "dcgan", folder)
    return folder


def compared(folder: Path, whole_run: Path) -> list[str]:
    """Which parts of two run folders differ."""
    parts = ("checkpoints/000030", "checkpoints/000040", "samples")
    different = [part for part in parts if files_of(folder / part) != files_of(whole_run / part)]
    return different + (["metrics"] if metrics_of(folder) != metrics_of(whole_run) else [])


def test_resume_in_this_process_gives_the_same_bytes(place: Path, dcgan_run: Path, tmp_path: Path) -> None:
    assert compared(resumed(place, dcgan_run, tmp_path / "r"), dcgan_run) == []


@pytest.mark.parametrize("part", list(OMISSIONS))
def test_of_the_test_leaving_out_a_part_of_the_state_is_seen(
    place: Path, dcgan_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def forgetful(training: Training, checkpoint: Any) -> None:
        before = {
            "system": {name: tensor.clone() for name, tensor in training.system.state_dict().items()},
            "average": {name: tensor.clone() for name, tensor in training.average.state().items()},
        }
        load_state(training, checkpoint)
        OMISSIONS[part](training, before)

    monkeypatch.setattr(engine, "load_state", forgetful)
    different = compared(resumed(place, dcgan_run, tmp_path / "r"), dcgan_run)
    assert ("metrics" if part == "meter" else "checkpoints/000040") in different


def test_of_the_test_a_stream_that_starts_over_is_seen(
    place: Path, dcgan_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Loader.iterate
    monkeypatch.setattr(Loader, "iterate", lambda self, position: plain(self, 0))
    different = compared(resumed(place, dcgan_run, tmp_path / "r"), dcgan_run)
    assert "checkpoints/000040" in different


def test_another_seed_gives_other_bytes_and_the_same_seed_the_same(place: Path, tmp_path: Path) -> None:
    few = {"steps": 6, "checkpoint_every": 6}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(place, "gan", tmp_path / name / "r", seed=seed, **few)
    parts = [files_of(tmp_path / name / "r/checkpoints") for name in "abc"]
    assert parts[0] == parts[1]
    assert parts[0]["000006/system.safetensors"] != parts[2]["000006/system.safetensors"]


def test_a_damaged_newest_checkpoint_is_passed_over_by_the_command(
    place: Path, dcgan_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(dcgan_run, tmp_path / "r")
    file = tmp_path / "r/checkpoints/000040/system.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    train(place, "dcgan", tmp_path / "r")
    assert compared(tmp_path / "r", dcgan_run) == []
    (note,) = metrics_of(tmp_path / "r", "note")
    assert "000040 is damaged in system.safetensors" in note["text"]


# --- divergence ---------------------------------------------------------------------------------------------


def assert_all_finite(folder: Path) -> int:
    """How many checkpoints there are, all of them finite."""
    checkpoints = list((folder / "checkpoints").glob("*"))
    for path in checkpoints:
        for named in load_checkpoint(path).tensors.values():
            for name, tensor in named.items():
                assert torch.isfinite(tensor.double()).all(), (path, name)
    return len(checkpoints)


@pytest.mark.parametrize("rate", [1e30, 3e38])
def test_a_loss_that_becomes_nan_stops_the_run(place: Path, tmp_path: Path, rate: float) -> None:
    with pytest.raises(UserError, match=r"(_loss|generator|discriminator).* became .* by step \d+") as caught:
        train(place, "gan", tmp_path / "r", learning_rate=rate, checkpoint_every=1, log_every=1)
    assert "\n" not in str(caught.value)
    assert_all_finite(tmp_path / "r")
    last = max(line["step"] for line in metrics_of(tmp_path / "r"))
    step = int(re.findall(r"by step (\d+)", str(caught.value))[0])
    assert last <= step <= last + 1


def test_an_update_that_breaks_the_weights_is_never_committed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of step 20 is finite; its update is not: the checkpoint of step 20 must not be written."""
    plain = find("gan").train_step

    def broken(self: Any, batch: Any, update: Any) -> Any:
        values = plain(self, batch, update)
        self.steps_done = getattr(self, "steps_done", 0) + 1
        if self.steps_done == 20:
            with torch.no_grad():
                next(self.generator.parameters()).view(-1)[0] = float("nan")
        return values

    monkeypatch.setattr(find("gan"), "train_step", broken)
    with pytest.raises(UserError, match=r"generator\S* became infinite or NaN by step 20"):
        train(place, "gan", tmp_path / "r")
    assert assert_all_finite(tmp_path / "r") == 1
    assert (tmp_path / "r/checkpoints/000010").is_dir()


@pytest.mark.slow
def test_the_command_says_that_it_diverged(place: Path) -> None:
    done = run(*command_of("gan", "diverged", learning_rate=1e30), cwd=place)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.match(r"error: \w+_loss became (nan|inf|-inf) by step \d+: ", line)
    lines = [json.loads(text) for text in (place / "diverged/metrics.jsonl").read_text().splitlines()]
    assert any(text["kind"] == "note" and "became" in text["text"] for text in lines)
    assert_all_finite(place / "diverged")


def test_a_run_that_fails_before_its_first_step_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("out of memory")

    plain = Training.advance
    monkeypatch.setattr(Training, "advance", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(place, "gan", tmp_path / "r", seed=3)
    assert not (tmp_path / "r").exists()
    monkeypatch.setattr(Training, "advance", plain)
    train(place, "gan", tmp_path / "r", steps=1)
