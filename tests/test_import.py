"""Importing and running: no network, no processes, odd places."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import draw_images, environment, run

# Everything Python tells an audit hook about sockets, processes and the network's file formats.
WATCH = """
import json, sys
seen = []
WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
           "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.")
sys.addaudithook(lambda event, arguments: event.startswith(WATCHED) and seen.append(f"{event} {arguments!r}"))
"""
IMPORT = WATCH + "import ganforge, ganforge.cli.main\nprint(json.dumps(seen))\n"
TRAIN = (
    WATCH
    + """
from ganforge.cli.main import main
words = ["train", "gan", "--data", sys.argv[1], "--run", sys.argv[2], "--steps", "3", "--batch", "4",
         "--latent-size", "2", "--generator-hidden", "4", "--discriminator-hidden", "4"]
assert main(words) == 0
assert main(["evaluate", sys.argv[2], "--num-samples", "8"]) == 0
assert main(["sample", sys.argv[2], "--count", "2", "--out", sys.argv[2] + "/mine.png"]) == 0
print("watched", json.dumps(seen))
"""
)


def python(code: str, *arguments: str, cwd: Path, **changes: str | None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_opens_no_socket_and_starts_no_process(tmp_path: Path) -> None:
    assert json.loads(python(IMPORT, cwd=tmp_path)) == []


def test_the_watch_sees_what_it_watches_for(tmp_path: Path) -> None:
    guilty = "import socket, subprocess\nsocket.socket().close()\nsubprocess.run(['true'])\n"
    seen = json.loads(python(WATCH + guilty + "print(json.dumps(seen))", cwd=tmp_path))
    assert any(event.startswith("socket.__new__") for event in seen)
    assert any(event.startswith("subprocess.Popen") for event in seen)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["data", "--help"],
        ["list", "systems"],
        ["list", "data"],
        ["list", "runs"],
        ["list", "recipes"],
        ["completion", "bash"],
        ["completion", "zsh"],
        ["completion", "tcsh"],
    ],
    ids=" ".join,
)
def test_names_are_shown_without_torch(tmp_path: Path, words: list[str]) -> None:
    """Torch takes seconds; `benchmarks/startup.py` measures what is saved."""
    code = "import sys; from ganforge.cli.main import program; code = program(); "
    code += "print('\\nafter', code, 'torch' in sys.modules)"
    assert python(code, *words, cwd=tmp_path).splitlines()[-1] == "after 0 False"


def test_public_names_are_imported_when_they_are_used(tmp_path: Path) -> None:
    code = (
        "import sys, ganforge; print('torch' in sys.modules, set(ganforge.__all__) <= set(dir(ganforge)))\n"
    )
    code += (
        "ganforge.evaluate, ganforge.System; import ganforge.evaluation.evaluate, ganforge.training.train\n"
    )
    code += "import ganforge.data.batch as batch; from ganforge import *\n"
    code += "print(callable(ganforge.evaluate), callable(train), ganforge.train is train)\n"
    code += "print(ganforge.Batch is batch.Batch, ganforge.DataSpec is batch.DataSpec)\n"
    code += "print(hasattr(ganforge, 'nothing'))"
    assert python(code, cwd=tmp_path).split() == ["False", *["True"] * 6, "False"]


# Libraries whose import sets filters or draws random numbers come first.
STATE = """
import io, os, random, signal, sys, warnings
import filelock, matplotlib, numpy, PIL.Image, pydantic, rich.console, safetensors.torch, torch.utils.data
import torch

def state():
    return {
        "filters": list(warnings.filters), "showwarning": warnings.showwarning, "path": list(sys.path),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "denormal": float((torch.full((4,), 1e-38) * 0.05).sum()), "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(), "grad": torch.is_grad_enabled(), "random": random.getstate(),
        "torch": torch.get_rng_state().tolist(), "numpy": str(numpy.random.get_state()),
        "environment": dict(os.environ), "folder": os.getcwd(), "hooks": (sys.excepthook, sys.displayhook),
        "streams": (sys.stdout, sys.stderr), "printed": numpy.get_printoptions(), "errors": numpy.geterr(),
        "pixels": PIL.Image.MAX_IMAGE_PIXELS, "deterministic": torch.are_deterministic_algorithms_enabled(),
        "backend": matplotlib.rcParams["backend"] if "matplotlib.pyplot" in sys.modules else "",
    }

