"""The layouts of other tools are recognised, or refused with the command that reads them."""

import json
import os

import pytest
from drawn import encode, noise

from ganforge.data.check import check
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError


def opened(path, **settings):
    return open_dataset(DataOptions(data=str(path), **settings))


def labelled(dataset, split="train"):
    images = dataset.splits[split]
    names = dataset.spec.class_names
    return {images.name(row): names[label] for row, label in enumerate(images.labels.tolist())}


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("Train", "Test", "test"),
        ("TRAIN", "VAL", "validation"),
        ("training", "valid", "validation"),
        ("Training", "Testing", "test"),
        ("train_images", "test_images", "test"),
        ("train2017", "val2017", "validation"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("outer/Train/images", "outer/Test/images", "test"),
    ],
)
def test_folders_of_splits_are_no_classes(fill, zipped, train, other, split):
    path = fill({f"{train}/cat/1.png": 1, f"{train}/dog/2.png": 2, f"{other}/cat/3.png": 3})
    for place in (path, zipped(path)):
        dataset = opened(place)
        assert dataset.spec.class_names == ("cat", "dog")
        assert {name: len(images) for name, images in dataset.splits.items()} == {"train": 2, split: 1}


def test_splits_below_classes(fill):
    path = fill({"cat/train/1.png": 1, "dog/train/2.png": 2, "cat/test/3.png": 3})
    dataset = opened(path)
    assert labelled(dataset) == {"cat/train/1.png": "cat", "dog/train/2.png": "dog"}
    assert labelled(dataset, "test") == {"cat/test/3.png": "cat"}


@pytest.mark.parametrize("extra", ["bus/9.png", "9.png", "seg_pred/9.png"])
def test_splits_next_to_other_folders_are_refused(fill, extra):
    names = ("seg_train", "seg_test") if "seg" in extra else ("Train", "Test")
    path = fill({f"{names[0]}/a/1.png": 1, f"{names[1]}/b/2.png": 2, extra: 3})
    with pytest.raises(UserError, match=f"folder {names[0]} next to .*: splits or classes"):
        opened(path)


@pytest.mark.parametrize("outer", ["", "outer/"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_stylegan_labels_are_those_of_its_dataset_json(fill, zipped, outer, kind):
    names = [f"{number // 4:05}/img{number:08}.png" for number in range(8)]
    labels = {"labels": [[name, number % 3] for number, name in enumerate(names)]}
    files = {f"{outer}{name}": number for number, name in enumerate(names)}
    path = fill(files | {f"{outer}dataset.json": json.dumps(labels)})
    dataset = opened(path if kind == "folder" else zipped(path))
    assert list(labelled(dataset).values()) == [str(number % 3) for number in range(8)]
    assert not dataset.notes


@pytest.mark.parametrize(
    ("content", "classes", "word"),
    [
        ({"labels": None}, (), "no labels"),
        (None, (), "only count on"),
        ({"labels": {"00000/img0.png": "a", "00000/img1.png": "b", "00001/img2.png": "a"}}, ("a", "b"), ""),
        ({"labels": [[f"0000{n // 2}/img{n}.png", [n == 1, n != 1]] for n in range(3)]}, ("0", "1"), ""),
        ({"labels": [[f"0000{n // 2}/img{n}.png", [0.5, n]] for n in range(3)]}, (), "vectors"),
        ({"labels": [["00000/img0.png", 1], ["00000/img1.png", 2], ["gone.png", 3]]}, (), "1 of 3 images"),
    ],
)
def test_running_folders_are_no_classes(fill, content, classes, word):
    files = {f"0000{number // 2}/img{number}.png": number for number in range(3)}
    path = fill(files if content is None else files | {"dataset.json": json.dumps(content)})
    dataset = opened(path)
    assert dataset.spec.class_names == classes
    assert any(word in note for note in dataset.notes) or not word
    assert opened(path, label_column="folder").spec.class_names == ("00000", "00001")


def test_classes_that_are_numbers_are_not_running_folders(fill):
    files = {
        f"{label:05}/{label:05}_{number:05}.png": 10 * label + number for label in (0, 1) for number in (0, 1)
    }
    assert opened(fill(files)).spec.class_names == ("00000", "00001")


def test_the_domains_of_cyclegan_are_refused_with_the_commands(fill, zipped):
    files = {f"{split}{domain}/1.png": 1 for split in ("train", "test") for domain in "AB"}
    path = fill(files)
    with pytest.raises(
        UserError, match=r"trainB --sources .*trainA` for pairs, or .*trainB` for one domain"
    ) as error:
        opened(path)
    assert str(error.value) in check(DataOptions(data=str(path))).problems
    with pytest.raises(UserError, match="unpack it, then type"):
        opened(zipped(path))
    assert opened(path / "trainB", sources=str(path / "trainA")).spec.source_shape == (3, 8, 8)
    unpaired = fill({"trainA/2.png": 4})
    with pytest.raises(UserError, match=r"type `--data [^`]*trainB`$"):
        opened(unpaired)


ROWS = [(f"{number}", "ab"[number % 2]) for number in range(8)]


def table(header, separator, suffix=".png"):
    return "\n".join([separator.join(header), *(separator.join((n + suffix, label)) for n, label in ROWS)])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", table(("filename", "class"), ",")),
        ("train.csv", table(("id", "breed"), ",", "")),
        ("labels.tsv", table(("Image Name", "Species"), "\t")),
        ("annotations.csv", table(("path", "target"), ";").replace("0.png", "images/0.png")),
        ("metadata.csv", table(("file_name", "label"), ";")),
        ("metadata.csv", "\ufeff" + table(("file_name", "Label"), "\t")),
        ("metadata.csv", "sep=;\n" + table(("file_name", "label"), ";")),
        ("metadata.csv", table(('"file_name"', '"label"'), "|")),
        ("labels.csv", table(("0.png", "a"), ",").replace("0.png,a\n0.png,a", "0.png,a")),
        ("labels.json", json.dumps({f"{n}.png": label for n, label in ROWS})),
        ("metadata.json", json.dumps([{"file_name": f"{n}.png", "label": label} for n, label in ROWS])),
        ("utf16.csv", table(("filename", "class"), ",").encode("utf-16")),
    ],
)
def test_tables_of_classes_are_read(fill, name, content):
    folder = "images/" if "images/" in str(content) else ""
    path = fill({f"{folder}{number}.png": number for number in range(8)} | {name: content})
    dataset = opened(path)
    assert list(labelled(dataset).values()) == [label for _, label in ROWS]
    assert opened(path, label_column="none").spec.class_names == ()


