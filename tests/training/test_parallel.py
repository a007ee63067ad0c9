"""One training by several processes: equal to that of one, resumed, stopped, and what goes wrong in it."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from command import draw_images, run
from launched import COMMAND, ended, launch, together, torchrun

OPTIONS = ["--width", "4", "--batch", "8", "--device", "cpu", "--precision", "fp32", "--log-every", "2"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("images"))


def words(images: Path, name: str, steps: int, *more: str) -> list[str]:
    return ["train", "dcgan", "--data", str(images), "--run", name, "--steps", str(steps), *OPTIONS, *more]


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "checkpoints" / f"{step:06d}" / "system.safetensors")


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line["discriminator_loss"] for line in lines if line["kind"] == "train"]


def test_two_processes_write_one_run_and_one_resumes_it(images: Path, tmp_path: Path) -> None:
    assert run(*words(images, "alone", 8), cwd=tmp_path).returncode == 0
    done = together(*words(images, "both", 4), cwd=tmp_path)
    assert [code for code, _, _ in done] == [0, 0], done
    assert "run folder    both" in done[0][1]
    assert done[1][1:] == ("", "")  # only the first speaks
    start = json.loads((tmp_path / "both" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert start["processes"] == 2
    assert run("resume", "both", "--steps", 8, cwd=tmp_path).returncode == 0  # another number of processes
    assert losses(tmp_path / "both") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    alone = weights(tmp_path / "alone", 8)
    for name, value in weights(tmp_path / "both", 8).items():
        torch.testing.assert_close(value, alone[name], rtol=1e-3, atol=1e-4, msg=name)


def test_python_trains_in_two_processes_too(images: Path, tmp_path: Path) -> None:
    program = """
import sys, ganforge
seen = []
trained = ganforge.train("gan", sys.argv[1], run="run", steps=3, batch=8, device="cpu", quiet=True,
                         on_step=lambda training: seen.append(training.step))
print(trained.step, seen)
"""
    done = ended(launch(program, images, cwd=tmp_path))
    assert [out for _, out, _ in done] == ["3 [1, 2, 3]\n", "3 []\n"], done


def test_local_batch_norm_is_another_training_with_equal_weights(images: Path, tmp_path: Path) -> None:
    fast = ["--learning-rate", "0.05"]
    done = together(*words(images, "local", 4, "--batch-norm", "local", *fast), cwd=tmp_path)
    assert [code for code, _, _ in done] == [0, 0], done  # the weights were compared after steps 2 and 4
    assert run(*words(images, "alone", 4, *fast), cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "local") != pytest.approx(losses(tmp_path / "alone"), rel=1e-4)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--batch", "9"], "--batch 9 cannot be shared by 2 processes: use --batch 8"),
        (["--batch", "15", "--pack", "5"], "2 processes, each with packs of 5: use --batch 20"),
        (["--compile", "on"], "--compile on is for one process"),
        (["--seeds", "0,1"], "train --seeds uses one process"),
    ],
)
def test_what_cannot_be_shared_is_one_line(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], why: str
) -> None:
    done = run(*words(images, "run", 2, *more), cwd=tmp_path, WORLD_SIZE="2", RANK="0", LOCAL_RANK="0")
    assert done.returncode == 2
    assert (why in done.stderr, done.stderr.count("\n")) == (True, 1), done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "verb", ["demo", "explore walk run", "export onnx run out", "sample run --seeds 1-3"]
)
def test_other_verbs_are_not_done_by_each(images: Path, tmp_path: Path, verb: str) -> None:
    if verb.startswith("sample"):
        assert (
            run("train", "gan", "--data", images, "--run", "run", "--steps", 1, cwd=tmp_path).returncode == 0
        )
    done = run(*verb.split(), cwd=tmp_path, WORLD_SIZE="2", RANK="1", LOCAL_RANK="1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "uses one process, torchrun started 2" in done.stderr


def test_another_version_is_refused_before_the_first_step(images: Path, tmp_path: Path) -> None:
    program = f"""
import os, ganforge.training.parallel as parallel
if os.environ["RANK"] == "1":
    parallel.__version__ = "9.9"
{COMMAND}"""
    done = ended(launch(program, *words(images, "run", 4), cwd=tmp_path))
    assert [code for code, _, _ in done] == [2, 2]
    assert "process 1 of 2 has another version of ganforge than process 0" in done[0][2]
    assert re.search(r"than process 0: 9\.9, expected \d", done[1][2])
    assert not (tmp_path / "run").exists()


def test_weights_that_differ_are_named(images: Path, tmp_path: Path) -> None:
    program = f"""
