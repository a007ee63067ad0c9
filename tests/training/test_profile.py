"""Where the time of a training goes."""

import json
from itertools import groupby
from pathlib import Path

import pytest
from command import run

from ganforge.nn.losses import PENALTY
from ganforge.training.profile import DATA, FORWARD, group_of
from ganforge.training.state import AVERAGES, METER

SMALL = ("--width", 8, "--batch", 16, "--device", "cpu", "--precision", "fp32")


def test_a_profile_says_where_the_time_goes_and_trains_nothing(tmp_path: Path) -> None:
    done = run("train", "dcgan", "--data", "mnist", *SMALL, "--profile", "p", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p"]
    summary = (tmp_path / "p/summary.txt").read_text()
    assert done.stdout.startswith(summary)
    first, *rows = summary.splitlines()
    assert first.startswith("10 steps of 16 images")
    tables = [list(rows) for blank, rows in groupby(rows, lambda row: not row) if not blank]
    phases, parts, _ = (dict(line.rsplit(maxsplit=2)[::2] for line in table[1:]) for table in tables)
    assert sum(map(float, phases.values())) == pytest.approx(100, abs=1)
    assert {FORWARD, "backward", "optimizer", AVERAGES, METER} <= phases.keys()
    assert float(phases["backward"]) > float(phases["optimizer"])
    assert sum(map(float, parts.values())) == pytest.approx(100, abs=1)
    assert float(parts["convolutions, backward"]) > 5
    assert {DATA, "optimizer, averages, norms of gradients"} <= parts.keys()
    trace = json.loads((tmp_path / "p/trace.json").read_text())
    assert any("convolution_backward" in event.get("name", "") for event in trace["traceEvents"])


def test_a_penalty_is_a_phase(tmp_path: Path) -> None:
    done = run(
        "train", "r3gan", "--data", "mnist", "--width", 8, "--batch", 4, "--profile", "p", cwd=tmp_path
    )
    assert PENALTY in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("place", "message"),
    [("there", "exists already: choose another name"), ("a/b", "`mkdir -p a` first")],
)
def test_a_folder_that_exists_is_left_alone(tmp_path: Path, place: str, message: str) -> None:
    (tmp_path / "there").mkdir()
    done = run("train", "gan", "--data", "ring", "--profile", place, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_every_operation_has_a_part() -> None:
    expected = {
        "aten::convolution_backward": "convolutions, backward",
        "aten::mkldnn_convolution": "convolutions, forward",
        "aten::mm": "matrix products",
        "aten::native_batch_norm_backward": "normalisation",
        "Optimizer.step#Adam.step": "optimizer, averages, norms of gradients",
        "aten::_fused_adam_": "optimizer, averages, norms of gradients",
        "aten::normal_": "random numbers",
        "aten::copy_": "copies and casts",
        "aten::leaky_relu": "element by element, and others",
        "aten::comma": "element by element, and others",
    }
    assert {name: group_of(name) for name in expected} == expected
