"""Scores, minutes and samples that go along are those of the checkpoint that is exported."""

import json
from pathlib import Path
from typing import Any

from PIL import Image
from untrained import untrained

from ganforge.export.card import Licences, model_card
from ganforge.export.package import write_shipped
from ganforge.export.samples import write_samples
from ganforge.export.scores import scores_of
from ganforge.reporting.evaluations import read_evaluations, store_evaluation
from ganforge.runs.folder import LOG
from ganforge.runs.trained import load


def store(run: Path, value: float, **protocol: Any) -> None:
    store_evaluation(run, [{"name": "fid", "value": value, "protocol": protocol}])


def card_of(run: Path) -> str:
    return model_card(load(run, "cpu"), "name", None, Licences())


def test_scores_are_those_of_the_step_and_of_the_averaged_weights(tmp_path: Path) -> None:
    trained = untrained(tmp_path / "run", "dcgan", ema_half_life=5.0)
    assert trained.resolve_weights("ema") == "ema"
    store(tmp_path / "run", 1.5, step=2, weights="ema")
    store(tmp_path / "run", 2.5, step=1, weights="raw")
    assert scores_of(trained) is None
    assert "None: these weights were not evaluated" in card_of(tmp_path / "run")
    store(tmp_path / "run", 3.5, step=1, weights="ema")
    assert "| fid | 3.5 |" in card_of(tmp_path / "run")
    write_shipped(trained, tmp_path / "shipped", "shipped")
    (shipped,) = read_evaluations(tmp_path / "shipped")[0]
    assert shipped.values == {"fid": 3.5}
    assert scores_of(load(tmp_path / "shipped", "cpu")) is not None, (
        "a package has the averaged weights alone"
    )


def test_minutes_and_previews_are_not_those_of_a_later_step(tmp_path: Path) -> None:
    trained = untrained(tmp_path / "run", "srgan")
    lines = [{"kind": "train", "step": step, "seconds": 60.0 * step} for step in (1, 2)]
    for count, shown in ((1, True), (2, False)):
        (tmp_path / "run" / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines[:count]))
        assert ("minutes of training: 1\n" in card_of(tmp_path / "run")) == shown
    (tmp_path / "run" / "samples").mkdir()
    for step, colour in ((2, "red"), (1, "blue")):
        assert not write_samples(trained, tmp_path / "a.png")
        Image.new("RGB", (4, 4), colour).save(tmp_path / "run" / "samples" / f"{step:06d}.png")
    assert write_samples(trained, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.getpixel((0, 0)) == (0, 0, 255)
