import csv
import json
import os
import zipfile
from typing import Any

import pytest
import torch
from drawn import encode, noise

from ganforge.data import image_files as encoded
from ganforge.data.decode import Unreadable
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources import image_folder as folder
from ganforge.data.sources import storage
from ganforge.errors import UserError


def opened(path, **settings):
    return open_dataset(DataOptions(data=str(path), **settings))


def listed(path):
    return folder.list_images(storage.Folder(path), str(path), "label")


def jsonl(*rows):
    return "\n".join(json.dumps(row) for row in rows)


def test_sub_folders_are_classes_sorted_by_name(fill, zipped):
    path = fill({"b/1.png": 1, "a/2.png": 2, "a/deep/3.png": 3, "notes.txt": "no image"})
    for place in (path, zipped(path)):
        dataset = opened(place)
        assert dataset.spec.class_names == ("a", "b")
        images = dataset.splits["train"]
        assert [images.name(index) for index in range(3)] == ["a/2.png", "a/deep/3.png", "b/1.png"]
        assert images.labels.tolist() == [0, 0, 1]
        assert torch.equal(images.read(torch.tensor([2]))[0], torch.from_numpy(noise(1)).permute(2, 0, 1))


def test_classes_that_are_numbers_are_in_the_order_of_numbers(fill):
    path = fill({f"{number}/x.png": number for number in range(12)})
    assert opened(path).spec.class_names == tuple(str(number) for number in range(12))


def test_top_level_folders_can_be_splits(fill):
    path = fill({"train/a/1.png": 1, "train/b/2.png": 2, "val/a/3.png": 3, "test/b/4.png": 4})
    dataset = opened(path)
    assert {split: images.labels.tolist() for split, images in dataset.splits.items()} == {
        "train": [0, 1],
        "validation": [0],
        "test": [1],
    }
    assert dataset.spec.num_images == 2


def test_an_outer_folder_says_nothing(fill):
    path = fill({"outer/train/a/1.png": 1, "outer/train/b/2.png": 2, "outer/test/a/3.png": 3})
    assert opened(path).spec.class_names == ("a", "b")
    assert set(opened(path).splits) == {"train", "test"}


def test_loose_images_have_no_class(fill):
    path = fill({"1.png": 1, "2.png": 2})
    assert opened(path).spec.class_names == ()
    assert opened(path).splits["train"].labels is None


def test_a_train_folder_next_to_others_is_ambiguous(fill):
    with pytest.raises(UserError, match="splits or classes"):
        opened(fill({"train/1.png": 1, "bus/2.png": 2}))


def test_without_training_images_there_is_nothing_to_train_on(fill):
    with pytest.raises(UserError, match="no training images, only test"):
        opened(fill({"test/1.png": 1}))


ROWS = (
    {"file_name": "x/1.png", "label": "dog", "texts": ["a dog", "a pet"], "split": "train"},
    {"file_name": "x/2.png", "label": "cat", "text": "a cat", "split": "val"},
    {"file_name": "x/3.png", "label": "cat", "caption": "one more", "split": "train"},
)


def test_metadata_decide(fill, zipped):
    path = fill({"x/1.png": 1, "x/2.png": 2, "x/3.png": 3, "x/4.png": 4, "metadata.jsonl": jsonl(*ROWS)})
    for place in (path, zipped(path)):
        dataset = opened(place)
        assert dataset.spec.class_names == ("cat", "dog")
        assert dataset.splits["train"].labels.tolist() == [1, 0]
        assert dataset.splits["train"].captions == [["a dog", "a pet"], ["one more"]]
        assert dataset.splits["validation"].captions == [["a cat"]]
    assert listed(path).unlisted == 1


