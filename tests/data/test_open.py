import json
import subprocess
import sys

import pytest
import torch
from command import draw_images
from drawn import encode, noise

from ganforge.data.decode import Unreadable
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.catalogue import available
from ganforge.data.sources.hub import HubRows, list_hub_set, list_rows
from ganforge.data.sources.storage import Folder, ReadOnce
from ganforge.errors import UserError
from ganforge.files import download


def opened(data, **settings):
    return open_dataset(DataOptions(data=str(data), **settings))


@pytest.mark.parametrize("name", ["ring", "grid", "gaussian", "spiral", "moons"])
def test_toys_open_as_points(name):
    dataset = opened(name)
    assert dataset.spec.shape == (2, 1, 1)
    assert dataset.spec.values == "points"
    assert dataset.splits["train"].read(torch.tensor([0, 5])).dtype == torch.float32
    assert (dataset.mixture is not None) == (name in ("ring", "grid"))
    if dataset.mixture is not None:
        assert len(dataset.spec.class_names) == len(dataset.mixture.means)
    with pytest.raises(UserError, match="2-D points"):
        opened(name, flip=True)


def test_emoji_open_with_captions_and_splits():
    dataset = opened("emoji", size=16)
    assert {split: len(images) for split, images in dataset.splits.items()} == {"train": 3331, "test": 455}
    assert dataset.spec.shape == (3, 16, 16)
    assert len(dataset.spec.class_names) == 10
    assert dataset.splits["train"].captions[0] == ["hash key", "hash", "keycap emoji of hash key"]
    assert not dataset.skipped


def test_classes_that_are_not_there_are_not_balanced(tmp_path):
    (tmp_path / "one.png").write_bytes(encode(noise(8, 8)))
    with pytest.raises(UserError, match="--balance-classes needs classes"):
        opened(str(tmp_path), balance_classes=True)


def test_photos_open_by_path(shared):
    dataset = opened(shared / "photos" / "photos-256.zip", size=32)
    assert len(dataset.splits["train"]) == 185
    assert len(dataset.splits["validation"]) == 24


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("mnsit", "did you mean mnist"),
        ("no/such/folder", "does not exist"),
        ("images.zip", "does not exist"),
        ("", "does not exist"),
        ("a" * 5000, "unknown data set"),
        ("bad\0name", "unknown data set"),
        ("celeba:no/such", "no folder img_align_celeba"),
        ("/dev/null", "neither a folder nor a regular file"),
        (__file__, "is a single file"),
    ],
)
def test_unknown_data_say_what_to_do(data, message):
    with pytest.raises(UserError, match=message) as caught:
        opened(data)
    assert "\n" not in str(caught.value)


def test_every_listed_name_has_one_line():
    assert {"mnist", "emoji", "ring", "cifar10", "fashion-mnist"} <= set(available())
    assert all(line and "\n" not in line for line in available().values())


def test_celeba_is_cropped_split_and_labelled(tmp_path):
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    for number in range(1, 5):
        (folder / f"00000{number}.jpg").write_bytes(encode(noise(number, 218, 178), "JPEG"))
    partition = "".join(f"00000{number}.jpg {number // 2}\n" for number in range(1, 5))
    (tmp_path / "list_eval_partition.txt").write_text(partition)
    attributes = [f"00000{number}.jpg  -1 {1 if number % 2 else -1}\n" for number in range(1, 5)]
    (tmp_path / "list_attr_celeba.txt").write_text("4\nMale Smiling\n" + "".join(attributes))
    dataset = opened(f"celeba:{tmp_path}", label_column="Smiling")
    assert dataset.spec.shape == (3, 64, 64)
    assert {split: images.labels.tolist() for split, images in dataset.splits.items()} == {
        "train": [1],
        "validation": [0, 1],
        "test": [0],
    }
    assert opened(f"celeba:{tmp_path}").spec.class_names == ()


def test_downloads_are_parsed_for_real(shared, tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path))
    target = tmp_path / "fashion-mnist"
    target.mkdir()
    for name in download.FASHION_SHA256:
        (target / name).symlink_to(shared / "fashion-mnist" / name)
    # The real `retrieve` finds the files in the cache and checks their hashes without a connection.
    dataset = opened("fashion-mnist")
    assert dataset.spec.class_names[9] == "Ankle boot"
    assert dataset.spec.num_images == 50_000

    def fail(*_args, **_settings):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(UserError, match=r"could not be downloaded .*by hand") as caught:
        opened("cifar10")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "extra"), [("hf:owner/name", "hub-data"), ("fashion-mnist", "download")])
def test_a_missing_extra_is_named(data, extra, monkeypatch):
    for module in ("datasets", "pooch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'ganforge\[{extra}\]'"):
        opened(data)


class Table:
    """The few methods of `datasets.Dataset` that the reader uses."""

    def __init__(self, rows, features):
        self.rows, self.features = rows, features

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]

    def remove_columns(self, columns):
        rows = [{key: row[key] for key in row if key not in columns} for row in self.rows]
        return Table(rows, self.features)


class Names:
    names = ("dog", "cat")


def test_rows_of_the_hub_become_entries():
    rows = [{"image": {"bytes": encode(noise(n))}, "label": n % 2, "text": f"number {n}"} for n in range(3)]
    tables = {"train": Table(rows, {"image": None, "label": Names(), "text": None}), "test": Table([], {})}
    entries, order = list_rows(tables, "image", "label")
    assert [entry.label for entry in entries] == ["dog", "cat", "dog"]
    assert entries[1].captions == ("number 1",)
    assert order == ("dog", "cat")
    assert HubRows(tables, "image").read("train/2") == encode(noise(2))


def test_a_set_of_the_hub_opens_from_a_local_folder(fill):
    pytest.importorskip("datasets", reason="needs the extra hub-data")
    rows = [{"file_name": f"{number}.png", "label": number % 2, "text": "some"} for number in range(4)]
    table = "\n".join(json.dumps(row) for row in rows)
    path = fill({f"train/{number}.png": number for number in range(4)} | {"train/metadata.jsonl": table})
    storage, listing = list_hub_set(str(path), "label")
    assert listing.class_names == ("0", "1")
    assert storage.read("train/3") == encode(noise(3))


def test_importing_the_room_is_cheap_in_modules():
    code = "import ganforge.data.dataset, ganforge.data.check, ganforge.data.pack, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pooch", "datasets", "requests", "pandas", "matplotlib"} & set(loaded.stdout.split())


def test_each_file_is_read_once_where_the_images_fit_into_memory(tmp_path, monkeypatch):
    folder, sources = draw_images(tmp_path / "images", 12), draw_images(tmp_path / "sources", 12)
    read, whole = [], Folder.read

    def counted(self, name):
        read.append((self.root, name))
        return whole(self, name)

    monkeypatch.setattr(Folder, "read", counted)
    opened(folder, sources=str(sources))
    assert sorted(read) == sorted((place, f"{n:03d}.png") for place in (folder, sources) for n in range(12))


def test_files_beyond_the_room_are_read_again(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode() * 10)
    twice = ReadOnce(Folder(tmp_path), most=20)
    assert [twice.read(name) for name in "abc"] == [b"a" * 10, b"b" * 10, b"c" * 10]
    for name in "abc":
        (tmp_path / name).write_bytes(b"new")
    assert [twice.read(name) for name in "abc"] == [b"a" * 10, b"b" * 10, b"new"]
    assert [twice.read(name) for name in "ab"] == [b"new", b"new"]
    with pytest.raises(Unreadable, match="missing"):
        twice.read("d")
