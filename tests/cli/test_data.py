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


def test_check_writes_a_sheet(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "images", "--sheet", "sheet.png"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "sheet       sheet.png"
    assert (place / "sheet.png").is_file()
    assert main(["data", "check", "bad", "--sheet", "none.png"]) == 1
    assert "no sheet" in capfd.readouterr().err
    assert not (place / "none.png").exists()
    (place / "mine.png").write_bytes(b"mine")
    assert main(["data", "check", "images", "--sheet", "mine.png"]) == 2
    assert "is not a contact sheet" in capfd.readouterr().err


@pytest.mark.parametrize(("words", "line"), [
    (["--label-column", "Gender"], "--label-column Gender: "),
    (["--range", "0..9x"], "--range: expected full, data, or LOW..HIGH"),
    (["--range", "0..9"], None),
])  # fmt: skip
def test_a_dry_run_says_how_the_data_are_read(
    place: Path, capfd: pytest.CaptureFixture[str], words: list[str], line: str | None
) -> None:
    rows = "".join(
        f"{name.name};{number % 2}\n" for number, name in enumerate(sorted((place / "images").iterdir()))
    )
    (place / "images/labels.csv").write_text("filename;kind\n" + rows)
    small = ["--size", "32", "--width", "4", "--batch", "2", "--steps", "1"]
    code = main(["train", "dcgan", "--data", "images", "--dry-run", *small, *words])
    captured = capfd.readouterr()
    assert code == (0 if line is None else 2)
    if line is not None:
        assert captured.err.count("\n") == 1
        assert line in captured.err
    else:
        assert "about the data: classes are the column kind of labels.csv" in captured.out


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