def test_a_table_that_is_not_utf_8_is_read_and_said(fill):
    content = table(("filename", "class"), ";").replace("b", "\xe4").encode("latin-1")
    dataset = opened(fill({f"{number}.png": number for number in range(8)} | {"labels.csv": content}))
    assert dataset.spec.class_names == ("a", "\xe4")
    assert any("Windows-1252" in note for note in dataset.notes)


def test_a_table_of_training_images_leaves_the_others_out(fill):
    files = {f"train/{number}.png": number for number in range(8)} | {
        f"test/{number}.png": 9 for number in range(3)
    }
    submission = "id,label\n" + "".join(f"{number},a\n" for number in range(3))
    dataset = opened(
        fill(files | {"train.csv": table(("id", "label"), ",", ""), "sample_submission.csv": submission})
    )
    assert set(labelled(dataset)) == {f"train/{number}.png" for number in range(8)}
    assert any("3 images are not named by train.csv" in note for note in dataset.notes)
    assert any("not read: sample_submission.csv" in note for note in dataset.notes)


def test_a_missing_column_is_answered_with_those_that_exist(fill):
    rows = "file_name;Smiling;Male\n" + "".join(f"{n}.png;{int(n) % 2};1\n" for n, _ in ROWS)
    files = {f"{number}.png": number for number in range(8)}
    for name in ("metadata.csv", "list_attr.csv"):
        path = fill(files | {name: rows})
        with pytest.raises(UserError, match=r"--label-column Smilling: .* expected one of Smiling, Male"):
            opened(path, label_column="Smilling")
        assert opened(path, label_column="smiling").spec.class_names == ("0", "1")
        dataset = opened(path)
        assert dataset.spec.class_names == ()
        assert any("--label-column takes one of Smiling, Male" in note for note in dataset.notes)
        (path / name).unlink()
    with pytest.raises(UserError, match="its classes are its folders"):
        opened(path, label_column="Smiling")


