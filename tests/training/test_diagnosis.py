"""Health: each sign is found in a training that has it, said once, and in no healthy one."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import draw_images, metrics_of
from PIL import Image

import ganforge
from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.reporting.page import write_report
from ganforge.training.diagnosis import (
    FALSE_ALARMS,
    IMAGE_WARM_UP_STEPS,
    NUM_IMAGES,
    NUM_LINES,
    NUM_RECOUNTED,
    NUM_STEPS,
    WARM_UP_STEPS,
    Diagnosis,
    must_recount,
)
from ganforge.training.previews import Previews, mean_distance
from ganforge.training.update import OptimizerUpdate

Line = dict[str, Any]
STRONG = {"network": "mlp", "generator_hidden": (8,), "discriminator_hidden": (32,), "latent_size": 2,
          "optimizer": "adam", "play": "alternating", "batch": 8, "learning_rate_decay": 1.0,
          "discriminator_learning_rate": 1e-2}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("data") / "images")


def train(system: str, data: Path | str, folder: Path, **options: Any) -> list[Line]:
    """The health lines of a training on one thread."""
    often = {"log_every": 20, "sample_every": 500, "checkpoint_every": 10_000}
    fields = {"precision": "fp32", "quiet": True} | often | options
    ganforge.train(system, str(data), run=folder, **fields)
    return metrics_of(folder, "diagnosis")


def signals(lines: list[Line]) -> list[str]:
    return [line["signal"] for line in lines]


# In real trainings ------------------------------------------------------------------------------------------


def test_a_discriminator_that_wins_is_called_saturated(images: Path, tmp_path: Path) -> None:
    said = train("gan", images, tmp_path / "r", steps=460, **STRONG | {"learning_rate": 1e-7})
    assert signals(said) == ["discriminator_saturated"]
    assert WARM_UP_STEPS + NUM_STEPS <= said[0]["step"] <= 460
    (line,) = [line for line in metrics_of(tmp_path / "r") if line["step"] == said[0]["step"]]
    assert f"D(real) is {line['real_probability']:.4g}" in said[0]["text"]
    assert "--discriminator-learning-rate" in said[0]["text"]
    assert said[0]["text"] in (tmp_path / "r/report.html").read_text("utf-8")


def test_the_gradient_of_the_minimax_loss_vanishes(images: Path, tmp_path: Path) -> None:
    options = STRONG | {"learning_rate": 1e-7, "loss": "minimax"}
    said = train("gan", images, tmp_path / "r", steps=700, **options)
    assert sorted(signals(said)) == ["discriminator_saturated", "generator_gradient_vanishing"]
    assert all("--loss non_saturating" in line["text"] for line in said)


def test_samples_that_are_all_one_are_said_to_have_lost_the_modes(images: Path, tmp_path: Path) -> None:
    options = {"steps": 1100, "sample_every": 100, "log_every": 500}
    said = train("unhealthy:Unhealthy", images, tmp_path / "r", draws="one", **options)
    assert signals(said) == ["modes_lost"]
    assert said[0]["step"] == IMAGE_WARM_UP_STEPS + 100 * (NUM_IMAGES - 1)
    last = metrics_of(tmp_path / "r", "samples")[-1]
    assert last["sample_distance"] == pytest.approx(0, abs=1e-4)
    assert f"two real images by {last['real_sample_distance']:.3g}" in said[0]["text"]


def test_samples_that_are_one_for_each_label_are_said_to_have_lost_the_modes_within(tmp_path: Path) -> None:
    options = {"steps": 1100, "sample_every": 100, "log_every": 500, "batch": 1}
    said = train("unhealthy:Unhealthy", "mnist", tmp_path / "r", draws="one of each label", **options)
    assert "modes_lost_within_classes" in signals(said)
    assert "modes_lost" not in signals(said)
    last = metrics_of(tmp_path / "r", "samples")[-1]
    assert last["class_distance"] == pytest.approx(0, abs=1e-4)
    assert 0 < last["real_class_distance"] < last["real_sample_distance"]


def test_copies_of_the_training_images_are_called_so(images: Path, tmp_path: Path) -> None:
    options = {"steps": 1100, "sample_every": 100, "log_every": 500}
    said = train("unhealthy:Unhealthy", images, tmp_path / "r", draws="copies", **options)
    assert signals(said) == ["memorised"]
    assert "copies of training images" in said[0]["text"]


def test_a_class_that_is_never_drawn_is_named(tmp_path: Path) -> None:
    options = {"steps": 1100, "sample_every": 100, "log_every": 500, "batch": 1}
    said = train("unhealthy:Unhealthy", "mnist", tmp_path / "r", draws="no threes", **options)
    assert signals(said) == ["classes_missing"]
    assert re.search(r"no sample of 512 is of the classes 3 \(\d\d\.\d expected\): ", said[0]["text"])


def test_an_exploding_gradient_is_told_and_so_is_its_end(images: Path, tmp_path: Path) -> None:
    options = {"bad": "large", "bad_from": 321, "bad_until": 521, "learning_rate": 1e-12, "steps": 700}
    said = train("unhealthy:Unhealthy", images, tmp_path / "r", **options)
    assert signals(said) == ["generator_gradient_exploding"] * 2
    assert [line["step"] for line in said] == [440, 640]
    assert "explodes" in said[0]["text"]
    assert "as before" in said[1]["text"]


def test_a_healthy_training_is_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The GAN for 2-D points as it is meant to be, sampled and logged often."""
    often = {"steps": 1300, "sample_every": 100, "log_every": 20, "batch": 16}
    assert train("gan", "ring", tmp_path / "r", **often) == []
    assert len(metrics_of(tmp_path / "r", "samples")) == 14


