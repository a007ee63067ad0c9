"""A training that runs out of memory names what fits."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command import draw_images, environment

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.training.memory import is_shortage
from ganforge.training.state import Training

WORDS = ["train", "dcgan", "--data", "images", "--width", "4", "--latent-size", "4", "--steps", "4",
         "--device", "cpu", "--run", "r", "--batch", "64"]  # fmt: skip

LIMITED = """
import resource, sys, torch
from ganforge.cli.main import main
import ganforge.training.loop
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000,) * 2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw_images(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def limit(
    monkeypatch: pytest.MonkeyPatch, most: int, error: type[Exception] = torch.OutOfMemoryError
) -> None:
    """Steps of more than `most` images find no memory."""
    advance = Training.advance

    def limited(self: Training, batch: Any, update: Any) -> None:
        if len(batch.images) > most:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        advance(self, batch, update)

    monkeypatch.setattr(Training, "advance", limited)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_the_batch_that_fits_is_named(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: type[Exception],
    more: list[str],
) -> None:
    limit(monkeypatch, 20, error)
    assert main([*WORDS, *more]) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == "error: out of memory at --batch 64: --batch 16 fits, tried just now"
    assert not list(place.glob("r/*"))


def test_where_nothing_fits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 1)
    with pytest.raises(UserError, match="out of memory at --batch 8: no --batch fits either: train smaller"):
        ganforge.train("dcgan", "images", run="r", quiet=True, batch=8, width=4, steps=1, device="cpu")


def test_a_run_that_has_steps_done_keeps_its_batch(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"batch": 8, "width": 4, "device": "cpu", "quiet": True, "run": "r"}
    ganforge.train("dcgan", "images", steps=2, **options)  # type: ignore[arg-type]
    limit(monkeypatch, 4)
    with pytest.raises(UserError, match="--batch 4 fits, tried just now: a new --run with it and --from r"):
        ganforge.train("dcgan", "images", steps=4, **options)  # type: ignore[arg-type]
    assert ganforge.load("r", device="cpu").step == 2


def test_other_errors_are_no_shortage(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_shortage(RuntimeError("shapes differ"))
    assert not is_shortage(OSError("cannot allocate"))
    monkeypatch.setattr(Training, "advance", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ganforge.train("dcgan", "images", run="r", quiet=True, batch=8, width=4, steps=1, device="cpu")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS limits nothing elsewhere")
def test_a_real_shortage_of_the_cpu(place: Path) -> None:
    draw_images(place / "images", side=32)
    words = [*WORDS[:-1], "8192", "--width", "32"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], cwd=place, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert re.search(
        r"(out of memory at --batch 8192|a step needs more than .* free): --batch \d+ fits", line
    )
    assert "Traceback" not in done.stderr
