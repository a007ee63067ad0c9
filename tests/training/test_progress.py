"""What a training shows in terminals of several widths, at its start and in its report meanwhile."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command import draw_images, environment, files_of, metrics_of

import ganforge
from ganforge.reporting import page
from ganforge.reporting.units import duration, size
from ganforge.training import cost, live_report, loop
from ganforge.training.progress import ProgressLine

VALUES = {"real_probability": 0.8312, "fake_probability": 0.249, "discriminator_loss": 0.565,
          "generator_loss": 1.0594, "generator_gradient_norm": 3.0}  # fmt: skip
SMALL = {"batch": 8, "latent_size": 4, "width": 4, "device": "cpu"}

IN_A_TERMINAL = f"""
import time
from ganforge.training.progress import Display
with Display(0, 123_456, quiet=False) as display:
    display.time(0.09)
    display.measure(12_345, 185.3, {VALUES!r})
    display.say("a line that is not cut: " + "x" * 150)
    time.sleep(0.4)
"""


def line_of(width: int) -> ProgressLine:
    line = ProgressLine(432, 20_000)
    line.seconds_left = 11_000
    line.measure(185.3, VALUES)
    assert len(line.text(width).plain) <= width
    return line


@pytest.mark.parametrize("width", [60, 80, 100, 120, 300])
def test_step_and_time_left_come_first_and_losses_last(width: int) -> None:
    text = line_of(width).text(width).plain
    shown = ["432/20,000", "3 h 3 min left", "D(real) 0.83", "D(fake) 0.25"]
    shown += ["185 images/s"] if width >= 80 else []
    shown += ["discriminator 0.565"] if width >= 100 else []
    shown += ["generator 1.059"] if width >= 120 else []
    places = [text.index(part) for part in shown]
    assert places == sorted(places)
    assert "gradient" not in text


def test_a_narrow_terminal_keeps_the_step_and_the_time() -> None:
    assert line_of(30).text(30).plain == "432/20,000  3 h 3 min left"


def test_without_a_discriminator_there_are_only_losses() -> None:
    line = ProgressLine(1, 10)
    line.measure(20.0, {"reconstruction_loss": 0.5})
    assert line.text(80, bar=False).plain == "1/10  timing the first steps  20 images/s  reconstruction 0.500"


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_in_a_real_terminal(width: int) -> None:
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = environment(TERM="xterm-256color", COLUMNS=None, LINES=None)
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    content = b""
    try:
        while part := os.read(ours, 65_536):
            content += part
    except OSError:  # the end of a terminal
        pass
    os.close(ours)
    assert process.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", content.decode())
    lines = [line for line in re.split(r"[\r\n]+", plain) if "12,345/123,456" in line]
    assert lines
    assert max(map(len, lines)) <= width
    assert re.search(r"12,345/123,456  2 h 47 min left  D\(real\) 0.83", lines[-1])
    assert "x" * 150 in plain


def test_durations_and_sizes() -> None:
    seconds = [0.0432, 9.94, 45.4, 59.7, 75, 594, 3_599, 3_600, 12_000, 172_000, 200_000, 1e6, 9e7, 5e9]
    assert [duration(each) for each in seconds] == [
        "0.043 s", "9.9 s", "45 s", "1 min", "1.2 min", "10 min", "1 h", "1 h", "3 h 20 min", "47 h 47 min",
        "2 days 8 h", "11 days", "3 years", "159 years",
    ]  # fmt: skip
    assert [size(each) for each in (900.0, 12_300_000, 1.5e9)] == ["1 kB", "12 MB", "1.50 GB"]


# --- the estimate -------------------------------------------------------------------------------------------


def train(place: Path, name: str, **options: object) -> Path:
    path = place / "runs" / name
    ganforge.train("dcgan", str(place / "images"), run=path, **{"steps": 12, **SMALL, **options})  # type: ignore[arg-type]
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    draw_images(tmp_path / "images")
    return tmp_path


def test_a_long_training_says_how_long_and_what_shortens_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The claim is measured in a training of its own, after which every byte is as without it."""
    draw_images(place / "images", side=16)
    wide = {"width": 96, "batch": 16, "steps": 42, "log_every": 42}
    quiet = train(place, "quiet", quiet=True, **wide)
    monkeypatch.setattr(cost, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LONG_SECONDS", 0.0)
    said = train(place, "said", **wide)
    text = capfd.readouterr().err
    found = re.search(
        r"about [0-9.]+ s for 38 steps on this CPU; --width 24 is about (\d+) times faster", text
    )
    assert found, text
    assert int(found[1]) >= 2
    assert files_of(quiet / "checkpoints") == files_of(said / "checkpoints")


def test_what_is_not_measured_to_be_faster_is_not_claimed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {32: 1.2, 8: 1.0}
    monkeypatch.setattr(cost, "try_steps", lambda config, dataset: seconds[config.config["width"]])
    config = ganforge.train("dcgan", str(place / "images"), run=place / "r", quiet=True, steps=1, **SMALL)
    dataset = None
    options = config.run.config.model_copy(update={"config": config.run.config.config | {"width": 32}})
    assert cost.faster_option(options, dataset) == ""  # type: ignore[arg-type]
    seconds[32] = 4.2
    assert "--width 8 is about 4 times" in cost.faster_option(options, dataset)  # type: ignore[arg-type]


# --- the report meanwhile -----------------------------------------------------------------------------------


def test_the_report_follows_the_previews(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[tuple[int, bool]] = []
    write = page.write_report

    def recorded(run: Path, running: bool = False) -> Path:
        pages.append((len(list((run / "samples").glob("*.png"))), running))
        return write(run, running=running)

    monkeypatch.setattr(live_report, "write_report", recorded)
    monkeypatch.setattr(live_report, "MOST_OF_TIME", 1e9)
    path = train(place, "live", quiet=True, sample_every=4)
    assert pages == [(1, True), (2, True), (3, True), (4, True)]
    assert 'http-equiv="refresh"' not in (path / "report.html").read_text("utf-8")


def test_frequent_previews_do_not_write_the_report_each_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    def slow(run: Path, running: bool = False) -> Path:
        times.append(time.monotonic())
        time.sleep(0.2)
        return run

    monkeypatch.setattr(live_report, "write_report", slow)
    train(place, "often", quiet=True, sample_every=1)
    assert len(times) == 1  # the next is due after 4 s


def test_a_report_that_fails_stops_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(run: Path, running: bool = False) -> Path:
        raise RuntimeError("no template")

    good = train(place, "good", quiet=True)
    monkeypatch.setattr(live_report, "write_report", broken)
    path = train(place, "broken", sample_every=4)
    assert capfd.readouterr().err.count("the report cannot be written, training continues: no template") == 1
    assert metrics_of(path) == metrics_of(good)
    assert (path / "report.html").exists()  # that of the end


def test_open_says_where_the_report_is_without_a_display(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ganforge.cli.main import main

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.chdir(place)
    words = "train dcgan --data images --run o --steps 2 --batch 8 --width 4 --latent-size 4 --open"
    assert main(words.split()) == 0
    assert f"the report is {place.resolve() / 'o' / 'report.html'}" in capfd.readouterr().err


def test_the_random_state_is_left_as_it_was(place: Path) -> None:
    config = ganforge.train("dcgan", str(place / "images"), run=place / "r", quiet=True, steps=1, **SMALL)
    from ganforge.data.open import open_dataset

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert cost.try_steps(config.run.config, open_dataset(config.run.config.data)) > 0
    assert torch.equal(torch.get_rng_state(), before)
