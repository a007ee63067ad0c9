"""NaN and infinity: where they began is told, and each policy does what it promises."""

import json
import math
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from command import draw_images, files_of, metrics_of, run

import ganforge
from ganforge.errors import UserError
from ganforge.runs.checkpoint import load_checkpoint
from ganforge.training import divergence
from ganforge.training import loop as engine
from ganforge.training.divergence import MOST_ROLLBACKS, MOST_SKIPPED, Diverged
from ganforge.training.meter import Meter
from ganforge.training.update import OptimizerUpdate

OFTEN = {
    "precision": "fp32",
    "quiet": True,
    "steps": 40,
    "log_every": 7,
    "sample_every": 20,
    "checkpoint_every": 10,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("data") / "images")


def train(data: Path, folder: Path, **options: Any) -> Path:
    ganforge.train("unhealthy:Unhealthy", str(data), run=folder, **OFTEN | options)
    return folder


def steps_of(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def assert_finite(folder: Path) -> None:
    for step in steps_of(folder):
        for named in load_checkpoint(folder / f"checkpoints/{step:06d}").tensors.values():
            assert all(torch.isfinite(tensor.double()).all() for tensor in named.values())


# Where it began ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_meter_knows_the_first_bad_step_of_each_metric(value: float) -> None:
    meter = Meter()
    for step in range(10, 20):
        loss, other = (value if step == 13 else 1.0), (value if step >= 17 else 1.0)
        meter.add({"loss": torch.tensor(loss), "other": torch.tensor(other), "good": torch.tensor(1.0)}, step)
    assert meter.first_bad_steps() == {"loss": 13, "other": 17}
    meter.reset()
    meter.add({"loss": torch.tensor(1.0)}, 20)
    assert meter.first_bad_steps() == {}


def test_the_first_bad_step_survives_a_checkpoint_before_it() -> None:
    meter, other = Meter(), Meter()
    meter.add({"loss": torch.tensor(1.0)}, 1)
    other.load(json.loads(json.dumps(meter.state())), torch.device("cpu"))
    other.add({"loss": torch.tensor(math.nan)}, 2)
    assert other.first_bad_steps() == {"loss": 2}


def test_the_error_tells_the_first_step_metric_and_weights(images: Path, tmp_path: Path) -> None:
    expected = (
        r"^generator_loss became nan by step 14: it began at step 12, "
        r"not finite now: generator\.weight and 1 more: stopped, earlier .* intact: .*--learning-rate"
    )
    with pytest.raises(UserError, match=expected):
        train(images, tmp_path / "r", bad_from=12)
    (sign,) = metrics_of(tmp_path / "r", "diagnosis")
    assert (sign["signal"], sign["step"]) == ("nan", 14)
    assert "it began at step 12, not finite now: generator.weight" in sign["text"]
    assert sign["text"] in (tmp_path / "r/report.html").read_text("utf-8")
    assert steps_of(tmp_path / "r") == [10]
    assert_finite(tmp_path / "r")


def test_the_metric_that_broke_first_is_the_one_that_is_named(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^other became nan by step 14: it began at step 9: "):
        train(images, tmp_path / "r", bad="nan metric", bad_from=9, checkpoint_every=40)


def test_a_huge_rate_is_found_where_it_breaks(tmp_path: Path) -> None:
    """In step 1 already: the generator is judged by the discriminator that has just been updated."""
    options = {"learning_rate": 1e30, "log_every": 5, "steps": 20, "batch": 8}
    with pytest.raises(
        UserError, match=r"became (nan|inf|-inf) by step 5: it began at step 1, not finite now: "
    ):
        ganforge.train("gan", "ring", run=tmp_path / "r", **OFTEN | options)
    assert not (tmp_path / "r/checkpoints").exists()


# skip -------------------------------------------------------------------------------------------------------


def test_skipped_updates_leave_no_trace_but_a_count(images: Path, tmp_path: Path) -> None:
    folder = train(images, tmp_path / "r", on_nan="skip", bad_from=16, bad_until=19)
    assert steps_of(folder) == [30, 40]
    assert_finite(folder)
    counts = {line["step"]: line["generator_skipped_updates"] for line in metrics_of(folder)}
    assert counts == {7: 0, 14: 0, 21: 3, 28: 0, 35: 0, 40: 0}
    assert all(math.isfinite(line["generator_loss"]) for line in metrics_of(folder))
    (sign,) = metrics_of(folder, "diagnosis")
    assert (sign["signal"], sign["step"]) == ("generator_updates_skipped", 21)
    assert sign["text"].startswith("3 updates of the generator with NaN or infinity were skipped")


def test_the_end_of_the_skipping_is_told_too(images: Path, tmp_path: Path) -> None:
    folder = train(images, tmp_path / "r", on_nan="skip", bad_from=16, bad_until=19, steps=400, log_every=20)
    begun, gone = metrics_of(folder, "diagnosis")
    assert begun["step"] == 20
    assert gone["text"] == "no more updates of the generator are skipped: 3 were in all"


def test_without_nan_the_policies_change_nothing(images: Path, tmp_path: Path) -> None:
    weights = []
    for policy in ("stop", "skip", "rollback"):
        folder = train(images, tmp_path / policy / "r", on_nan=policy)
        weights.append(files_of(folder / "checkpoints"))
    assert weights[0] == weights[1] == weights[2]


def test_a_skipped_update_leaves_parameters_and_moments() -> None:
    layer = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    update = OptimizerUpdate({"layer": optimizer}, "cpu", skip=True)
    inputs = torch.randn(5, 3)
    update("layer", layer(inputs).mean())
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    for bad in (math.nan, math.inf):
        update("layer", layer(inputs).mean() * bad)
    # A loss that is finite, with a gradient that is not: the root of zero.
    update("layer", (layer(inputs) * 0).square().sum().sqrt())
    assert all(torch.equal(*pair) for pair in zip(before, layer.parameters(), strict=True))
    assert all(float(state["step"]) == 1 for state in optimizer.state.values())
    assert update.skipped_in_a_row["layer"] == 3
    assert update.read_skipped() == {"layer_skipped_updates": 3}
    assert update.read_skipped() == {"layer_skipped_updates": 0}
    update("layer", layer(inputs).mean())
    assert update.skipped_in_a_row["layer"] == 0
    assert not torch.equal(before[0], layer.weight)


def test_too_many_skipped_in_a_row_stop_the_run(images: Path, tmp_path: Path) -> None:
    words = (
        rf"^the last {MOST_SKIPPED} updates of the generator had NaN .* by step 115: it began at step 16: "
    )
    with pytest.raises(UserError, match=words):
        train(images, tmp_path / "r", on_nan="skip", bad_from=16, steps=200)
    assert steps_of(tmp_path / "r") == [100, 110]
    assert_finite(tmp_path / "r")


def test_not_quite_as_many_do_not(images: Path, tmp_path: Path) -> None:
    options = {"on_nan": "skip", "bad_from": 16, "bad_until": 16 + MOST_SKIPPED - 1, "steps": 220}
    assert steps_of(train(images, tmp_path / "r", **options))[-1] == 220


# rollback ---------------------------------------------------------------------------------------------------


def rollbacks_of(folder: Path) -> list[int]:
    return [line["step"] for line in metrics_of(folder, "diagnosis") if line["signal"] == "rollback"]


def by_chance(data: Path, folder: Path, **options: Any) -> Path:
    """NaN in step 15 with a probability of 0.6, by the random numbers of the run."""
    return train(data, folder, on_nan="rollback", bad="nan by chance", bad_from=15, bad_until=16, **options)


def seed_that_fails_first(data: Path, folder: Path) -> int:
    """A seed whose first attempt has NaN and whose later one has not."""
    for seed in range(20):
        with suppress(UserError):  # NaN at every attempt
            if rollbacks_of(by_chance(data, folder / f"{seed}/r", seed=seed)):
                return seed
    raise AssertionError


def test_a_rollback_draws_other_numbers_and_goes_on_to_the_end(images: Path, tmp_path: Path) -> None:
    seed = seed_that_fails_first(images, tmp_path)
    folder = by_chance(images, tmp_path / "r", seed=seed)
    assert set(rollbacks_of(folder)) == {10}
    assert 1 <= len(rollbacks_of(folder)) <= MOST_ROLLBACKS
    assert [line["step"] for line in metrics_of(folder)] == [7, 14, 21, 28, 35, 40]
    assert steps_of(folder) == [30, 40]
    assert_finite(folder)
    (text,) = {line["text"] for line in metrics_of(folder, "diagnosis")[:1]}
    assert re.match(
        r"generator_loss became nan by step 20: it began at step 15, .*: rolled back to step 10 \(roll",
        text,
    )


def test_a_rollback_is_the_same_every_time_and_survives_a_crash(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = seed_that_fails_first(images, tmp_path)
    whole = by_chance(images, tmp_path / "whole/r", seed=seed)
    plain = engine._log

    def crashing(run: Any, training: Any, *rest: Any) -> None:
        plain(run, training, *rest)
        if training.step == 14 and rollbacks_of(run.path):
            raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_log", crashing)
    with pytest.raises(KeyboardInterrupt):
        by_chance(images, tmp_path / "r", seed=seed)
    monkeypatch.undo()
    assert steps_of(tmp_path / "r") == [10]
    folder = by_chance(images, tmp_path / "r", seed=seed)
    assert files_of(folder / "checkpoints") == files_of(whole / "checkpoints")
    assert metrics_of(folder, "diagnosis") == metrics_of(whole, "diagnosis")
    assert metrics_of(folder) == metrics_of(whole)


def test_nan_that_comes_back_each_time_ends_the_run(images: Path, tmp_path: Path) -> None:
    words = rf"generator_loss became nan .*, after {MOST_ROLLBACKS} rollbacks to step 10: stopped, .* intact"
    with pytest.raises(UserError, match=words) as caught:
        train(images, tmp_path / "r", on_nan="rollback", bad_from=12)
    assert "\n" not in str(caught.value)
    assert rollbacks_of(tmp_path / "r") == [10] * MOST_ROLLBACKS
    assert steps_of(tmp_path / "r") == [10]
    with pytest.raises(UserError, match=words):  # nor does the same command begin to count anew
        train(images, tmp_path / "r", on_nan="rollback", bad_from=12)
    assert rollbacks_of(tmp_path / "r") == [10] * MOST_ROLLBACKS


def test_each_checkpoint_has_its_own_rollbacks(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble before step 20 and before step 30, twice each: more than three times in all."""
    troubles = {17: 2, 26: 2}
    plain = divergence.check_skipped

    def troubled(training: Any, update: Any) -> None:
        plain(training, update)
        if troubles.get(training.step, 0):
            troubles[training.step] -= 1
            raise Diverged(f"trouble at step {training.step}")

    monkeypatch.setattr(engine, "check_skipped", troubled)
    folder = train(images, tmp_path / "r", on_nan="rollback")
    assert rollbacks_of(folder) == [10, 10, 20, 20]
    assert steps_of(folder) == [30, 40]


def test_without_a_checkpoint_there_is_nothing_to_roll_back_to(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"generator_loss became nan by step 7: it began at step 3"):
        train(images, tmp_path / "r", on_nan="rollback", bad_from=3)
    assert rollbacks_of(tmp_path / "r") == []


def test_a_rollback_after_a_broken_save(images: Path, tmp_path: Path) -> None:
    """NaN that no line has shown yet is found when the state is saved."""
    with pytest.raises(UserError, match="after 3 rollbacks to step 10"):
        train(images, tmp_path / "r", on_nan="rollback", bad_from=20, bad_until=21, log_every=50)
    assert steps_of(tmp_path / "r") == [10]


def test_the_numbers_after_rollbacks_differ_from_one_another(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    plain = divergence.move_on

    def listening(run: Any, training: Any) -> None:
        plain(run, training)
        drawn.append(torch.initial_seed())

    monkeypatch.setattr(divergence, "move_on", listening)
    for seed in (0, 2**64 - 1):
        with pytest.raises(UserError, match="3 rollbacks"):
            train(images, tmp_path / f"{seed}", on_nan="rollback", bad_from=12, seed=seed)
    assert len(set(drawn)) == len(drawn) == 2 * MOST_ROLLBACKS


# The policy may change --------------------------------------------------------------------------------------


def test_another_policy_may_go_on_with_a_run_that_stopped(images: Path, tmp_path: Path) -> None:
    bad = {"bad_from": 16, "bad_until": 19}
    with pytest.raises(UserError, match="became nan"):
        train(images, tmp_path / "r", **bad)
    folder = train(images, tmp_path / "r", on_nan="skip", **bad)
    fresh = train(images, tmp_path / "fresh" / "r", on_nan="skip", **bad)
    assert files_of(folder / "checkpoints/000040") == files_of(fresh / "checkpoints/000040")
    shutil.rmtree(fresh)


# Mistakes of other kinds are not mixed up with these --------------------------------------------------------


def test_an_error_of_the_data_is_not_called_one_of_the_run_folder(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Any, position: int) -> Any:
        raise OSError(5, "Input/output error", "my images/7.png")

    monkeypatch.setattr("ganforge.data.loader.Loader.batch_at", failing)
    with pytest.raises(OSError, match=r"my images/7\.png"):
        train(images, tmp_path / "r")


@pytest.mark.parametrize("part", ["metrics.jsonl", "samples", "report.html"])
def test_what_is_in_the_way_is_named(images: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "r"
    train(images, folder, steps=20)
    path = folder / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if part == "samples":
        path.write_text("in the way")
    else:
        path.mkdir()
    with pytest.raises(
        UserError, match=f"{part} is a (file|folder), expected a (folder|file): remove it"
    ) as caught:
        train(images, folder)
    assert "\n" not in str(caught.value)


def test_what_a_run_started_from_is_remembered(images: Path, tmp_path: Path) -> None:
    train(images, tmp_path / "first")
    recorded = str(tmp_path / "first")
    train(images, tmp_path / "r", start_from=recorded, steps=20)
    for more in ({}, {"start_from": str(tmp_path / "r")}):
        train(images, tmp_path / "r", **more)
        assert json.loads((tmp_path / "r/config.json").read_text())["start_from"] == recorded


@pytest.mark.slow
def test_a_compiler_that_is_missing_is_told_in_a_line(tmp_path: Path) -> None:
    words = ["train", "gan", "--data", "ring", "--run", "r", "--steps", "2", "--batch", "8"]
    missing = {"CXX": "/nonexistent/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = run(*words, "--compile", "on", cwd=tmp_path, **missing)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.match("error: --compile on: .*compiler.*: use --compile off", line)
    assert run(*words, "--compile", "off", cwd=tmp_path, **missing).returncode == 0
