import json
import os
import zipfile

import pytest
import torch
from drawn import encode, noise

from ganforge.data import image_files as encoded
from ganforge.data import pack as pack_module
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack import pack
from ganforge.errors import UserError


@pytest.fixture
def random_images(fill):
    rows = [
        {
            "file_name": f"{number:02}.png",
            "label": str(9 - number % 3),
            "texts": [f"number {number}"],
            "split": "test" if number % 5 else "",
        }
        for number in range(20)
    ]
    rows[0]["texts"] = ["one", "two"]
    table = "\n".join(json.dumps(row) for row in rows)
    return fill({f"{n:02}.png": encode(noise(n, 12, 9)) for n in range(20)} | {"metadata.jsonl": table})


@pytest.mark.parametrize("settings", [{}, {"size": 8}, {"channels": "grey"}])
@pytest.mark.parametrize("lazily", [False, True])
def test_a_packed_set_opens_to_the_same_pixels_and_labels(
    random_images, tmp_path, settings, lazily, monkeypatch
):
    options = DataOptions(data=str(random_images), **settings)
    expected = open_dataset(options)
    if lazily:
        monkeypatch.setattr(encoded, "IN_MEMORY_BYTES", 0)
    out = tmp_path / "packed.zip"
    assert pack(options, out) == 20
    again = open_dataset(DataOptions(data=str(out)))
    assert again.spec == expected.spec
    for split, images in expected.splits.items():
        every = torch.arange(len(images))
        assert torch.equal(again.splits[split].read(every), images.read(every))
        assert torch.equal(again.splits[split].labels, images.labels)
        assert again.splits[split].captions == images.captions
    if not lazily:
        assert again.fingerprint == expected.fingerprint


def test_the_order_of_classes_survives(fill, tmp_path):
    path = fill({"b/1.png": 1, "a/2.png": 2, "classes.json": '["b", "a", "unused"]'})
    pack(DataOptions(data=str(path)), tmp_path / "packed.zip")
    again = open_dataset(DataOptions(data=str(tmp_path / "packed.zip")))
    assert again.spec.class_names == ("b", "a", "unused")
    assert again.splits["train"].labels.tolist() == [1, 0]


def test_size_and_stored_members_and_equal_bytes(random_images, tmp_path):
    options = DataOptions(data=str(random_images))
    for name in ("one.zip", "two.zip"):
        pack(options, tmp_path / name, size=4)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
    assert open_dataset(DataOptions(data=str(tmp_path / "one.zip"))).spec.shape == (3, 4, 4)


def test_what_cannot_be_packed_is_refused(random_images, tmp_path):
    options = DataOptions(data=str(random_images))
    (tmp_path / "there.zip").write_text("precious")
    for out, message in (
        (tmp_path / "there.zip", "exists already"),
        (tmp_path / "no" / "such.zip", "mkdir -p"),
        (tmp_path / "packed.tar", "ending in .zip"),
    ):
        with pytest.raises(UserError, match=message):
            pack(options, out)
    with pytest.raises(UserError, match="2-D points"):
        pack(DataOptions(data="ring"), tmp_path / "ring.zip")
    assert (tmp_path / "there.zip").read_text() == "precious"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_pack_leaves_nothing(random_images, tmp_path, monkeypatch, error):
    def fail(_image):
        raise error

    monkeypatch.setattr(pack_module, "to_png", fail)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        pack(DataOptions(data=str(random_images)), tmp_path / "packed.zip")
    assert sorted(os.listdir(tmp_path)) == before
