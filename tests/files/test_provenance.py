"""What this package wrote is told from anything else, and only that is replaced unasked."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.errors import UserError
from ganforge.files.images import save_image
from ganforge.files.provenance import check_replaceable, embedded, is_own, read_provenance

ABOUT = {"run": "a", "step": "4", "seed": "7", "command": "ganforge sample runs/ä"}


@pytest.mark.parametrize(("ending", "form"), [(".gif", "GIF"), (".webp", "WEBP"), (".jpg", "JPEG")])
def test_images_of_other_forms_carry_their_origin(tmp_path: Path, ending: str, form: str) -> None:
    path = tmp_path / f"a{ending}"
    Image.new("RGB", (8, 8)).save(path, form, **embedded(form, ABOUT))
    assert read_provenance(path) == ABOUT
    assert is_own(path)
    Image.new("RGB", (8, 8)).save(path, form)
    assert not is_own(path)


def test_arrays_and_pngs_carry_theirs(tmp_path: Path) -> None:
    save_image(Image.new("L", (8, 8)), tmp_path / "a.png", ABOUT)
    np.savez(tmp_path / "a.npz", about=np.array(json.dumps(ABOUT)))
    for name in ("a.png", "a.npz"):
        assert read_provenance(tmp_path / name) == ABOUT
        assert check_replaceable(tmp_path / name) == ", replaced the earlier one"


def test_anything_else_needs_overwrite(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n...")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "mine.npz", about=np.array("[1]"), data=np.arange(3))
    np.savez(tmp_path / "other.npz", data=np.arange(3))
    (tmp_path / "page.html").write_text("<html>")
    (tmp_path / "table.csv").write_text("score;1")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    for path in list(tmp_path.iterdir()):
        with pytest.raises(UserError, match="was not made by ganforge: name another file, or replace it"):
            check_replaceable(path)
        assert check_replaceable(path, overwrite=True) == ", replaced another file"
    assert check_replaceable(tmp_path / "new.png") == ""
    with pytest.raises(UserError, match="is a folder"):
        check_replaceable(tmp_path, overwrite=True)