def test_metadata_can_be_csv_and_lie_in_split_folders(fill, tmp_path):
    path = fill({"train/1.png": 1, "train/2.png": 2, "test/3.png": 3})
    for split, names in (("train", ("1.png", "2.png")), ("test", ("3.png",))):
        with open(path / split / "metadata.csv", "w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(["file_name", "kind", "text"])
            writer.writerows([[name, f"kind {name[0]}", 'says "hi",\ntwice'] for name in names])
    dataset = opened(path, label_column="kind")
    assert dataset.spec.class_names == ("kind 1", "kind 2", "kind 3")
    assert dataset.splits["test"].captions == [['says "hi",\ntwice']]
    assert dataset.splits["test"].labels.tolist() == [2]


def test_pairs_are_recorded(fill):
    rows = jsonl(
        {"file_name": "1.png", "edges_file_name": "edges/1.png"},
        {"input_file_name": "edges/2.png", "target_file_name": "2.png"},
    )
    found = listed(fill({"1.png": 1, "2.png": 2, "edges/1.png": 3, "metadata.jsonl": rows}))
    assert [entry.name for entry in found.entries] == ["1.png", "2.png"]
    assert [entry.partners for entry in found.entries] == [("edges/1.png",), ("edges/2.png",)]


@pytest.mark.parametrize(
    "name",
    ["../1.png", "a/../../1.png", "/etc/1.png", "C:\\1.png", "..\\1.png", "http://x/1.png", "a\0.png", 7],
)
@pytest.mark.parametrize("column", ["file_name", "edges_file_name"])
def test_names_that_lead_elsewhere_are_refused(fill, name, column):
    row = {"file_name": "1.png", column: name}
    with pytest.raises(UserError, match="is rejected"):
        opened(fill({"1.png": 1, "metadata.jsonl": json.dumps(row)}))


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("metadata.jsonl", '{"file_name": "1.png"', "cannot be read"),
        ("metadata.jsonl", "[1]", "not an object"),
        ("metadata.jsonl", "[" * 100_000, "cannot be read"),
        ("metadata.jsonl", '{"label": "x"}', "row 1 has no file_name"),
        ("metadata.jsonl", '{"file_name": "1.png"}\n' * 2, "is a duplicate"),
        ("metadata.jsonl", b"\xff\xfe", "cannot be read"),
        ("metadata.csv", "label\nx\n", "row 1 has no file_name"),
        ("metadata.csv", 'file_name\n"1.png', "cannot be read"),
        ("metadata.parquet", "PAR1", "not read"),
    ],
)
def test_bad_metadata_name_the_place(fill, table, content, message):
    with pytest.raises(UserError, match=message) as caught:
        opened(fill({"1.png": 1, table: content}))
    assert "\n" not in str(caught.value)


def test_partly_labelled_images_have_no_labels(fill):
    rows = [{"file_name": f"{number}.png", "label": label} for number, label in enumerate(("a", None, "b"))]
    path = fill({f"{number}.png": number for number in range(3)} | {"metadata.jsonl": jsonl(*rows)})
    assert opened(path).spec.class_names == ()


def test_a_folder_without_images_is_refused(fill):
    with pytest.raises(UserError, match="holds no images"):
        opened(fill({"notes.txt": "hello"}))


@pytest.mark.parametrize("count", [19, 20, 40])
def test_at_most_five_percent_may_be_unreadable(fill, count):
    path = fill({f"{number:02}.png": number for number in range(count - 1)} | {"bad.png": "no image"})
    if count < 20:
        with pytest.raises(UserError, match=r"1 of 19 images cannot be read: bad.*ganforge data check"):
            opened(path)
    else:
        dataset = opened(path)
        assert len(dataset.splits["train"]) == count - 1
        assert [name for name, _ in dataset.skipped] == ["bad.png"]
    with pytest.raises(UserError, match="expected at most 0"):
        opened(path, unreadable="stop")


def test_damaged_pixels_are_skipped_with_their_label_and_caption(fill):
    files: dict[str, Any] = {f"{number:02}.png": number for number in range(40)}
    files["07.png"] = encode(noise(7, 30, 30))[:500]
    rows = [{"file_name": name, "label": name[0], "text": name} for name in files]
    images = opened(fill(files | {"metadata.jsonl": jsonl(*rows)}), size=8).splits["train"]
    assert len(images) == len(images.labels) == len(images.captions) == 39
    assert images.captions[7] == ["08.png"] == [images.name(7)]
    assert images.labels.tolist() == [0] * 9 + [1] * 10 + [2] * 10 + [3] * 10


def test_sizes_decide_the_shape(fill):
    equal = {f"{number}.png": encode(noise(number, 6, 9)) for number in range(3)}
    assert opened(fill(equal)).spec.shape == (3, 6, 9)
    mixed = equal | {"3.png": encode(noise(3, 40, 70)), "4.png": encode(noise(4, 33, 50))}
    mixed |= {"5.png": encode(noise(3, 500, 700))}
    path = fill(mixed)
    assert opened(path).spec.shape == (3, 4, 4)  # sides 6 6 6 33 40 500: the lower median is 6
    assert opened(path, size=10, channels="grey").spec.shape == (1, 10, 10)


