"""The run folder: what it remembers, what it refuses, who may hold it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import environment

import ganforge
from ganforge.data.batch import DataSpec
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.runs.build import build_system
from ganforge.runs.folder import Run, RunConfig, find_runs, locked
from ganforge.runs.identity import check_same
from ganforge.runs.options import TrainOptions

HOLD = """
import sys, time
from pathlib import Path
from ganforge.runs.folder import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "config.json").write_text("{}")
    print("held", flush=True)
    time.sleep(60)
"""


def config(**changes: Any) -> RunConfig:
    values: dict[str, Any] = {
        "ganforge": "0.1.0",
        "system": "gan",
        "data": DataOptions(data="émoji 🎈", size=16),
        "train": TrainOptions(seed=2**64 - 1, precision="fp32"),
        "config": {"steps": 40, "learning_rate": 0.1 + 0.2, "hidden": [3, 4], "nothing": None},
        "spec": DataSpec(channels=3, height=16, width=8, num_images=5, class_names=("a", "b")),
        "fingerprint": "abc",
    }
    return RunConfig.model_validate(values | changes)


def test_a_config_comes_back_exactly(tmp_path: Path) -> None:
    Run.create(tmp_path / "r", config())
    opened = Run.open(tmp_path / "r")
    assert opened.config == config()
    written = (tmp_path / "r/config.json").read_bytes()
    opened.write_config(opened.config)
    assert (tmp_path / "r/config.json").read_bytes() == written
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["config.json"]


def test_the_same_config_may_go_on_and_some_things_may_change(tmp_path: Path) -> None:
    run = Run.create(tmp_path, config())
    check_same(run, config())
    free = {
        "log_every": 1,
        "keep": 9,
        "checkpoint_every": 3,
        "sample_every": 4,
        "compile": "on",
        "device": "cpu",
    }
    check_same(
        run,
        config(
            config=config().config | {"steps": 99},
            ganforge="9.9",
            train=TrainOptions(seed=2**64 - 1, precision="fp32", **free),
            start_from="runs/other",
        ),
    )


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        (
            {"config": {"steps": 40, "learning_rate": 0.5}},
            "--learning-rate is 0.30000000000000004 there and 0.5",
        ),
        (
            {"train": TrainOptions(seed=3, precision="fp32")},
            "--seed is 18446744073709551615 there and 3 here",
        ),
        (
            {"train": TrainOptions(seed=2**64 - 1, precision="bf16")},
            "--precision is 'fp32' there and 'bf16' here",
        ),
        ({"data": DataOptions(data="émoji 🎈", size=8)}, "--size is 16 there and 8 here"),
        (
            {"fingerprint": "xyz"},
            "trained on other data: as many training images of the same size",
        ),
        (
            {"fingerprint": "xyz", "spec": DataSpec(channels=3, height=16, width=8, num_images=6)},
            "5 training images then, 6 now; 2 classes then, no classes now: put the earlier data back",
        ),
        ({"system": "dcgan", "config": {}}, "another run: system is gan there and dcgan here"),
    ],
)
def test_differences_are_shown(tmp_path: Path, changes: dict[str, Any], shown: str) -> None:
    run = Run.create(tmp_path, config())
    with pytest.raises(UserError) as caught:
        check_same(run, config(**changes))
    assert shown in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_rewind_drops_what_came_after(tmp_path: Path) -> None:
    run = Run.create(tmp_path, config())
    run.append({"kind": "start", "step": 0, "command": "émoji 🎈"})
    for step in (7, 14, 20, 21):
        run.append({"kind": "train", "step": step, "loss": 1 / step})
    run.append({"kind": "note", "step": 21, "text": "later"})
    run.append({"kind": "train", "step": 28, "loss": float("nan")})
    before = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    (tmp_path / "samples").mkdir()
    (tmp_path / "config.json.tmp-17").touch()
    (
        tmp_path / f"report.html.tmp-{os.getppid()}"
    ).touch()  # perhaps that of an evaluation that is just going on
    for name in (
        "000000.png",
        "000020.png",
        "000021.png",
        "1000000.png",
        "mine.png",
        "²5.png",
        "000020.png.tmp-17",
    ):
        (tmp_path / "samples" / name).touch()
    run.rewind(20)
    assert (tmp_path / "metrics.jsonl").read_bytes().splitlines() == before[:4]
    assert [line["step"] for line in run.metrics()] == [7, 14, 20]
    assert [path.name for path in tmp_path.glob("*.tmp-*")] == [f"report.html.tmp-{os.getppid()}"]
    left = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert left == ["000000.png", "000020.png", "mine.png", "²5.png"]
    run.rewind(20)
    assert (tmp_path / "metrics.jsonl").read_bytes().splitlines() == before[:4]


def test_without_a_checkpoint_only_the_starts_stay(tmp_path: Path) -> None:
    run = Run.create(tmp_path, config())
    for kind in ("start", "samples", "note", "start", "samples"):
        run.append({"kind": kind, "step": 0})
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "000000.png").touch()
    run.rewind(None)
    assert [line["kind"] for line in lines_of(tmp_path)] == ["start", "start"]
    assert list((tmp_path / "samples").iterdir()) == []


def test_what_a_killed_start_leaves_is_an_empty_folder(tmp_path: Path) -> None:
    for name in (".lock", "config.json.tmp-17"):
        (tmp_path / name).touch()
    (tmp_path / "text_encoder.tmp-17" / "checkpoints").mkdir(parents=True)
    assert Run.create(tmp_path, config()).config == config()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json"]


@pytest.mark.parametrize("name", ["text_encoder", "thesis.tmp-17", "config.json.tmp-x", "samples"])
def test_other_files_are_not_those_of_a_killed_start(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="not a run folder and not empty"):
        Run.create(tmp_path, config())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_rewind_of_a_new_run_has_nothing_to_do(tmp_path: Path) -> None:
    run = Run.create(tmp_path, config())
    run.rewind(0)
    assert run.metrics() == []


@pytest.mark.parametrize(
    "torn", [b'{"kind": "train", "st', b'{"kind": "train", "text": "\xc3', b"\0\0\0", b"17", b"[]"]
)
def test_a_torn_last_line_is_left_out(tmp_path: Path, torn: bytes) -> None:
    run = Run.create(tmp_path, config())
    run.append({"kind": "train", "step": 7})
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(torn)
    assert run.metrics() == [{"kind": "train", "step": 7}]
    run.rewind(7)
    run.append({"kind": "train", "step": 14})
    assert lines_of(tmp_path) == [{"kind": "train", "step": 7}, {"kind": "train", "step": 14}]


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"not a run folder and not empty \(thesis.tex\)"), locked(tmp_path):
        Run.create(tmp_path, config())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        Run.create(file, config())
    with pytest.raises(UserError, match="cannot make the run folder"), locked(file):
        pass
    with pytest.raises(UserError, match="cannot make the run folder"), locked(file / "below"):
        pass
    assert file.read_text() == "mine"


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run folder \(no config.json\)"):
        Run.open(tmp_path)
    with pytest.raises(UserError, match=r"not a run folder \(no config.json\)"):
        Run.open(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "JSON"),
        ("{}", "ganforge"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_broken_config_is_named(tmp_path: Path, text: str, shown: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=f"config.json cannot be read: .*({shown})") as caught:
        Run.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_lock_is_exclusive_and_dies_with_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training in"), locked(folder):
            pytest.fail("two processes hold one run folder")
        assert (folder / ".lock").exists()  # the refused one took nothing away
        with pytest.raises(UserError, match="another process"), locked(folder):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with locked(folder):
            pass
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def test_the_lock_is_free_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), locked(tmp_path / "r"):
        raise RuntimeError("inside")
    assert not (tmp_path / "r").exists()  # no run was begun, so nothing stays
    (tmp_path / "mine").mkdir()
    with locked(tmp_path / "mine"):
        assert (tmp_path / "mine/.lock").exists()
    assert list((tmp_path / "mine").iterdir()) == []


def test_runs_are_found_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        Run.create(tmp_path / name, config())
        os.utime(tmp_path / name / "config.json", (1e9 - age, 1e9 - age))
    (tmp_path / "no run").mkdir()
    assert [path.name for path in find_runs(tmp_path)] == ["new", "middle", "old"]
    assert find_runs(tmp_path / "none") == []
    Run.create(tmp_path / "several" / "seed-0", config())
    assert len(find_runs(tmp_path)) == 3
    assert find_runs(tmp_path, nested=True)[0] == tmp_path / "several" / "seed-0"


def test_options_of_another_version_are_named_in_one_line() -> None:
    values = config(ganforge="0.0.9", config={"steps": -3})
    with pytest.raises(UserError, match=r"of ganforge 0\.0\.9: gan rejects steps = -3") as refused:
        build_system(values)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "place", [(), ("data",), ("train",), ("config",)], ids=["run", "data", "train", "config"]
)
def test_an_unknown_field_is_a_note(tmp_path: Path, place: tuple[str, ...]) -> None:
    """A run of another version is read as far as this version knows it."""
    ganforge.train("gan", "gaussian", run=tmp_path / "run", steps=1, batch=8, quiet=True)
    values = json.loads((tmp_path / "run" / "config.json").read_text())
    part = values
    for name in place:
        part = part[name]
    part["of_another_version"] = 3
    (tmp_path / "run" / "config.json").write_text(json.dumps(values))
    with pytest.warns(UserWarning, match="of_another_version unknown to this version, ignored"):
        trained = ganforge.load(tmp_path / "run")
    assert trained.sample(3).shape == (3, 2, 1, 1)
