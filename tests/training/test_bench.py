"""Contests: the plain loops train as ganforge does, and what is measured is reported as it is."""

import json
from itertools import islice
from pathlib import Path

import pytest
import torch
from command import draw_images
from torch.optim import SGD, Adam

from ganforge.cli.main import main
from ganforge.data.batch import Batch
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.runs.build import build_system
from ganforge.runs.options import TrainOptions
from ganforge.training.bench.child import Child
from ganforge.training.bench.contest import Ratio, contest, matrix_peak
from ganforge.training.bench.contestants import Case, Ours
from ganforge.training.bench.plain import (
    SAVINGS,
    Plain,
    PlainImages,
    tutorial_step,
    unfused,
    without_savings,
)
from ganforge.training.state import build_training
from ganforge.training.update import OptimizerUpdate

PIXELCNN = {"width": 8, "layers": 2, "batch": 4}
NETWORKS = ("discriminator", "generator")
TINY = {"batch": 8, "width": 4, "latent_size": 4}


def case(data: object, system: str = "dcgan", **fields: object) -> Case:
    options = TrainOptions(precision="fp32", device="cpu")
    return Case(system, DataOptions(data=str(data)), options, TINY | fields if system == "dcgan" else fields)


def test_the_tutorial_loop_trains_as_dcgan_does(tmp_path: Path) -> None:
    plan = case(draw_images(tmp_path / "images", side=16)).plan()
    training = build_training(plan.config, plan.dataset)
    plain = build_system(plan.config).train()
    # Adam's first steps are signs of gradients: rounding alone would turn some.
    optimizers = {name: SGD(plain.get_submodule(name).parameters(), 0.1) for name in NETWORKS}
    training.optimizers = {
        name: SGD(training.system.get_submodule(name).parameters(), 0.1) for name in NETWORKS
    }
    reals = torch.rand(8, 3, 16, 16) * 2 - 1
    update = OptimizerUpdate(training.optimizers, "cpu")
    training.system.train()
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    for step in range(2):
        torch.manual_seed(step)
        training.system.train_step(Batch(reals), update)
        torch.manual_seed(step)
        tutorial_step(plain, optimizers, reals)
    ours = training.system.state_dict()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, ours[name], rtol=1e-3, atol=2e-5)
    assert any(not torch.equal(value, before[name]) for name, value in plain.state_dict().items())


def test_an_unfused_optimizer_has_the_same_settings() -> None:
    fused = Adam(torch.nn.Linear(3, 3).parameters(), 1e-3, betas=(0.1, 0.2), weight_decay=0.3, fused=True)
    (group,) = unfused(fused).param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.1, 0.2), 0.3)
    assert not group["fused"]


