"""`ganforge data`: exit codes, reports and zips."""

import json
from pathlib import Path

import pytest
from command import draw_images, run

from ganforge.cli.main import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with good images and with some that cannot be read."""
    draw_images(tmp_path / "images")
    draw_images(tmp_path / "one bad")
    (tmp_path / "one bad/010.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    draw_images(tmp_path / "bad", count=10)
    for name in ("001.png", "002.png", "003.png"):
        (tmp_path / "bad" / name).write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["images"], 0),
        (["one bad"], 0),  # 1 of 40, which training skips
        (["bad"], 1),  # 3 of 10
        (["bad", "--json"], 1),
        (["empty"], 1),
        (["nowhere/at/all"], 2),
        (["images", "--size", "0"], 2),
        ([], 2),
    ],
)
def test_exit_code_of_check(
    place: Path, capfd: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    assert main(["data", "check", *words]) == code
    captured = capfd.readouterr()
    assert captured.err.startswith("error: ") == (code == 2)
    assert bool(captured.out) == (code != 2)


def test_exit_code_of_the_real_command(place: Path) -> None:
    assert run("data", "check", "bad", cwd=place).returncode == 1


def test_check_reports_shape_and_unreadable_images(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["data", "check", "images"])
    assert "3x8x8" in capfd.readouterr().out
    main(["data", "check", "one bad", "--json"])
    assert list(json.loads(capfd.readouterr().out)["unreadable"]) == ["010.png"]


def test_pack_resizes(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "pack", "images", "out.zip", "--size", "4"]) == 0
    assert "40 images" in capfd.readouterr().out
    assert main(["data", "check", "out.zip", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["shape"] == [3, 4, 4]