def test_the_only_column_left_is_the_class_and_said(fill):
    rows = "file_name,Male\n" + "".join(f"{n}.png,{int(n) % 2}\n" for n, _ in ROWS)
    files = {f"{number}.png": number for number in range(8)}
    dataset = opened(fill(files | {"metadata.csv": rows}))
    assert dataset.spec.class_names == ("0", "1")
    assert dataset.options.label_column == "Male"
    assert any("classes are the column Male of metadata.csv" in note for note in dataset.notes)
    assert opened(fill({"metadata.csv": rows}), label_column="label").spec.class_names == (), (
        "as runs have it"
    )
    measured = "file_name,weight\n" + "".join(f"{n}.png,{int(n) % 2 + 0.5}\n" for n, _ in ROWS)
    assert opened(fill({"metadata.csv": measured})).spec.class_names == ()


def test_two_tables_are_refused(fill):
    files = {f"{number}.png": number for number in range(8)}
    path = fill(files | {name: table(("file", "class"), ",") for name in ("a.csv", "b.csv")})
    with pytest.raises(UserError, match=r"a.csv and b.csv name the same images: rename the right one"):
        opened(path)


def test_a_name_that_fits_two_files_is_refused(fill):
    path = fill({"a/1.png": 1, "b/1.png": 2, "metadata.csv": "file_name,label\n1.png,x\n"})
    with pytest.raises(UserError, match=r"'1.png' can be a/1.png or b/1.png"):
        opened(path)


def test_files_that_look_like_metadata_and_are_not_read_are_named(fill):
    files = {f"{number}.png": number for number in range(3)} | {"README.txt": "hello", "1.txt": "a caption"}
    files |= {"labels.xlsx": b"PK", "list.txt": "0.png 1"} | {
        f"boxes/{number}.xml": "<a/>" for number in range(9)
    }
    path = fill(files)
    (line,) = [note for note in opened(path).notes if note.startswith("not read")]
    assert "labels.xlsx" in line
    assert "list.txt" in line
    assert "9 .xml files such as boxes/0.xml" in line
    assert "README" not in line
    assert "1.txt" not in line
    assert any(line in shown for shown in check(DataOptions(data=str(path))).lines())


@pytest.mark.parametrize("column", ["Smiling", "label"])
def test_arrays_have_no_columns(column):
    if column == "label":
        assert opened("ring", label_column=column).options.label_column == "label"
        return
    with pytest.raises(UserError, match="--label-column Smiling is for image files"):
        opened("ring", label_column=column)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("split", ("Training", "VALID"), {"train": 4, "validation": 4}),
        ("partition", ("0", "2"), {"train": 4, "test": 4}),
        ("set", ("Alpha", "Beta"), {"train": 8}),  # of cards
    ],
)
def test_columns_of_splits(fill, column, values, expected):
    rows = "".join(f"{n}.png,{label},{values[int(n) % 2]}\n" for n, label in ROWS)
    path = fill({f"{n}.png": n for n in range(8)} | {"metadata.csv": f"file_name,label,{column}\n{rows}"})
    assert {split: len(images) for split, images in opened(path).splits.items()} == expected


def test_what_utf_8_cannot_store_is_escaped(fill):
    rows = [{"file_name": f"{n}.png", "label": f"x\ud800{n % 2}", "text": "a \udc00"} for n in range(4)]
    files = {f"{n}.png": n for n in range(4)}
    dataset = opened(fill(files | {"metadata.jsonl": "\n".join(map(json.dumps, rows))}))
    assert dataset.spec.class_names == ("x\\ud8000", "x\\ud8001")
    dataset.spec.model_dump_json()
    json.dumps(dataset.splits["train"].captions, ensure_ascii=False).encode()


@pytest.mark.skipif(os.name != "posix", reason="needs links and names of POSIX")
def test_links_that_lead_outside_are_named(fill, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(encode(noise(9)))
    path = fill({f"a/{n}.png": n for n in range(3)} | {os.fsdecode(b"caf\xe9/4.png"): 4})
    os.symlink(outside, path / "a" / "link.png")
    os.symlink("0.png", path / "a" / "inside.png")
    dataset = opened(path)
    assert any("1 link is to places outside of the folder: a/link.png" in note for note in dataset.notes)
    assert dataset.spec.class_names == ("a", "caf\\udce9")
    dataset.spec.model_dump_json()


def test_files_without_a_usual_name_are_images_by_content(fill):
    files = {
        "photo": encode(noise(1)),
        "scan.dat": encode(noise(2), "JPEG"),
        "x.png.download": encode(noise(3)),
    }
    files |= {"BMW cars.md": b"BM of text", "notes": b"II is no TIFF"}
    dataset = opened(fill(files))
    images = dataset.splits["train"]
    assert [images.name(row) for row in range(3)] == ["photo", "scan.dat", "x.png.download"]
