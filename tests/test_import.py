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


@pytest.mark.slow
def test_import_takes_less_than_three_seconds(tmp_path: Path) -> None:
    """The CPU's seconds, start of Python included: the clock's depend on what else the machine does."""
    seconds = []
    for _ in range(3):
        before = os.times()
        python(
            "import ganforge", cwd=tmp_path, COVERAGE_PROCESS_CONFIG=None
        )  # coverage takes time of its own
        after = os.times()
        user, system = (
            after.children_user - before.children_user,
            after.children_system - before.children_system,
        )
        seconds.append(user + system)
    assert min(seconds) < 3, seconds


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