def test_a_sign_is_shown_in_the_terminal(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"steps": 1100, "sample_every": 100, "log_every": 500, "draws": "one", "quiet": False}
    (sign,) = train("unhealthy:Unhealthy", images, tmp_path / "r", **options)
    assert capfd.readouterr().err.count(f"step {sign['step']}: {sign['text']}\n") == 1


def test_a_resumed_run_says_what_it_would_have_said(images: Path, tmp_path: Path) -> None:
    options = STRONG | {"learning_rate": 1e-7, "steps": 460, "checkpoint_every": 190}
    whole = train("gan", images, tmp_path / "whole" / "r", **options)
    shutil.copytree(tmp_path / "whole/r", tmp_path / "r")
    shutil.rmtree(tmp_path / "r/checkpoints/000460")
    assert train("gan", images, tmp_path / "r", **options) == whole != []
    assert metrics_of(tmp_path / "r", "samples") == metrics_of(tmp_path / "whole/r", "samples")


# The lines alone --------------------------------------------------------------------------------------------


def train_line(step: int, real: float = 0.7, fake: float = 0.3, norm: float = 1.0, **more: float) -> Line:
    return {"kind": "train", "step": step, "real_probability": real, "fake_probability": fake,
            "generator_gradient_norm": norm, **more}  # fmt: skip


def samples_line(step: int, distance: float = 10.0, **more: Any) -> Line:
    return {
        "kind": "samples",
        "step": step,
        "sample_distance": distance,
        "real_sample_distance": 10.0,
        **more,
    }


def listen(lines: list[Line], **options: Any) -> list[Line]:
    health = Diagnosis(options)
    return [sign for line in lines for sign in health.look(line)]


def test_a_sign_is_said_when_it_begins_and_when_it_ends_and_not_between() -> None:
    ill = range(500, 1000)
    lines = [train_line(s, 0.999, 0.001) if s in ill else train_line(s) for s in range(0, 2000, 50)]
    begun, gone = listen(lines)
    assert (begun["step"], gone["step"]) == (500 + 50 * (NUM_LINES - 1), 1000 + 50 * (NUM_LINES - 1))
    assert {begun["signal"], gone["signal"]} == {"discriminator_saturated"}
    assert "no longer" in gone["text"]


