"""Samples shared out among processes: the same as those of one, or refused in one line."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command import draw_images, environment, run
from torch import Tensor

import ganforge
from ganforge.data.batch import Batch
from ganforge.distributed import Shard, shared
from ganforge.errors import UserError
from ganforge.evaluation.evaluate import score_run
from ganforge.reporting.evaluations import read_evaluations
from ganforge.runs import sampling
from ganforge.runs.trained import Trained, load
from ganforge.system import LatentSystem
from ganforge.text.embeddings import data_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on images of two classes."""
    images = tmp_path_factory.mktemp("data") / "images"
    for name in ("dark", "light"):
        draw_images(images / name, count=60, side=14)
    path = tmp_path_factory.mktemp("runs") / "run"
    options = {"batch": 8, "steps": 2, "width": 2, "discriminator_width": 2}
    ganforge.train("acgan", str(images), run=path, quiet=True, device="cpu", **options)
    return path


@pytest.fixture
def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setattr(sampling, "CHUNK", 20)
    return load(folder, device="cpu")


@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.parametrize("count", [3, 70])
@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_parts_together_are_the_samples_of_one_process(
    trained: Trained, ranks: int, count: int, weights: str
) -> None:
    given = trained.conditions(["light", "dark"], count)
    expected = trained.sample(count, seed=7, weights=weights, given=given)
    found, times = torch.zeros_like(expected), torch.zeros(count)
    for rank in range(ranks):
        for rows, part in trained.draw_share(count, Shard(rank, ranks), seed=7, weights=weights, given=given):
            found[rows] = part
            times[rows] += 1
    assert torch.equal(found, expected)
    assert (times == 1).all()


def test_alone_is_all_of_it(trained: Trained) -> None:
    parts = list(trained.draw_share(50, Shard(), seed=7))  # labels that it draws itself
    assert torch.equal(torch.cat([part for _, part in parts]), trained.sample(50, seed=7))
    assert [(rows.start, rows.stop) for rows, _ in parts] == [(0, 20), (20, 40), (40, 50)]


def test_drawing_leaves_the_random_numbers_alone(trained: Trained) -> None:
    state = torch.get_rng_state()
    list(trained.draw_share(50, Shard(1, 2), given=trained.conditions(["dark"], 50)))
    assert torch.equal(torch.get_rng_state(), state)


def test_systems_that_draw_more_than_latents_are_refused(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="--devices 2: acgan draws each sample with"):
        list(trained.draw_share(50, Shard(0, 2)))  # labels are not given: it draws them

    def sample(
        self: LatentSystem,
        count: int,
        given: Batch | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self.decode(self.draw_latents(2 * count, generator)[:count], given, generator)

    monkeypatch.setattr(type(trained.system), "sample", sample)
    with pytest.raises(UserError, match="--devices 3"):
        list(trained.draw_share(50, Shard(2, 3), given=trained.conditions(["dark"], 50)))


def test_points_are_refused(tmp_path: Path) -> None:
    ganforge.train("gan", "ring", run=tmp_path / "run", batch=8, steps=1, quiet=True, device="cpu")
    trained = load(tmp_path / "run", device="cpu")
    with pytest.raises(UserError, match="--devices 2: expected a run that generates images"):
        score_run(trained, data_of(trained.run), num_samples=20, shard=Shard(0, 2))


@pytest.mark.parametrize(
    ("devices", "started", "why"),
    [
        (2, None, r"torchrun --nproc-per-node 2 -m ganforge evaluate 'my run' --devices 2"),
        (1, "2", "torchrun has started 2 processes, not 1: give --devices 2"),
        (3, "2", "torchrun has started 2 processes, not 3: give --devices 2"),
        (0, None, "--devices 0: expected 1 or more"),
    ],
)
def test_as_many_processes_as_devices(
    monkeypatch: pytest.MonkeyPatch, devices: int, started: str | None, why: str
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if started is not None:
        monkeypatch.setenv("WORLD_SIZE", started)
    with pytest.raises(UserError, match=why), shared(devices, "auto", f"evaluate {shlex.quote('my run')}"):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(UserError, match="torchrun started 2 processes, 1 GPU here"),
        shared(2, "auto", "evaluate run"),
    ):
        pass


def test_without_torchrun_one_line_says_what_to_type(folder: Path, tmp_path: Path) -> None:
    done = run("evaluate", folder, "--devices", 2, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"torchrun --nproc-per-node 2 -m ganforge evaluate {folder} --devices 2" in done.stderr
    assert not (folder / "evaluations").exists()


@pytest.mark.slow
def test_two_processes_score_as_one(folder: Path, tmp_path: Path) -> None:
    options = ["evaluate", str(folder), "--num-samples", "600", "--features", "random"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "ganforge", *options, "--devices", "2", "--json"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    shared_out = {score["name"]: score for score in json.loads(done.stdout)}  # printed once
    ((stored,), _) = read_evaluations(folder)
    assert list(stored.scores) == list(shared_out.values())
    alone = {score.name: score for score in ganforge.evaluate(folder, num_samples=600, features="random")}
    assert set(shared_out) == set(alone)
    assert {"kid", "coverage", "ms_ssim", "discriminator_on_generated"} <= set(alone)
    assert shared_out.pop("sampling_speed")["protocol"]["processes"] == 2
    for name, score in shared_out.items():
        assert score["value"] == pytest.approx(alone[name].value, rel=1e-6), name
        assert score["protocol"] == alone[name].protocol, name
