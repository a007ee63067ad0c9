import json
import os

import numpy as np
import pytest
from drawn import encode, noise

from ganforge.data.check import check
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError


def checked(path, **settings):
    report = check(DataOptions(data=str(path), **settings))
    assert json.loads(report.to_json())["data"] == report.data
    assert all(line.isprintable() for line in report.lines())
    return report


def test_each_planted_defect_is_found(fill):
    common = {"label": "many", "text": "some", "split": "train"}
    rows = [{"file_name": f"{number:02}.png"} | common for number in range(24)]
    rows[0] |= {"label": "few"}
    rows[1] |= {"split": "test"}
    rows[2] |= {"edges_file_name": "edges/02.png"}
    rows[3].pop("text")
    files = {f"{number:02}.png": encode(noise(number, 8, 8)) for number in range(24)}
    files["05.png"] = files["04.png"]
    files["06.png"] = encode(noise(1), "BMP")  # the pixels of 01.png, which is in the other split
    files["07.png"] = encode(noise(7, 8, 8, channels=4))
    files["08.png"] = encode(np.zeros((4, 6), dtype=np.uint16))
    files["09.png"] = encode(noise(9, 30, 30))[:400]
    files["99.png"] = encode(noise(99))
    table = "\n".join(json.dumps(row) for row in rows)
    report = checked(fill(files | {"metadata.jsonl": table}))
    assert report.counts == {"train": 22, "test": 1}
    assert report.sizes == {"8x8": 22, "6x4": 1}
    assert report.modes == {"RGB": 21, "RGBA": 1, "I;16": 1}
    assert report.with_alpha == 1
    assert report.classes == {"few": 1, "many": 21}
    assert report.imbalance == 21
    assert report.with_captions == 22
    assert report.partners_missing == ["02.png -> edges/02.png"]
    assert report.duplicates == [["01.png", "06.png"], ["04.png", "05.png"]]
    assert report.duplicates_across_splits == 1
    assert "truncated" in report.unreadable["09.png"].lower()
    assert report.unlisted == 1
    assert not report.problems
    for part in (
        "22 training images",
        "21 times",
        "2 images are exact copies of another",
        "1 image is in more than one split",
        "1 partner image cannot be found",
        "2 different sizes",
    ):
        assert any(part in line for line in report.warnings), part
    for part in ("1 of 24 images has no caption (03.png)", "1 image is not named by metadata.jsonl"):
        assert any(part in line for line in report.notes), part


def test_problems_are_what_training_would_refuse(fill):
    path = fill({"1.png": 1, "2.png": "no image"})
    report = checked(path)
    with pytest.raises(UserError) as caught:
        open_dataset(DataOptions(data=str(path)))
    (problem,) = report.problems
    assert problem.partition(": repair")[0] == str(caught.value).partition("; type")[0]
    assert "data check" not in problem, "the command that has just been typed"
    assert "ready to train" not in report.lines()
    assert "ready to train" in checked(fill({"2.png": 2})).lines()


def test_bad_metadata_are_a_problem_and_missing_data_an_error(fill):
    assert "no file_name" in checked(fill({"1.png": 1, "metadata.jsonl": "{}"})).problems[0]
    with pytest.raises(UserError, match="does not exist"):
        checked("no/such/folder")


def test_nothing_readable_is_a_problem(fill):
    report = checked(fill({"1.png": "no", "2.png": ""}))
    assert report.shape is None
    assert len(report.problems) == 2


def test_grey_images_in_color_are_noticed(fill):
    grey = np.repeat(noise(1)[..., :1], 3, axis=2)
    assert any("--channels grey" in line for line in checked(fill({"1.png": encode(grey)})).warnings)


@pytest.mark.skipif(os.name != "posix", reason="needs FIFOs and links of POSIX")
def test_hostile_folders_give_reasons(fill):
    random = np.random.default_rng(0)
    path = fill({f"{number}.png": number for number in range(3)})
    os.mkfifo(path / "fifo.png")
    os.mkdir(path / "folder.jpg")
    os.symlink("loop.png", path / "loop.png")
    os.symlink(".", path / "self")
    (path / os.fsdecode(b"\xff\n.png")).write_bytes(b"no image")
    whole = encode(noise(5, 40, 40), "JPEG")
    for number in range(200):
        damaged = bytearray(whole)
        damaged[random.integers(2, len(whole))] ^= 1 << random.integers(8)
        (path / f"fuzz{number}.jpg").write_bytes(damaged[: random.integers(1, len(whole))])
    report = checked(path)
    assert {"fifo.png", "folder.jpg", "loop.png"} <= set(report.unreadable)
    assert sum(report.counts.values()) + len(report.unreadable) == 207
    assert report.problems


@pytest.mark.parametrize("name", ["mnist", "ring"])
def test_built_in_sets_are_ready(name):
    report = checked(name)
    assert not report.problems
    assert report.lines()[-1] == "ready to train"
    assert report.counts["test"] == 10_000


def test_messages_are_true_of_what_they_describe(fill):
    wide = fill({f"{number}.png": encode(noise(number, 8, 16)) for number in range(3)})
    assert any("--pairs side-by-side" in line for line in checked(wide).warnings)
    assert not any(
        "smaller" in line or "twice as wide" in line for line in checked(wide, pairs="none").warnings
    )
    held_out = fill({f"{number}.png": 0 for number in range(3)})
    for number in range(3):
        (held_out / "test").mkdir(exist_ok=True)
        (held_out / f"{number}.png").rename(held_out / "test" / f"{number}.png")
    assert checked(held_out).problems == [
        "there are no training images, only test: expected a split called train"
    ]


def test_one_value_everywhere_is_said_without_an_option_that_fails(fill):
    (line,) = [
        line
        for line in checked(fill({f"{n}.png": encode(np.full((8, 8), 7, np.uint8)) for n in (1, 2)})).warnings
        if "value" in line
    ]
    assert line == "every pixel of every image has the value 7"


def test_lists_stay_in_one_line(fill):
    report = checked(fill({f"{'long name ' * 4}{n:03}.png": encode(noise(n, 8, 8 + n)) for n in range(40)}))
    assert len(report.sizes) == 40
    assert max(map(len, report.lines())) < 130
    assert any(line.startswith("sizes") and line.endswith("more") for line in report.lines())
