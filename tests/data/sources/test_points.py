"""Points of somebody's own, from a CSV file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganforge.data.check import check
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.points import read_points, write_points
from ganforge.errors import UserError


def test_written_points_are_read_bit_by_bit(tmp_path: Path) -> None:
    points = np.random.default_rng(0).standard_normal((500, 2)).astype(np.float32) * [1e-5, 1e3]
    points = points.astype(np.float32)
    (tmp_path / "p.csv").write_bytes(write_points(points.tolist()))
    assert np.array_equal(read_points(tmp_path / "p.csv"), points)


def test_a_file_is_a_data_set_of_points(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("x, y\n0.5,-1.25\n\n 3, 4 \n-1e2,0\n")
    dataset = open_dataset(DataOptions(data=str(file)))
    assert dataset.spec.values == "points"
    assert dataset.spec.num_images == 3
    assert dataset.splits["train"].read(torch.arange(3)).flatten(1).tolist() == [
        [0.5, -1.25],
        [3, 4],
        [-100, 0],
    ]
    report = check(DataOptions(data=str(file)))
    assert report.counts == {"train": 3}
    assert not report.problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0 points"),
        ("1,2\n", "1 points"),
        ("x,y\n1,2\nthree,4\n", "row 3"),
        ("1,2\n1,2,3\n", "row 2"),
        ("1,2\nnan,3\n", "row 2"),
        ("1,2\n1e7,3\n", "row 2"),
        ("1,x\n1,2\n3,4\n", "row 1"),
    ],
)
def test_bad_rows_get_one_line(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=expected) as error:
        open_dataset(DataOptions(data=str(file)))
    assert "\n" not in str(error.value)


def test_options_of_images_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("1,2\n3,4\n")
    with pytest.raises(UserError, match="--flip is for images"):
        open_dataset(DataOptions(data=str(tmp_path / "p.csv"), flip=True))
