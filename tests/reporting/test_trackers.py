"""Trackers: real libraries get what `metrics.jsonl` has, live and later; read back from their own files."""

import importlib.util
import io
import json
import sqlite3
import struct
import sys
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.reporting.trackers import LIBRARIES, check_tracker
from ganforge.reporting.trackers.feed import Feed, identity_of
from ganforge.training import loop, record

IMAGES = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DATA = {"train": IMAGES, "test": IMAGES[:24]}
TINY = {"batch": 8, "width": 4, "device": "cpu", "quiet": True, "log_every": 2, "sample_every": 3,
        "checkpoint_every": 2, "evaluate_every": 4, "evaluate_samples": 20}  # fmt: skip

needs = {
    name: pytest.mark.skipif(
        importlib.util.find_spec(library) is None,
        reason=f"{library} is not installed"
        + (": it needs pillow below 13, which is pinned here" if name == "trackio" else ""),
    )
    for name, library in LIBRARIES.items()
}


class Events:
    """What event files of TensorBoard hold: records of length, checksum, protobuf, checksum."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.scalars: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.texts: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.images: dict[int, np.ndarray] = {}
        (path,) = folder.glob("events.out.tfevents.*")
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    self.scalars[value.tag].append((event.step, value.simple_value))
                elif value.HasField("image"):
                    encoded = io.BytesIO(value.image.encoded_image_string)
                    self.images[event.step] = np.asarray(Image.open(encoded))
                elif value.HasField("tensor"):
                    self.texts[value.tag].append((event.step, value.tensor.string_val[0].decode()))


def assert_equals_the_record(run: Path, events: Events) -> None:
    """Every number of every line, every sample grid, and the diagnosis."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    expected = defaultdict(list)
    for line in lines:
        group = {"train": "train", "evaluation": "scores", "samples": "samples"}.get(line["kind"])
        for name, value in line.items():
            if group and isinstance(value, int | float) and not isinstance(value, bool):
                expected[name].append((line["step"], value))
    shown = {
        tag.partition("/")[2]: points for tag, points in events.scalars.items() if "evaluate/" not in tag
    }
    assert set(expected) - set(shown) == {"step", "seconds"}
    for name, points in shown.items():
        assert [step for step, _ in points] == [step for step, _ in expected[name]], name
        assert [value for _, value in points] == pytest.approx([value for _, value in expected[name]])
    grids = {
        int(path.stem): np.asarray(Image.open(path).convert("RGB"))
        for path in (run / "samples").glob("*.png")
    }
    assert events.images.keys() == grids.keys()
    assert all(np.array_equal(events.images[step], grid) for step, grid in grids.items())
    notes = [line["text"] for line in lines if line["kind"] in ("note", "diagnosis")]
    texts = [text for name in ("health", "notes") for _, text in events.texts.get(f"{name}/text_summary", [])]
    assert sorted(texts) == sorted(notes)


