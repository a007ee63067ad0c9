"""Several runs and checkpoints in one call: as one at a time, with the features of real images shared."""

import json
from pathlib import Path

import pytest
from command import draw_images

import ganforge
from ganforge.cli.main import main
from ganforge.evaluation import score
from ganforge.evaluation.features.cache import real_features
from ganforge.evaluation.progress import Progress
from ganforge.evaluation.shared_work import SharedWork

TINY = {"steps": 4, "checkpoint_every": 2, "batch": 8, "width": 4, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("several")
    draw_images(folder / "images", count=150, side=8)
    for seed in (0, 1):
        ganforge.train("dcgan", str(folder / "images"), run=folder / f"seed{seed}", seed=seed, **TINY)
    return [folder / "seed0", folder / "seed1"]


def test_runs_and_checkpoints_in_one_call(
    runs: list[Path], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []

    def counted(extractor, dataset, split, count, say):
        made.append((split, count))
        return real_features(extractor, dataset, split, count, say)

    monkeypatch.setattr(score, "real_features", counted)
    words = ["evaluate", *map(str, runs), "--checkpoint", "all", "--num-samples", "120", "--json"]
    assert main(words) == 0
    found = json.loads(capfd.readouterr().out)
    assert [(entry["run"], entry["checkpoint"]) for entry in found] == [
        (str(run), step) for run in runs for step in ("2", "4")
    ]
    assert len(made) == len(set(made)) > 0  # once for all four
    for entry in found:
        alone = ganforge.evaluate(entry["run"], checkpoint=entry["checkpoint"], num_samples=120)
        values = {each.name: each.value for each in alone if each.name != "sampling_speed"}
        shared = {each["name"]: each["value"] for each in entry["scores"] if each["name"] != "sampling_speed"}
        assert shared == values


def test_one_that_cannot_be_evaluated_does_not_stop_the_others(
    runs: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", *map(str, runs), "--checkpoint", "3,newest", "--num-samples", "20"]
    assert main(words) == 2
    captured = capfd.readouterr()
    assert captured.err.count("has no checkpoint 3") == 2
    assert captured.out.count("checkpoint newest") == 2
    assert main(["evaluate", *map(str, runs), "--samples", "x"]) == 2
    assert "for one run and checkpoint" in capfd.readouterr().err


def test_equal_data_are_opened_once(runs: list[Path]) -> None:
    work = SharedWork()
    first, second = (work.data_of(ganforge.load(run).run) for run in runs)
    assert first is second
    assert work.extractor("auto", first) is work.extractor("auto", second)


def test_progress_says_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], list[str]()
    monkeypatch.setattr("ganforge.evaluation.progress.time.monotonic", lambda: now[0])
    progress = Progress(said.append, "drawing samples", 50_000)
    now[0] = 1.0
    progress.at(1_000)
    now[0] = 60.0
    progress.at(10_000)
    progress.at(50_000)
    assert said == [
        "drawing samples: 50,000",
        "drawing samples: 1,000 of 50,000",
        "drawing samples: 10,000 of 50,000, about 4 min left",
        "drawing samples: 50,000 of 50,000",
    ]


def test_a_long_score_says_how_far_it_is(runs: list[Path]) -> None:
    said = list[str]()
    ganforge.evaluate(runs[0], num_samples=150, say=said.append)
    assert "drawing samples: 150 of 150" in said
    assert "features of samples: 150 of 150" in said
    assert "features of train images: 150 of 150" in said
