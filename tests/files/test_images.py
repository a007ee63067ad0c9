"""Image files of every format carry their provenance and give it back."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.errors import UserError
from ganforge.files.images import FORMATS, save_image
from ganforge.files.png import write_png
from ganforge.files.provenance import read_provenance

ABOUT = {"command": "ganforge sample 'Bücher ☃'\n--seed 7", "run": "<script>", "step": "500", "note": ""}


def gradient(mode: str, side: int = 24) -> Image.Image:
    rows, columns = np.mgrid[:side, :side] * (255 // side)
    channels = [rows, columns, (rows + columns) // 2, 255 - rows][: len(mode)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8).squeeze(-1 if mode == "L" else ()))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("ending", FORMATS)
def test_provenance_comes_back(ending: str, mode: str, tmp_path: Path) -> None:
    path, again = tmp_path / f"a{ending.upper()}", tmp_path / f"new/b{ending}"
    save_image(gradient(mode), path, ABOUT)
    save_image(gradient(mode), again, dict(reversed(ABOUT.items())))
    assert path.read_bytes() == again.read_bytes()
    assert read_provenance(path) == ABOUT
    with Image.open(path) as image:
        assert image.format == FORMATS[ending]
        assert image.size == (24, 24)
        if ending == ".webp":
            assert np.array_equal(np.asarray(image.convert(mode)), np.asarray(gradient(mode)))
        if ending in (".jpg", ".jpeg") and mode != "RGBA":
            assert np.abs(np.asarray(image).astype(int) - np.asarray(gradient(mode))).max() < 20


def test_a_jpeg_has_the_background_where_the_image_is_clear(tmp_path: Path) -> None:
    image = Image.new("RGBA", (16, 16), (200, 0, 0, 0))
    for background, level in (("white", 255), ("black", 0)):
        save_image(image, tmp_path / "a.jpg", {}, background=background)
        with Image.open(tmp_path / "a.jpg") as found:
            assert np.asarray(found).min() == level
    save_image(image, tmp_path / "a.gif", {})
    with Image.open(tmp_path / "a.gif") as found:
        assert np.asarray(found.convert("RGBA"))[..., 3].max() == 0


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_animations(ending: str, tmp_path: Path) -> None:
    first, *others = (Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue"))
    save_image(first, tmp_path / f"a{ending}", ABOUT, frames=others, milliseconds=80)
    assert read_provenance(tmp_path / f"a{ending}") == ABOUT
    with Image.open(tmp_path / f"a{ending}") as image:
        assert getattr(image, "n_frames", 1) == 3
        assert image.info["loop"] == 0


def test_long_prompts_fit(tmp_path: Path) -> None:
    about = {"command": "☃" * 40_000, "step": "3"}
    save_image(gradient("RGB"), tmp_path / "a.jpg", about)
    found = read_provenance(tmp_path / "a.jpg")
    assert found["step"] == "3"
    assert found["command"].startswith("☃☃☃")


def test_too_many_pixels_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    wide = Image.new("L", (70_000, 2))
    for ending in (".jpg", ".webp", ".gif"):
        with pytest.raises(UserError, match=r"70000x2 pixels, but \w+ has at most \d+ a side: use .png"):
            save_image(wide, tmp_path / f"a{ending}", ABOUT)
    assert not list(tmp_path.iterdir())
    save_image(wide, tmp_path / "a.png", ABOUT)
    assert read_provenance(tmp_path / "a.png") == ABOUT


@pytest.mark.parametrize("ending", FORMATS)
def test_other_files_have_no_provenance(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    assert read_provenance(path) == {}
    for content in (
        b"",
        b"no image",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe1\x00",
        b"GIF89a",
        b"RIFF\x09WEBP",
    ):
        path.write_bytes(content)
        assert read_provenance(path) == {}
    exif = Image.Exif()
    exif[0x010E] = "[1, 2]"
    for options in ({}, {"exif": exif}, {"comment": b"[3]"}):
        gradient("RGB").save(path, FORMATS[ending], **options)
        assert read_provenance(path) == {}
    save_image(gradient("RGB"), path, ABOUT)
    for length in range(0, path.stat().st_size, 7):
        torn = tmp_path / f"torn{ending}"
        torn.write_bytes(path.read_bytes()[:length])
        assert read_provenance(torn).items() <= ABOUT.items()


def test_only_the_head_is_read(tmp_path: Path) -> None:
    """A PNG of absurd size."""
    write_png(tmp_path / "a.png", 24, 24, [np.asarray(gradient("RGB"))], ABOUT)
    whole = bytearray((tmp_path / "a.png").read_bytes())
    whole[16:24] = struct.pack(">II", 160_000, 120_000)
    (tmp_path / "a.png").write_bytes(whole)
    assert read_provenance(tmp_path / "a.png") == ABOUT
