"""The contact sheet of `data check --sheet`."""

import numpy as np
import pytest
from drawn import encode, noise
from PIL import Image

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.files.provenance import read_provenance
from ganforge.reporting.sheet import write_sheet


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "images"
    path.mkdir()
    for number in range(9):
        (path / f"{number}.png").write_bytes(encode(noise(number, 60, 50 + number)))
    return path


def test_the_sheet_shows_what_training_sees(folder, tmp_path):
    dataset = open_dataset(DataOptions(data=str(folder), size=48))
    out = write_sheet(dataset, tmp_path / "sheet.png")
    about = read_provenance(out)
    assert about["sheet"] == "9 of 9 training images"
    assert about["fit"] == dataset.options.fit
    pixels = np.asarray(Image.open(out))
    first = dataset.splits["train"].pixels[0].permute(1, 2, 0).numpy()
    assert np.array_equal(pixels[:48, :48], first)
    paired = open_dataset(DataOptions(data=str(folder), size=48, pairs="edges"))
    again = np.asarray(Image.open(write_sheet(paired, out)))
    assert again.shape[1] > pixels.shape[1], "an earlier sheet is replaced"


def test_a_sheet_replaces_no_other_file(folder, tmp_path):
    dataset = open_dataset(DataOptions(data=str(folder), size=48))
    foreign = tmp_path / "photo.png"
    foreign.write_bytes(encode(noise(1)))
    with pytest.raises(UserError, match="is not a contact sheet"):
        write_sheet(dataset, foreign)
    assert foreign.read_bytes() == encode(noise(1))
    with pytest.raises(UserError, match=r"ending in \.png"):
        write_sheet(dataset, tmp_path / "sheet.jpg")
    with pytest.raises(UserError, match="2-D points"):
        write_sheet(open_dataset(DataOptions(data="ring")), tmp_path / "ring.png")