def changed(before):
    return [name for name, value in state().items() if value != before[name]]

before = state()
import ganforge
print("imported", changed(before))
for name in ganforge.__all__:
    getattr(ganforge, name)
print("touched", changed(before))
if len(sys.argv) > 1:
    ganforge.load(sys.argv[1], device="cpu").sample(2, seed=1)
    print("sampled", changed(before))
"""


def test_the_library_leaves_the_host_program_alone(tmp_path: Path) -> None:
    """Filters, handlers, paths, denormals, random numbers and more are what they were."""
    small = ["--batch", "4", "--latent-size", "2", "--generator-hidden", "4", "--discriminator-hidden", "4"]
    trained = run("train", "gan", "--data", "ring", "--run", "r", "--steps", "1", *small, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    printed = python(STATE, "r", cwd=tmp_path)
    assert printed.splitlines() == ["imported []", "touched []", "sampled []"]


def test_a_change_of_state_is_seen(tmp_path: Path) -> None:
    guilty = STATE.replace(
        "import ganforge", "import ganforge; torch.set_flush_denormal(True); sys.path.append('.')"
    )
    assert python(guilty, cwd=tmp_path).splitlines()[0] == "imported ['path', 'denormal']"


@pytest.mark.slow
def test_a_whole_run_needs_no_network(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    said = python(TRAIN, "images", "r", cwd=tmp_path)
    assert json.loads(said.splitlines()[-1].removeprefix("watched ")) == []


@pytest.mark.slow
def test_points_need_no_network(tmp_path: Path) -> None:
    said = python(TRAIN, "ring", "r", cwd=tmp_path)
    assert json.loads(said.splitlines()[-1].removeprefix("watched ")) == []


@pytest.mark.slow
@pytest.mark.parametrize("home", ["unset", "read-only", "missing"])
def test_odd_places(tmp_path: Path, home: str) -> None:
    """No home, a C locale, a strict umask, and blanks and an emoji in every path."""
    draw_images(tmp_path / "my images 🎈")
    closed = tmp_path / "home"
    closed.mkdir(mode=0o500)
    path = {"unset": None, "read-only": "/proc/self", "missing": str(tmp_path / "no home")}[home]
    changes = {"HOME": path, "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": None, "MPLCONFIGDIR": None,
               "XDG_CACHE_HOME": None, "PYTHONIOENCODING": None, "TERM": "dumb"}  # fmt: skip
    old = os.umask(0o077)
    try:
        folder = "runs/mein Lauf 🎈"
        words = ["train", "gan", "--data", "my images 🎈", "--run", folder, "--steps", "2", "--batch", "4"]
        small = ["--latent-size", "2", "--generator-hidden", "4", "--discriminator-hidden", "4"]
        done = run(*words, *small, cwd=tmp_path, **changes)
        assert done.returncode == 0, done.stderr
        assert folder in done.stdout
        out = f"{folder}/proben 🎈.png"
        done = run("sample", folder, "--count", "2", "--out", out, cwd=tmp_path, **changes)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / out).exists()
        if home == "unset":
            done = run(
                "train", "gan", "--data", "ring", "--run", "r 🎈", "--steps", "1", cwd=tmp_path, **changes
            )
            assert done.returncode == 0, done.stderr
            done = run("evaluate", "r 🎈", "--num-samples", "20", cwd=tmp_path, **changes)
            assert done.returncode == 0, done.stderr
    finally:
        os.umask(old)
    assert "mein Lauf 🎈" in (tmp_path / folder / "report.html").read_text("utf-8")


def test_ascii_output_does_not_break_the_command(tmp_path: Path) -> None:
    done = run("list", "data", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert "mnist" in done.stdout
