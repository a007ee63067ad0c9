"""Signals at any moment, disks that are full and terminals without characters: one line, and nothing lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import forged
import pytest
from command import environment, files_of

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.files.atomic import replace_file
from ganforge.training import loop, signals

WORDS = ["train", "gan", "--data", "ring", "--steps", "200000", "--batch", "4", "--latent-size", "4",
         "--run", "r",
         "--generator-hidden", "8", "--discriminator-hidden", "6", "--device", "cpu"]  # fmt: skip
SMALL: dict[str, Any] = {"latent_size": 4, "generator_hidden": (8,), "discriminator_hidden": (6,), "batch": 4}
QUIET: dict[str, Any] = {"device": "cpu", "precision": "fp32", "quiet": True}


def started(folder: Path, *before: str, **changes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-m", "ganforge", *WORDS],
        cwd=folder, env=environment(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str, float]:
    """The exit code, what was said and the seconds that a process takes to end after a signal."""
    sent = time.monotonic()
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said, time.monotonic() - sent


def scontrol(folder: Path) -> dict[str, str]:
    """A stand-in for Slurm's program, which notes what it is asked."""
    program = folder / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/queue\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}


@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_ctrl_c_while_modules_are_imported_is_no_traceback(tmp_path: Path, seconds: float) -> None:
    process = started(tmp_path)
    time.sleep(seconds)
    code, said, took = ended(process, signal.SIGINT)
    assert code in (-signal.SIGINT, 130), said
    assert "Traceback" not in said
    assert took < 5
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_usr1_saves_and_requeues_once_at_any_moment(tmp_path: Path) -> None:
    changes = scontrol(tmp_path)
    process = started(tmp_path, **changes)
    time.sleep(1.0)
    code, said, _ = ended(process, signal.SIGUSR1)
    assert code == 138, said
    assert "Traceback" not in said
    assert (tmp_path / "queue").read_text() == "requeue 17\n"
    process = started(tmp_path, **changes)
    deadline = time.monotonic() + 60
    while not (tmp_path / "r/metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    code, said, took = ended(process, signal.SIGUSR1)
    assert code == 138, said
    assert took < 5
    assert "job 17 is requeued" in said
    assert (tmp_path / "queue").read_text() == "requeue 17\n" * 2


@pytest.mark.slow
def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    process = started(tmp_path, "sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    deadline = time.monotonic() + 60
    while not (tmp_path / "r/metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    assert ended(process, signal.SIGTERM)[0] == 143


@pytest.mark.parametrize("moment", ["build_training", "open_or_create", "start_line_of", "_image"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_between_start_and_loop_ends_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: int
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("PATH", scontrol(tmp_path)["PATH"])
    plain = getattr(loop, moment)

    def signalled(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), number)
        return plain(*arguments, **named)

    monkeypatch.setattr(loop, moment, signalled)
    with pytest.raises(loop.Stopped) as stopped:
        ganforge.train("gan", "ring", run=tmp_path / "r", steps=3, **SMALL, **QUIET)
    assert stopped.value.exit_code == 128 + number
    assert stopped.value.step == (0 if moment in ("build_training", "open_or_create") else 1)
    if number == signal.SIGUSR1:
        assert (tmp_path / "queue").read_text() == "requeue 17\n"
        assert "job 17 is requeued" in str(stopped.value)
    monkeypatch.setattr(loop, moment, plain)
    ganforge.train("gan", "ring", run=tmp_path / "r", steps=3, **SMALL, **QUIET)
    monkeypatch.undo()
    ganforge.train("gan", "ring", run=tmp_path / "whole/r", steps=3, **SMALL, **QUIET)
    assert files_of(tmp_path / "r/checkpoints/000003") == files_of(tmp_path / "whole/r/checkpoints/000003")


def test_requeueing_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert signals.requeue() == ""
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert signals.requeue() == "job 17 is not requeued: no scontrol here"
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho no such job >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    assert signals.requeue() == "job 17 is not requeued: no such job"
    (tmp_path / "scontrol").write_text("")
    assert "job 17 is not requeued: " in signals.requeue()


def test_a_training_that_skips_most_of_its_steps_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganforge.systems.gan import GAN

    plain, calls = GAN.train_step, []

    def broken(self: Any, batch: Any, update: Any) -> Any:
        calls.append(1)
        if len(calls) % 5:
            batch.images[:] = float("nan")
        return plain(self, batch, update)

    monkeypatch.setattr(GAN, "train_step", broken)
    with pytest.raises(
        UserError, match=r"8 of 10 updates of the \w+ .* skipped: the run is saved, but hardly"
    ):
        ganforge.train("gan", "ring", run=tmp_path / "r", steps=10, on_nan="skip", **SMALL, **QUIET)
    assert ganforge.load(tmp_path / "r").step == 10


def test_an_ascii_terminal_gets_numbers_of_characters(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "\N{GRINNING FACE}"
    ganforge.train("gan", "ring", run=run, steps=1, **SMALL, **QUIET)
    for words in (["list", "runs"], ["sample", str(run), "--count", "1", "--out", "\N{GRINNING FACE}.png"]):
        done = subprocess.run(
            [sys.executable, "-m", "ganforge", *words],
            cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii"), capture_output=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert b"\\U0001f600" in done.stdout


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_scores_are_printed_where_they_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    ganforge.train("gan", "ring", run="r", steps=1, **SMALL, **QUIET)
    before = files_of(tmp_path / "r")

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match=rf"cannot write r.*: {os.strerror(code)}: not all is stored"):
        assert main(["evaluate", "r", "--num-samples", "100", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)
    assert files_of(tmp_path / "r") == before


def test_a_full_disk_names_the_file_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ganforge.train("gan", "ring", run="r", steps=1, **SMALL, **QUIET)
    capfd.readouterr()
    (tmp_path / "old").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="old"):
        replace_file(tmp_path / "old", b"new")
    assert (tmp_path / "old").read_bytes() == b"old"
    assert main(["sample", "r", "--out", "x.png"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "error: --out x.png: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "r"]
    assert forged.checkpoint_of(tmp_path / "r").name == "000001"