@needs["tensorboard"]
def test_tensorboard_live_resumed_and_later(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ganforge.train("dcgan", DATA, run=run, steps=4, log="tensorboard", **TINY)
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:  # what a resumed run keeps
        file.write(json.dumps({"kind": "diagnosis", "step": 4, "signal": "x", "text": "looks odd"}) + "\n")
    ganforge.resume(run, data=DATA, steps=8, quiet=True)
    events = Events(run / "tensorboard")
    assert_equals_the_record(run, events)
    assert [step for step, _ in events.scalars["train/generator_loss"]] == [2, 4, 6, 8]
    assert [step for step, _ in events.scalars["scores/kid"]] == [4, 8]
    assert "looks odd" in [text for _, text in events.texts["health/text_summary"]]
    assert set(events.images) == {0, 3, 4, 6, 8}

    plain = tmp_path / "plain"
    ganforge.train("dcgan", DATA, run=plain, steps=8, **TINY)
    assert ganforge.load(plain).hash_weights("raw") == ganforge.load(run).hash_weights("raw")
    assert not (plain / "tensorboard").exists()
    scores = {score.name: score.value for score in ganforge.evaluate(plain, data=DATA, num_samples=20)}
    assert main(["export", str(plain), "log", "--to", "tensorboard", "--out", str(tmp_path / "out")]) == 0
    later = Events(tmp_path / "out")
    assert_equals_the_record(plain, later)
    assert later.scalars["evaluate/kid"] == [(8, float(np.float32(scores["kid"])))]
    assert main(["export", "log", str(plain), "--to", "tensorboard", "--out", str(tmp_path / "out")]) == 0
    assert Events(tmp_path / "out").scalars == later.scalars


class Kept:
    """A tracker that keeps what it gets."""

    replays: ClassVar[bool] = False

    def __init__(self) -> None:
        self.got: list[tuple[int, object]] = []

    def scalars(self, step: int, values: object) -> None:
        self.got.append((step, values))

    def text(self, step: int, name: str, text: str) -> None:
        self.got.append((step, text))

    def image(self, step: int, name: str, path: Path) -> None:
        self.got.append((step, path.name))

    def close(self) -> None:
        self.got.append((-1, "closed"))


def test_a_feed_follows_a_growing_log_and_a_rollback(tmp_path: Path) -> None:
    log, kept = tmp_path / "metrics.jsonl", Kept()

    def line(step: int) -> str:
        return json.dumps({"kind": "train", "step": step, "loss": float(step), "bad": float("nan")}) + "\n"

    (tmp_path / "samples").mkdir()
    feed = Feed(tmp_path, lambda: kept)
    log.write_text(line(2) + line(4)[:10], encoding="utf-8")  # half of a line
    feed.follow()
    log.write_text(line(2) + line(4), encoding="utf-8")
    (tmp_path / "samples" / "000004.png").touch()
    feed.follow()
    feed.follow()
    assert kept.got == [(2, {"train/loss": 2.0}), (4, {"train/loss": 4.0}), (4, "000004.png")]
    log.write_text(line(2) + line(3) + line(5), encoding="utf-8")  # rolled back to step 2
    feed.follow()
    assert kept.got[3:] == [(5, {"train/loss": 5.0})]
    feed.close()
    assert kept.got[-1] == (-1, "closed")


def test_identity_is_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two equal commands may take the same time to start, to the millisecond.
    start_line = record.start_line_of
    monkeypatch.setattr(loop, "start_line_of", lambda *known: start_line(*known) | {"startup_seconds": 0.1})
    ganforge.train("dcgan", IMAGES, run=tmp_path / "a", steps=2, **TINY | {"evaluate_every": 0})
    ganforge.train("dcgan", IMAGES, run=tmp_path / "b", steps=2, **TINY | {"evaluate_every": 0})
    before = identity_of(tmp_path / "a")
    ganforge.resume(tmp_path / "a", data=IMAGES, steps=4, quiet=True)
    assert identity_of(tmp_path / "a") == before != identity_of(tmp_path / "b")


@needs["wandb"]
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    ganforge.train("dcgan", DATA, run=run, steps=4, log="wandb", **TINY)
    (folder,) = (run / "wandb").glob("offline-run-*")
    (record,) = folder.glob("run-*.wandb")
    content = record.read_bytes()
    last = ganforge.load(run).run.metrics()[-1]
    for name in ("train/generator_loss", "scores/kid", "samples/sample_distance"):
        assert name.encode() in content
    assert repr(last["generator_loss"]).encode() in content
    assert len(list((folder / "files" / "media" / "images").glob("samples_*.png"))) == 3


@needs["trackio"]
def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)
    run = tmp_path / "run"
    ganforge.train("dcgan", DATA, run=run, steps=4, log="trackio", **TINY)
    ganforge.resume(run, data=DATA, steps=6, quiet=True)
    database = sqlite3.connect(tmp_path / "trackio" / "ganforge.db")
    rows = [(step, json.loads(text)) for step, text in database.execute("select step, metrics from metrics")]
    losses = [(step, row["train/generator_loss"]) for step, row in rows if "train/generator_loss" in row]
    record = ganforge.load(run).run.metrics()
    assert losses == [(line["step"], pytest.approx(line["generator_loss"])) for line in record]
    assert sorted({step for step, row in rows if "samples" in row}) == [0, 3, 4, 6]


def test_what_is_missing_is_one_line_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, library in LIBRARIES.items():
        with pytest.raises(
            UserError, match=rf"{name} needs the library {library}: type `pip install 'ganforge\["
        ):
            check_tracker(name)
        with pytest.raises(UserError, match="needs the library"):
            ganforge.train("dcgan", IMAGES, run=tmp_path / "run", steps=2, log=name, **TINY)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="--log"):
        ganforge.train("dcgan", IMAGES, run=tmp_path / "run", log="aim", quiet=True)


@needs["tensorboard"]
def test_a_tracker_that_fails_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ganforge.reporting.trackers.tensorboard import TensorBoard

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(TensorBoard, "scalars", full)
    ganforge.train("dcgan", DATA, run=tmp_path / "run", steps=4, log="tensorboard", **TINY | {"quiet": False})
    error = capfd.readouterr().err
    assert error.count("the tracker tensorboard fails, training continues: No space left on device") == 1
    assert ganforge.load(tmp_path / "run").step == 4
