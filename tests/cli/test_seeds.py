"""`ganforge train --seeds`: runs next to each other, each as its own command would train it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import files_of, metrics_of, run, start

from ganforge.cli.main import main
from ganforge.cli.seeds import typed_seeds
from ganforge.errors import UserError

SMALL = ["--batch", "4", "--latent-size", "4", "--generator-hidden", "8", "--discriminator-hidden", "6",
         "--device", "cpu", "--precision", "fp32"]  # fmt: skip
GAN = ["train", "gan", "--data", "ring", *SMALL]


def weights(folder: Path) -> dict[str, bytes]:
    return {
        name: data for name, data in files_of(folder / "checkpoints").items() if name.endswith(".safetensors")
    }


def test_each_seed_is_the_run_of_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*GAN, "--steps", "4", "--seeds", "3,5-6"]) == 0
    folder = tmp_path / "runs" / "gan-ring-seeds"
    assert sorted(path.name for path in folder.iterdir()) == ["seed-3", "seed-5", "seed-6"]
    assert main([*GAN, "--steps", "4", "--seed", "5", "--run", "alone"]) == 0
    assert weights(folder / "seed-5") == weights(tmp_path / "alone")
    assert weights(folder / "seed-3") != weights(folder / "seed-5")
    (begun,) = metrics_of(folder / "seed-6", "start")
    expected = " ".join(
        ["ganforge", *GAN, "--steps", "4", "--seed", "6", "--run", f"{Path('runs/gan-ring-seeds/seed-6')}"]
    )
    assert begun["command"] == expected


def test_finished_seeds_are_skipped_and_the_others_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*GAN, "--steps", "4", "--seed", "0", "--run", "r/seed-0"]) == 0
    assert main([*GAN, "--steps", "2", "--seed", "1", "--run", "r/seed-1"]) == 0
    done = weights(tmp_path / "r" / "seed-0")
    capsys.readouterr()
    assert main([*GAN, "--steps", "4", "--seeds", "0,1,2", "--run", "r"]) == 0
    printed = capsys.readouterr()
    assert "r/seed-0 has its 4 steps done already" in printed.out + printed.err
    assert "r/seed-*: 3 of 3 seeds done" in printed.out
    assert weights(tmp_path / "r" / "seed-0") == done
    assert len(metrics_of(tmp_path / "r" / "seed-1", "start")) == 2
    assert main([*GAN, "--steps", "4", "--seed", "1", "--run", "whole"]) == 0
    newest = {
        name: data for name, data in weights(tmp_path / "r" / "seed-1").items() if name.startswith("000004")
    }
    assert newest
    assert newest.items() <= weights(tmp_path / "whole").items()


def test_other_options_do_not_mix_with_the_runs_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*GAN, "--steps", "2", "--seeds", "0,1"]) == 0
    capsys.readouterr()
    assert main([*GAN, "--steps", "2", "--seeds", "0,1", "--learning-rate", "0.5"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {Path('runs/gan-ring-seeds/seed-0')} holds another run: --learning-rate")


def test_a_seed_that_diverges_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*GAN, "--steps", "60", "--seeds", "0,1", "--learning-rate", "1e30"]) == 1
    printed = capsys.readouterr()
    assert "seed 0: generator_loss became" in printed.err
    assert "seed 1: generator_loss became" in printed.err
    assert "0 of 2 seeds done" in printed.out


def test_a_dry_run_shows_one_seed_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*GAN, "--steps", "2", "--seeds", "4,5", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert f"run folder: {Path('runs/gan-ring-seeds/seed-4')}" in printed
    assert "that is seed 4, of 2" in printed
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0,1,0"], "--seeds 0,1,0: 0 is there twice: name each seed once"),
        (["--seeds=0-3,2"], "--seeds 0-3,2: 2 is there twice"),
        (["--seeds", "one"], "--seeds 'one': expected numbers from 0"),
        (["--seeds"], "--seeds: expected a value"),
        (["--seeds", "0,1", "--seed", "2"], "--seed does not go with --seeds"),
        (["--seeds", "0,1", "--minutes", "2"], "--minutes does not go with --seeds: .*give --steps"),
        (["--seeds", "0,1", "--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["--seeds", "0,1", "--jobs", "two"], "--jobs 'two': expected a number"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        typed_seeds(["gan", "--data", "ring", *words])
    assert "\n" not in str(refused.value)


def test_one_seed_is_no_case_for_seeds() -> None:
    assert typed_seeds(["gan", "--data", "ring", "--seed", "3"]) is None


@pytest.mark.slow
def test_jobs_train_at_the_same_time_and_say_a_mistake_once(tmp_path: Path) -> None:
    done = run(*GAN, "--steps", "3", "--seeds", "0,1", "--jobs", "2", "--run", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 seeds done" in done.stdout
    assert (tmp_path / "r" / "seed-1.log").is_file()
    wrong = run(
        *GAN, "--steps", "3", "--seeds", "0,1", "--jobs", "2", "--lr", "3", "--run", "s", cwd=tmp_path
    )
    assert wrong.returncode == 2
    assert (
        wrong.stderr
        == "error: unknown option --lr: did you mean --learning-rate? (ganforge train gan --help)\n"
    )


@pytest.fixture
def processes() -> Iterator[list[Any]]:
    """Processes that a test starts, ended with it."""
    started: list[Any] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_saves_all_and_the_same_command_resumes(
    tmp_path: Path, processes: list[Any], jobs: str
) -> None:
    words = [*GAN, "--seeds", "0,1,2", "--jobs", jobs, "--run", "r", "--log-every", "5"]
    process = start(*words, "--steps", "300000", cwd=tmp_path)
    processes.append(process)
    logs = [tmp_path / "r" / f"seed-{seed}" / "metrics.jsonl" for seed in range(int(jobs))]
    until = time.monotonic() + 90
    while not all(log.exists() and '"train"' in log.read_text() for log in logs):
        assert time.monotonic() < until
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "everything is saved" in said
    assert "Traceback" not in said
    saved = [int(newest.name) for log in logs for newest in log.parent.glob("checkpoints/[0-9]*")]
    assert len(saved) >= len(logs)
    done = run(*words, "--steps", str(max(saved) + 2), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 seeds done" in done.stdout
    assert all(len(metrics_of(log.parent, "start")) == 2 for log in logs)