def test_grey_needs_every_image_to_be_grey(fill):
    grey = {f"{number}.png": encode(noise(number, channels=1)) for number in range(3)}
    assert opened(fill(grey)).spec.channels == 1
    assert opened(fill(grey), channels="color").spec.channels == 3
    assert opened(fill(grey | {"c.png": 1})).spec.channels == 3


def test_a_lazy_set_gives_the_pixels_of_one_in_memory(fill, zipped, monkeypatch):
    path = fill({f"{number % 2}/{number:02}.png": number for number in range(40)})
    whole = opened(path)
    monkeypatch.setattr(encoded, "IN_MEMORY_BYTES", 0)
    for place in (path, zipped(path)):
        images = opened(place).splits["train"]
        assert images.pixels is None
        assert torch.equal(images.labels, whole.splits["train"].labels)
        order = torch.randperm(40)
        assert torch.equal(images.read(order), whole.splits["train"].read(order))
        assert images.shape == (3, 8, 8)
    assert opened(path).fingerprint == opened(path).fingerprint != whole.fingerprint


def test_a_image_that_goes_bad_gives_way_to_the_next_of_its_class(fill, monkeypatch):
    monkeypatch.setattr(encoded, "IN_MEMORY_BYTES", 0)
    path = fill({f"{number % 2}/{number:02}.png": number for number in range(40)})
    images, strict = (opened(path, unreadable=policy).splits["train"] for policy in ("skip", "stop"))
    (path / "0" / "06.png").write_bytes(b"gone")
    index = [images.name(number) for number in range(40)].index("0/06.png")
    expected = torch.from_numpy(noise(8)).permute(2, 0, 1)
    assert torch.equal(images.read(torch.tensor([index]))[0], expected)
    with pytest.raises(UserError, match=r"0/06\.png cannot be read"):
        strict.read(torch.tensor([index]))
    for file in sorted(path.rglob("*.png"))[:10]:
        file.write_bytes(b"gone")
    with pytest.raises(UserError, match="cannot be read"):
        images.read(torch.arange(40))


def test_fingerprints_follow_pixels_and_labels(fill):
    files = {"a/1.png": 1, "b/2.png": 2}
    first = opened(fill(files)).fingerprint
    assert len(first) == 64
    assert opened(fill(files)).fingerprint == first
    assert opened(fill(files), size=4).fingerprint != first
    assert opened(fill(files | {"b/2.png": 3})).fingerprint != first


@pytest.mark.skipif(os.name != "posix", reason="needs FIFOs and links of POSIX")
def test_hostile_folders_do_not_hang(fill, tmp_path):
    path = fill({f"{number:03}.png": number for number in range(5)} | {"real/9.png": 9})
    os.mkfifo(path / "fifo.png")
    os.mkdir(path / "folder.png")
    os.symlink("loop.png", path / "loop.png")
    os.symlink("nowhere.png", path / "broken.png")
    os.symlink("..", path / "real" / "up")
    os.symlink("real", path / "again")
    (path / os.fsdecode(b"caf\xe9.png")).write_bytes(encode(noise(1)))
    (path / "._000.png").write_bytes(b"resource fork")
    files = storage.Folder(path)
    images = [entry.name for entry in folder.list_images(files, "x", "label").entries]
    assert images.count("real/9.png") == 1
    reasons = {}
    for name in images:
        try:
            files.read(name)
        except Unreadable as error:
            reasons[name] = str(error)
    assert set(reasons) == {"fifo.png", "folder.png", "loop.png", "broken.png"}
    assert "regular" in reasons["fifo.png"]
    with pytest.raises(UserError, match="4 of 11") as caught:
        opened(path)
    assert str(caught.value).isprintable()


def test_hostile_archives_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK\3\4 nothing")
    with pytest.raises(UserError, match="cannot be read as a zip"):
        opened(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../out.png", encode(noise(1)))
        archive.writestr("flipped.png", encode(noise(2)))
        archive.writestr("huge.png", b"\0" * 1000)
        archive.writestr("fine.png", encode(noise(3)))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("flipped.png").header_offset
    data[offset + 60] ^= 255
    at = data.rindex(b"huge.png") - 46 + 24
    data[at : at + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    stored = storage.Archive(path)
    assert len(stored.read("fine.png")) == stored.size("fine.png")
    for name, reason in {"../out.png": "escapes", "flipped.png": ".", "huge.png": "larger than"}.items():
        with pytest.raises(Unreadable, match=reason):
            stored.read(name)