def test_the_plain_loop_saves_no_work(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images", side=16)
    for system, fields in (("wgan_gp", {"penalty_share": 0.5}), ("dcgan", {"update": "simultaneous"})):
        config = without_savings(case(images, system, **fields).plan().config)
        assert config == without_savings(case(images, system).plan().config)
        assert config.config.items() >= {name: SAVINGS[name] for name in fields}.items()


def test_plain_images_are_those_of_the_run(tmp_path: Path) -> None:
    plan = case(draw_images(tmp_path / "images", side=16)).plan()
    images = PlainImages(plan.config, plan.dataset)
    split = plan.dataset.streamed
    assert len(images) == len(split)
    assert isinstance(images._files[0], Path)
    for index in (0, 7):
        stored = split.read(torch.tensor([index]))[0] / 127.5 - 1
        torch.testing.assert_close(images[index], stored, rtol=0, atol=1e-6)


def test_points_and_black_and_white() -> None:
    plan = case("ring", "gan", batch=16).plan()
    assert next(iter(Plain(plan)._images)).shape == (16, 2, 1, 1)
    plan = Case("vae", DataOptions(data="mnist", binarise="dynamic"), TrainOptions(device="cpu"), {}).plan()
    (batch,) = islice(Plain(plan)._images, 1)
    assert set(batch.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("system", ["dcgan", "wgan_gp", "pixelcnn", "pix2pix"])
def test_plain_loops_step_and_sample(tmp_path: Path, system: str) -> None:
    fields = {"pixelcnn": PIXELCNN, "wgan_gp": {"width": 2, "batch": 4}}.get(system, {})
    pairs = {"pairs": "edges"} if system == "pix2pix" else {}
    if system == "pix2pix":
        fields = {"width": 2, "discriminator_width": 2}
    data = DataOptions(data=str(draw_images(tmp_path / "images", side=16)), **pairs)
    plan = Case(system, data, TrainOptions(device="cpu"), TINY if system == "dcgan" else fields).plan()
    for contestant in (Plain(plan), Ours(plan)):
        assert contestant.step() > 0
        assert contestant.read() > 0
        found = contestant.sample()
        assert found is not None
        assert found[0] > 0
        assert found[1] == min(64, contestant.images_per_step)


def test_ratios_are_of_the_same_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganforge.training.bench import contest as module

    assert module._ratio({"ganforge": [1.0, 2.0, 4.0], "plain": [2.0, 8.0, 4.0]}) == Ratio(2.0, 1.0, 4.0)


def test_a_contest(tmp_path: Path) -> None:
    said: list[str] = []
    result = contest(case(draw_images(tmp_path / "images", side=16)), 2, said.append)
    assert result.images_per_step == 8
    assert result.parameters == sum(
        p.numel() for p in build_system(case(tmp_path / "images").plan().config).parameters()
    )
    assert 0 < result.share_of_peak < 1
    assert result.training_ratio.lowest <= result.training_ratio.median <= result.training_ratio.highest
    assert all(rate > 0 for rate in (*result.training.values(), *result.reading.values()))
    assert all(memory > 50e6 for memory in result.peak_memory_bytes.values())
    assert result.start_seconds["ganforge"] > 0
    assert "step: round 2 of 2" in said


def test_a_loop_that_fails_is_one_line(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images", side=16)
    with Child("plain", case(images), 1) as child:
        child._process.kill()
        with pytest.raises(UserError, match="the plain loop of dcgan was ended"):
            child.call("step")
    with pytest.raises(UserError, match=r"the ganforge loop of dcgan: .*nowhere"):
        Child("ganforge", case(tmp_path / "nowhere"), 1)


def test_products_have_a_rate() -> None:
    assert matrix_peak("fp32", torch.device("cpu")) > 1e8


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "dcgan", "--data", str(draw_images(tmp_path / "images", side=16)), "--width", "4"]
    words += ["--batch", "8", "--rounds", "1", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "speed.json")]) == 0
    assert "times" in capsys.readouterr().out
    stored = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    (row,) = stored["results"]
    assert row["system"] == "dcgan"
    assert row["images_per_step"] == 8
    assert row["training_ratio"]["median"] == row["training_ratio"]["lowest"]


def test_own_parts_and_packs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another game than the tutorial's: the plain loop takes the system's own step, own code included."""
    monkeypatch.chdir(tmp_path)
    Path("own_loss_of_bench.py").write_text(
        "def loss(real, fake):\n    return (1 - real).relu().mean() + fake.relu().mean(), -fake.mean()\n"
    )
    words = ["bench", "dcgan", "--data", str(draw_images(tmp_path / "images", side=16)), "--width", "4"]
    words += ["--batch", "8", "--rounds", "1", "--device", "cpu", "--pack", "2"]
    assert main([*words, "--loss", "own_loss_of_bench:loss"]) == 0, capsys.readouterr().err
    assert "times" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dcgan", "--out", "nowhere/speed.json"], "no folder nowhere: make it first"),
        (["dcgam"], "unknown system 'dcgam'"),
        (["--rounds", "2"], "expected a system"),
        (["dcgan", "--rounds", "0"], "--rounds 0: expected 1 or more"),
        (["dcgan", "--widht", "8"], "--widht"),
        (["gan_cls"], "gan_cls needs embeddings"),
        (["dcgan", "--data", "nowhere"], "nowhere"),
    ],
)
def test_mistakes(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert expected in lines[-1]
    assert lines[-1].startswith("error: ")