def test_a_discriminator_on_the_brink_does_not_turn_to_and_fro() -> None:
    lines = [
        train_line(s, 0.99 - 0.02 * (s // 500 % 2), 0.01 + 0.02 * (s // 500 % 2)) for s in range(0, 5000, 50)
    ]
    assert [line["step"] for line in listen(lines)] == [500 * (1 + 1) + 50 * (NUM_LINES - 1)]


def test_a_few_lines_are_not_enough_nor_are_a_few_steps() -> None:
    now_and_then = [train_line(s, 0.999, 0.001 if s % 250 else 0.5) for s in range(WARM_UP_STEPS, 3000, 50)]
    assert listen(now_and_then) == []  # four lines in a row
    every_step = [train_line(s, 0.999, 0.001) for s in range(WARM_UP_STEPS, WARM_UP_STEPS + NUM_STEPS)]
    assert listen(every_step) == []
    assert len(listen([*every_step, train_line(WARM_UP_STEPS + NUM_STEPS, 0.999, 0.001)])) == 1


def test_nothing_is_said_of_the_first_steps() -> None:
    assert listen([train_line(s, 0.999, 0.001, 1e-9) for s in range(WARM_UP_STEPS)]) == []
    assert listen([samples_line(s, 0.0) for s in range(0, IMAGE_WARM_UP_STEPS, 100)]) == []


@pytest.mark.parametrize(("real", "fake"), [(0.97, 0.001), (0.999, 0.03), (float("nan"), 0.001)])
def test_both_beliefs_make_a_saturated_discriminator(real: float, fake: float) -> None:
    assert listen([train_line(s, real, fake) for s in range(0, 3000, 50)]) == []


def test_a_gradient_that_falls_because_the_game_is_over_has_not_vanished() -> None:
    """As of the Gaussian toy, where the discriminator ends at 1/2: norms fall to a 700th."""
    steps = range(50, 3000, 50)
    assert listen([train_line(s, 0.5, 0.5, 50 / s**2) for s in steps]) == []
    assert signals(listen([train_line(s, 0.97, 0.03, 50 / s**2) for s in steps])) == [
        "generator_gradient_vanishing"
    ]


def test_norms_that_are_large_from_the_start_or_grow_slowly_do_not_explode() -> None:
    steps = range(50, 10_000, 50)
    assert listen([train_line(s, norm=5e4) for s in steps]) == []
    assert listen([train_line(s, norm=0.1 * 1.002 ** (s / 2)) for s in steps]) == []
    assert signals(listen([train_line(s, norm=0.1 if s < 5000 else 101) for s in steps])) == [
        "generator_gradient_exploding"
    ]


def test_samples_that_still_become_different_are_young_not_lost() -> None:
    steps = list(range(IMAGE_WARM_UP_STEPS, 5000, 500))
    growing = [samples_line(s, 0.1 * 1.2**i) for i, s in enumerate(steps)]
    assert listen(growing) == []
    standing = [samples_line(s, 3.9) for s in steps]
    assert signals(listen(standing)) == ["modes_lost"]
    assert listen([samples_line(s, 4.1) for s in steps]) == []
    again = listen([*standing, *(samples_line(s + 5000, 9.0) for s in steps)])
    assert [line["text"].partition(":")[0] for line in again] == [
        "the samples are nearly all alike",
        "the samples are different again",
    ]


def class_line(
    step: int,
    cats: tuple[int, int],
    share: float = 0.1,
    distance: float = 10.0,
    confidence: float = 0.99,
) -> Line:
    """The grid and the recount have so many `cats`, of which a `share` is expected."""
    (grid, recounted), count = cats, NUM_RECOUNTED
    classes = {
        "classes": {"cat": grid, "dog": 64 - grid},
        "expected_classes": {"cat": 64 * share, "dog": 64 - 64 * share},
    }
    sure = {"classifier_confidence": confidence, "real_classifier_confidence": 0.99}
    line = samples_line(step, distance, **sure, **classes)
    more = {"recounted_classes": {"cat": recounted, "dog": count - recounted}}
    return line | more if must_recount(line) else line


CHECKS = range(IMAGE_WARM_UP_STEPS, 50_000, 500)


@pytest.mark.parametrize(
    "options",
    [
        {"cats": (0, 0), "distance": 7.0},
        {"cats": (0, 0), "confidence": 0.8},
        {"cats": (0, 0), "share": 0.005},
        {"cats": (0, 1)},
        {"cats": (1, 0)},
    ],
)
def test_classes_are_missed_only_where_that_can_be_told(options: dict[str, Any]) -> None:
    assert listen([class_line(s, **options) for s in CHECKS]) == []


@pytest.mark.parametrize("share", [0.04, 0.1, 0.5])
def test_a_class_that_grid_and_recount_lack_is_missing_and_its_return_is_said(share: float) -> None:
    lines = [class_line(s, (0, 0), share) for s in CHECKS[:50]]
    begun, gone = listen([*lines, *(class_line(s, (6, 0), share) for s in CHECKS[50:])])
    assert f"no sample of 512 is of the classes cat ({512 * share:.1f} expected)" in begun["text"]
    assert begun["step"] == CHECKS[1]
    assert "every class that should be" in gone["text"]


def test_before_the_warm_up_and_with_every_class_nothing_is_recounted() -> None:
    assert not must_recount(class_line(IMAGE_WARM_UP_STEPS - 500, (0, 0)))
    assert not must_recount(class_line(IMAGE_WARM_UP_STEPS, (1, 0)))
    assert must_recount(class_line(IMAGE_WARM_UP_STEPS, (0, 0)))


@pytest.mark.parametrize("grid_of_one_draw", [True, False])
@pytest.mark.parametrize("rarest", [0.1, 0.012, 0.004])
def test_a_balanced_generator_raises_a_false_alarm_in_one_run_of_a_hundred_at_most(
    rarest: float, grid_of_one_draw: bool
) -> None:
    """Whether the grid's latents, which are the same at every check, always lack a class or by chance."""
    random, names = np.random.default_rng(0), [str(number) for number in range(10)]
    shares = np.array([rarest, *[(1 - rarest) / 9] * 9])
    num_runs, num_checks, lacking, alarms = 400, 40, 0, 0
    for _ in range(num_runs):
        health, warned, lacked = Diagnosis({}), False, False
        grids = random.multinomial(64, shares, num_checks)
        for check in range(num_checks):
            grid = grids[0 if grid_of_one_draw else check]
            line = samples_line(IMAGE_WARM_UP_STEPS + 500 * check, 10.0)
            line |= {"classifier_confidence": 0.99, "real_classifier_confidence": 0.99}
            line |= {"classes": dict(zip(names, grid.tolist(), strict=True))}
            line |= {"expected_classes": dict(zip(names, (64 * shares).tolist(), strict=True))}
            if must_recount(line):
                recounted = random.multinomial(NUM_RECOUNTED, shares).tolist()
                line |= {"recounted_classes": dict(zip(names, recounted, strict=True))}
                lacked = True
            warned = warned or bool(health.look(line))
        lacking, alarms = lacking + lacked, alarms + warned
    assert lacking > 0  # the grids alone, by which it was told before, do lack classes
    assert alarms <= FALSE_ALARMS * num_runs


def test_blank_samples_are_no_copies_though_they_are_near_to_a_image() -> None:
    def lines(distance: float) -> list[Line]:
        near = {"neighbour_distance": 1.0, "real_neighbour_distance": 3.0}
        return [samples_line(s, distance, **near) for s in range(IMAGE_WARM_UP_STEPS, 5000, 500)]

    assert "memorised" not in signals(listen(lines(0.5)))
    assert signals(listen(lines(9.0))) == ["memorised"]


def test_only_options_that_the_system_has_are_advised() -> None:
    lines = [train_line(s, 0.999, 0.001) for s in range(0, 1000, 50)]
    for options, shown in (
        ({"learning_rate": 1}, "with a smaller --learning-rate"),
        ({"label_smoothing": 0.0}, "with --label-smoothing 0.1"),
        (
            {"label_smoothing": 0.0, "instance_noise": 0.0},
            "with --label-smoothing 0.1 or --instance-noise 0.1",
        ),
        ({"loss": "minimax", "label_smoothing": 0.0}, "with --loss non_saturating"),
    ):
        (sign,) = listen(lines, **options)
        assert sign["text"].endswith(shown), sign["text"]


def test_what_is_heard_does_not_depend_on_where_a_log_is_cut() -> None:
    lines = [train_line(s, 0.999, 0.001, 1 / s**2) for s in range(50, 2000, 50)]
    lines += [train_line(s, norm=500 if s > 2500 else 1) for s in range(2000, 4000, 50)]
    whole = listen(lines)
    assert len(whole) == 5
    for cut in range(len(lines)):
        first = Diagnosis({})
        before = [sign for line in lines[:cut] for sign in first.look(line)]
        second = Diagnosis({})
        for line in json.loads(json.dumps(lines[:cut])):
            second.look(line)
        assert before + [sign for line in lines[cut:] for sign in second.look(line)] == whole


# What the images are measured against ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened(images: Path) -> Dataset:
    return open_dataset(DataOptions(data=str(images)))


def stored(dataset: Dataset) -> torch.Tensor:
    split = dataset.splits["train"]
    return split.read(torch.arange(len(split))).float() / 127.5 - 1


def test_the_mean_distance_has_its_closed_form() -> None:
    corners = torch.tensor([[0.0, 0], [3, 0], [3, 4], [0, 4]]).view(4, 2, 1, 1)
    assert mean_distance(corners) == pytest.approx((2 * 3 + 2 * 4 + 2 * 5) / 6)
    assert mean_distance(corners[:1]) is None
    assert mean_distance(corners, torch.tensor([0, 1, 0, 1])) == pytest.approx((5 + 5) / 2)
    assert mean_distance(corners, torch.tensor([0, 1, 2, 1])) == pytest.approx(5)
    assert mean_distance(corners, torch.arange(4)) is None


def test_all_training_images_are_as_different_as_real_images_and_lie_on_them(opened: Dataset) -> None:
    images = stored(opened)
    assert len(images) < 64
    found = Previews(opened, 0).measure(images)
    assert found["sample_distance"] == pytest.approx(found["real_sample_distance"], rel=1e-6)
    assert found["neighbour_distance"] == pytest.approx(0, abs=1e-6)
    # Of the training images themselves, each to the nearest of the others.
    distances = torch.cdist(images.flatten(1).double(), images.flatten(1).double())
    others = distances + torch.diag(torch.full((len(images),), torch.inf))
    assert found["real_neighbour_distance"] == pytest.approx(float(others.amin(1).median()), rel=1e-6)


def test_unseen_images_of_the_same_kind_are_no_copies(tmp_path: Path) -> None:
    """Of 140 images 100 are trained on: the others are about as far away as these from one another."""
    random = np.random.default_rng(0)
    for index in range(140):
        mean, folder = random.uniform(60, 200), tmp_path / ("unseen" if index < 40 else "train")
        folder.mkdir(exist_ok=True)
        pixels = random.normal(mean, 30, (8, 8, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    unseen = stored(open_dataset(DataOptions(data=str(tmp_path / "unseen"))))
    found = Previews(open_dataset(DataOptions(data=str(tmp_path / "train"))), 0).measure(unseen)
    assert 0.8 < found["neighbour_distance"] / found["real_neighbour_distance"] < 1.25


def test_held_out_images_are_the_measure_where_there_are_some() -> None:
    dataset = open_dataset(DataOptions(data="emoji"))
    test = dataset.splits["test"]
    found = Previews(dataset, 0).measure(test.read(torch.arange(len(test))).float() / 127.5 - 1)
    assert 0.7 < found["neighbour_distance"] / found["real_neighbour_distance"] < 1.4


def test_real_digits_are_of_all_classes_and_the_judge_is_sure() -> None:
    dataset = open_dataset(DataOptions(data="mnist"))
    test = dataset.splits["test"]
    found = Previews(dataset, 0).measure(test.read(torch.arange(2000)).float() / 127.5 - 1)
    assert found["classifier_confidence"] > 0.98
    for name, count in found["classes"].items():
        # Of 500 digits about 50 are of a class: three standard deviations are 0.4 of it.
        assert count == pytest.approx(found["expected_classes"][name], rel=0.4), name
    assert "neighbour_distance" not in found  # of 50,000 images a part would be searched only


@pytest.mark.parametrize("data", ["mnist", "ring", "images"])
def test_measuring_draws_no_random_numbers(data: str, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganforge.evaluation.features import classifiers as judges

    judges.load_classifier.cache_clear()
    dataset = open_dataset(DataOptions(data=str(images) if data == "images" else data))
    samples = torch.randn(64, *dataset.spec.shape)
    before = torch.get_rng_state()
    found = Previews(dataset, 0).measure(samples)
    assert torch.equal(torch.get_rng_state(), before)
    assert found["sample_distance"] > 0
    assert Previews(dataset, 0).measure(samples * torch.nan) == {}


# In the report ----------------------------------------------------------------------------------------------


def test_the_report_lists_signs_as_text_and_draws_samples_beside_real_images(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    hostile = {"kind": "diagnosis", "step": 60, "signal": "modes_lost", "text": "<b>alike</b>"}
    norms = {"generator_gradient_norm": 1.0, "critic_gradient_norm": 2.0, "critic_skipped_updates": 0}
    lines: list[Line] = [{"kind": "train", "step": 50, **norms}, samples_line(50, 3.0), hostile]
    lines.append({"kind": "diagnosis", "step": 90, "signal": "modes_lost", "text": "different again"})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = write_report(tmp_path).read_text("utf-8")
    assert (
        "<h2>Training diagnosis</h2>\n<ul>\n<li>step 60: &lt;b&gt;alike&lt;/b&gt;</li>\n<li>step 90: differ"
        in html
    )
    assert "<h2>Notes</h2>" not in html
    found = re.findall(
        r'<div class="heading"><b>(.*?)</b>.*?<div class="legend">(.*?)</div>', html, re.DOTALL
    )
    charts = dict(found)
    assert sorted(charts) == ["gradient norms", "sample distance", "skipped updates"]
    entry = r"</i>([^<]*) <b>([^<]*)<"
    assert re.findall(entry, charts["sample distance"]) == [("real images", "10"), ("samples", "3")]
    assert re.findall(entry, charts["gradient norms"]) == [("critic", "2"), ("generator", "1")]


# Norms of gradients -----------------------------------------------------------------------------------------


def test_the_measured_norm_is_that_of_all_gradients_as_one_vector() -> None:
    layer = torch.nn.Linear(3, 4)
    update = OptimizerUpdate({"layer": torch.optim.SGD(layer.parameters(), 0.1)}, "cpu")
    inputs = torch.randn(5, 3)
    update("layer", layer(inputs).square().sum())
    assert update.read_gradient_norms() == {}
    update.measuring = True
    loss = layer(inputs).square().sum()
    gradients = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
    update("layer", loss)
    expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert update.read_gradient_norms() == {"layer_gradient_norm": pytest.approx(float(expected), rel=1e-6)}
    assert update.read_gradient_norms() == {}


def test_measuring_changes_nothing_else(images: Path, tmp_path: Path) -> None:
    """A run logged at every step ends with the weights of one that is not."""
    for name, every in (("a", 1), ("b", 30)):
        options = STRONG | {"steps": 30, "log_every": every, "sample_every": every}
        train("gan", images, tmp_path / name / "r", **options)
    weights = [(tmp_path / name / "r/checkpoints/000030/system.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    assert len(metrics_of(tmp_path / "a/r")) == 30


def test_an_unknown_policy_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--on-nan"):
        train("gan", images, tmp_path / "r", on_nan="hope")
