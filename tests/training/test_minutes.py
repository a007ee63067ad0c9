"""`--minutes` and data without a system, on real runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import draw_images

import ganforge
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.options import TrainOptions
from ganforge.training import minutes
from ganforge.training.automatic import choose_system
from ganforge.training.cost import Pace
from ganforge.training.minutes import plan_within, steps_of_minutes
from ganforge.training.plan import Plan, on_disk

SMALL = {"width": 8, "batch": 8, "quiet": True}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return draw_images(tmp_path / "images", count=60, side=16)


def at_pace(monkeypatch: pytest.MonkeyPatch, seconds_per_pixel_and_channel: float) -> list[tuple[int, int]]:
    """Let steps take as long as this times the pixels and the width; returns what is timed as it comes."""
    timed = list[tuple[int, int]]()

    def pace(config: RunConfig, dataset: object, seconds: float) -> Pace:
        size, width = config.spec.height, int(config.config["width"])
        timed.append((size, width))
        return Pace(seconds_per_pixel_and_channel * size * size * width, int(config.config["batch"]))

    monkeypatch.setattr(minutes, "pace", pace)
    return timed


def planned(data: Path, options: TrainOptions, *, size: int | None = None, **fields: int) -> Plan:
    data_options = DataOptions(data=str(data), size=size)
    disk = on_disk("dcgan", data_options)
    return plan_within("dcgan", open_dataset(data_options), options, fields, disk)


@pytest.mark.parametrize(
    ("seconds_for_largest", "chosen"),
    [(0.03, (64, 32)), (0.045, (64, 24)), (0.07, (64, 16)), (0.09, (32, 32)), (0.6, (32, 16))],
)
def test_networks_become_narrower_then_images_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds_for_largest: float, chosen: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = draw_images(tmp_path / "large", count=60, side=100)
    timed = at_pace(monkeypatch, seconds_for_largest / (64 * 64 * 32))
    plan = planned(data, TrainOptions(minutes=1.0, device="cpu"))
    assert timed[0] == (64, 32), "100x100 is too much for a CPU"
    size, width = chosen
    assert (plan.config.spec.height, plan.config.config["width"]) == chosen
    assert plan.config.data.size == 64 if size == 64 else plan.config.data.size == 32
    seconds = plan.config.config["steps"] * seconds_for_largest * size * size * width / (64 * 64 * 32)
    assert 0.9 * 57 < seconds <= 57
    (note,) = plan.notes
    assert note.startswith(f"1 minutes on this CPU: {size}x{size}, width {width}, ")


def test_what_is_requested_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = at_pace(monkeypatch, 0.2 / (64 * 64 * 32))
    plan = planned(place, TrainOptions(minutes=1.0, device="cpu"), size=64, width=32)
    assert timed == [(64, 32)]
    assert plan.config.config["width"] == 32
    assert plan.config.config["steps"] == 280  # 57 s of 0.2 s, to two digits
    with pytest.raises(UserError, match="--steps and --minutes both say how long"):
        planned(place, TrainOptions(minutes=1.0), steps=5)


def test_too_short_a_time_names_one_that_works(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_pace(monkeypatch, 0.3 / (16 * 16 * 32))
    with pytest.raises(
        UserError, match=r"--minutes 0\.1 is too short: 100 steps, .* type --minutes (.*) or"
    ) as error:
        planned(place, TrainOptions(minutes=0.1, device="cpu"), width=32)
    enough = float(str(error.value).split("type --minutes ")[1].split()[0])
    assert planned(place, TrainOptions(minutes=enough, device="cpu"), width=32).config.config["steps"] >= 100


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "soon"])
def test_minutes_are_a_positive_number(place: Path, value: object) -> None:
    with pytest.raises(UserError, match="--minutes: "):
        ganforge.train("dcgan", str(place), minutes=value)
    assert not Path("runs").exists()


def test_the_same_call_resumes_what_was_chosen(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_pace(monkeypatch, 0.57 / (16 * 16 * 16))
    options = {"data": str(place), "minutes": 1, "batch": 8, "device": "cpu", "quiet": True}
    first = ganforge.train("auto", **options)
    config = first.run.config
    assert (config.system, config.config["width"], config.config["steps"]) == ("dcgan", 16, 100)
    assert first.run.metrics("note")[0]["text"].startswith("dcgan for this data: ")
    at_pace(monkeypatch, 1e9)  # it is not timed again
    again = ganforge.train("auto", **options)
    assert again.run.config.config == config.config
    assert ganforge.train("auto", run=first.run.path, **options).run.config.config == config.config
    longer = ganforge.train("auto", **{**options, "minutes": 1.1})
    assert (longer.run.config.config["steps"], longer.step) == (110, 110)
    assert longer.run.config.config["width"] == 16
    last = ganforge.resume(first.run.path, minutes=1.2, quiet=True)
    assert last.step == 120
    with pytest.raises(UserError, match="both say how long"):
        ganforge.resume(first.run.path, minutes=2, steps=5)


def test_a_run_of_steps_has_no_minutes(place: Path) -> None:
    ganforge.train("dcgan", str(place), steps=1, **SMALL)
    run = Run.open(Path("runs/dcgan-images"))
    with pytest.raises(
        UserError, match="began without --minutes: to train it longer give --steps, more than its 1"
    ):
        steps_of_minutes(run, 5)


def test_timing_changes_no_random_number(place: Path) -> None:
    options = TrainOptions(minutes=1.0, device="cpu")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    plan = planned(place, options, width=8)
    assert torch.equal(before, torch.get_rng_state())
    assert plan.config.config["steps"] >= 100
    assert replace(plan, notes=()).config.suggested is not None


def test_the_system_for_data(place: Path) -> None:
    chosen = choose_system(DataOptions(data=str(place)), None, "cpu")
    assert chosen.system == "dcgan"
    assert len(chosen.notes) == 1
    assert choose_system(DataOptions(data="ring"), None, "cpu").system == "gan"
    assert choose_system(DataOptions(data=str(place), pairs="edges"), None, "cpu").system == "pix2pix"
    assert choose_system(DataOptions(data=str(place), pairs="downscale:2"), None, "cpu").system == "srresnet"


def test_classes_and_captions_are_mentioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        draw_images(tmp_path / "pets" / name)
    chosen = choose_system(DataOptions(data="pets"), None, "cpu")
    assert chosen.notes[1] == "the classes are not used; to ask for one: ganforge train acgan --data pets"
    texts = draw_images(tmp_path / "my texts", count=60)
    rows = [{"file_name": path.name, "text": "one thing"} for path in sorted(texts.iterdir())]
    (texts / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = choose_system(DataOptions(data="my texts"), None, "cpu")
    assert chosen.notes[1].endswith(
        "ganforge train gan_cls --data 'my texts' --text-encoder 'runs/text_encoder-my texts'"
    )
    chosen = choose_system(DataOptions(data="my texts", text_encoder="runs/x"), None, "cpu")
    assert chosen.system == "gan_cls"


def test_few_images_are_refused(tmp_path: Path) -> None:
    few = draw_images(tmp_path / "few", count=5)
    with pytest.raises(
        UserError, match="5 training images: expected 50 or more, since a GAN learns fewer by heart"
    ):
        choose_system(DataOptions(data=str(few)), None, "cpu")