import os
from ganforge.training.state import Training
advance = Training.advance
def faulty(self, *arguments):
    advance(self, *arguments)
    if os.environ["RANK"] == "1" and self.step == 3:  # a bit of its memory flips
        self.system.generator.get_parameter("dense.weight").data[0, 0] += 1e-6
Training.advance = faulty
{COMMAND}"""
    done = ended(launch(program, *words(images, "run", 8), cwd=tmp_path))
    assert [code for code, _, _ in done] == [2, 2]
    for _, _, errors in done:
        assert "process 1 of 2 has other weights than process 0 by step 4, first generator." in errors


def test_a_rollback_is_for_all(images: Path, tmp_path: Path) -> None:
    program = f"""
from ganforge.training.state import Training
advance, broken = Training.advance, []
def faulty(self, *arguments):
    advance(self, *arguments)
    if self.step == 5 and not broken:
        broken.append(True)
        self.system.generator.get_parameter("dense.weight").data.fill_(float("nan"))
Training.advance = faulty
{COMMAND}"""
    more = ["--on-nan", "rollback", "--checkpoint-every", "2"]
    done = ended(launch(program, *words(images, "run", 8, *more), cwd=tmp_path))
    assert [code for code, _, _ in done] == [0, 0], done
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"signal": "rollback"' in lines
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run", 8).values())


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_is_named_and_a_restart_ends_in_the_same_bytes(
    images: Path, tmp_path: Path, killed: int
) -> None:
    more = ["--checkpoint-every", "10", "--sample-every", "1000"]
    done = together(*words(images, "unbroken", 60, *more), cwd=tmp_path)
    assert [code for code, _, _ in done] == [0, 0], done
    process = torchrun(*words(images, "run", 60, *more), cwd=tmp_path, restarts=3)
    try:
        wait_for(tmp_path / "run" / "checkpoints" / "000010", process)
        os.kill(children_of(process.pid)[killed], signal.SIGKILL)
        _, errors = process.communicate(timeout=200)
    finally:
        end(process)
    assert process.returncode == 0, errors
    if killed == 1:
        assert "process 1 of 2 was lost in training" in errors
    for name in ("system", "average", "optimizers", "random"):
        files = [
            tmp_path / each / "checkpoints" / "000060" / f"{name}.safetensors" for each in ("run", "unbroken")
        ]
        assert files[0].read_bytes() == files[1].read_bytes(), name


@pytest.mark.slow
def test_a_frozen_process_is_named(images: Path, tmp_path: Path) -> None:
    program = f"import ganforge.distributed as d; d.Pulse.__init__.__defaults__ = (4.0, False)\n{COMMAND}"
    processes = launch(program, *words(images, "run", 5000, "--checkpoint-every", "10"), cwd=tmp_path)
    wait_for(tmp_path / "run" / "checkpoints", processes[0])
    os.kill(processes[1].pid, signal.SIGSTOP)
    frozen = time.monotonic()
    code = processes[0].wait(timeout=60)
    assert time.monotonic() - frozen < 15
    os.killpg(processes[1].pid, signal.SIGKILL)
    assert code == 2
    assert "process 1 of 2 has given no sign of life for 4 s while training" in ended(processes)[0][2]


def test_a_stop_is_for_all(images: Path, tmp_path: Path) -> None:
    processes = launch(COMMAND, *words(images, "run", 5000, "--checkpoint-every", "10"), cwd=tmp_path)
    wait_for(tmp_path / "run" / "checkpoints", processes[0])
    for process in reversed(processes):  # as Ctrl-C reaches all of them
        process.send_signal(signal.SIGINT)
    done = ended(processes)
    assert done[0][0] == 128 + signal.SIGINT, done
    assert done[1][0] == 0, done
    assert "everything is saved" in done[0][2]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not (path.is_dir() and any(path.iterdir())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def children_of(number: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(number)], capture_output=True, text=True)
    return sorted(map(int, found.stdout.split()))


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def test_nothing_is_trained_where_the_first_has_nothing_to_do(images: Path, tmp_path: Path) -> None:
    begun = run("train", "gan", "--data", images, "--run", "run", "--steps", 1, cwd=tmp_path)
    assert begun.returncode == 0
    done = together("resume", "run", cwd=tmp_path)
    assert [code for code, _, _ in done] == [0, 0], done
    assert "has its 1 steps done already" in done[0][1] + done[0][2]
