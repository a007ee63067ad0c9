"""Chained runs: what `--from` takes over, under which name, and what is recorded of it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from command import draw_images, run
from torch import Tensor

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.runs.checkpoint import Checkpoint, load_checkpoint, load_newest
from ganforge.runs.folder import Run
from ganforge.system import Inheritance
from ganforge.systems.srgan import SRGAN
from ganforge.training.warm_start import load_start

SMALL = {"crop_size": 8, "batch": 2, "steps": 2, "precision": "fp32", "device": "cpu", "quiet": True}


def weights_of(folder: Path) -> dict[str, Tensor]:
    checkpoint = load_newest(folder / "checkpoints")
    assert checkpoint is not None
    return checkpoint.tensors["system"] | checkpoint.tensors["average"]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    draw_images(folder / "data", count=24, side=16)
    fields = {"width": 6, "num_blocks": 1, "ema_half_life": 4.0}
    ganforge.train(
        "srresnet", str(folder / "data"), run=folder / "first", pairs="downscale:2", **fields, **SMALL
    )
    return folder / "first"


def second(first: Path, out: Path, **fields: object) -> Path:
    options = {**SMALL, "discriminator_width": 4, **fields}
    ganforge.train("srgan", str(first.parent / "data"), run=out, pairs="downscale:2", **options)
    return out


def test_a_run_goes_on_where_another_ended(first: Path, tmp_path: Path) -> None:
    """With a rate of nearly nothing its generator is the averaged one of the run before."""
    out = second(first, tmp_path / "second", start_from=str(first), learning_rate=1e-30)
    earlier, later = weights_of(first), weights_of(out)
    trained = {name for name, _ in ganforge.load(out).system.named_parameters()}
    learnt = [name for name in later if name.startswith("generator.") and name in trained]
    assert len(learnt) > 10
    raw = load_newest(first / "checkpoints").tensors["system"]
    assert any(not torch.equal(raw[name], earlier[name]) for name in learnt)
    assert all(torch.equal(earlier[name], later[name]) for name in learnt)
    config = Run.open(out).config
    assert config.config["width"] == 6
    assert config.config["num_blocks"] == 1
    assert config.start_networks == {"generator": f"averaged generator of {first} at step 2"}


def test_the_first_run_may_be_gone_when_the_second_resumes(first: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    out = second(first, tmp_path / "second", start_from=str(copy))
    recorded = Run.open(out).config
    shutil.rmtree(copy)
    for number, again in enumerate(({"start_from": str(copy)}, {})):
        second(first, out, steps=3 + number, **again)
        config = Run.open(out).config
        assert (config.start_from, config.start_networks) == (str(copy), recorded.start_networks)
    assert int(load_newest(out / "checkpoints").state["step"]) == 4


def test_networks_that_do_not_fit_are_named(first: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--from: the .*generator of .* step 2 .*generator\.") as refused:
        second(first, tmp_path / "second", start_from=str(first), width=8)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "second" / "config.json").exists()


def test_a_network_can_come_under_another_name(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SRGAN, "inherits", {"srresnet": Inheritance({"stage_one": "generator"})})
    start = load_start("srgan", Run.open(first), str(first))
    assert start.networks["stage_one"].startswith("averaged generator of ")
    renamed = {key: tensor for key, tensor in start.weights.items() if key.startswith("stage_one.")}
    assert {key.removeprefix("stage_one.") for key in renamed} == {
        key.removeprefix("generator.") for key in weights_of(first) if key.startswith("generator.")
    }


def test_the_command(first: Path, tmp_path: Path) -> None:
    words = ["--data", first.parent / "data", "--pairs", "downscale:2", "--crop-size", 8, "--batch", 2]
    words += ["--discriminator-width", 4, "--steps", 1, "--precision", "fp32"]
    done = run("train", "srgan", *words, "--from", first, "--run", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["config"]["width"] == 6
    assert run("train", "srgan", *words, "--steps", 2, "--run", "r", cwd=tmp_path).returncode == 0
    plain = run("train", "srgan", *words, "--from", "nowhere", "--run", "s", cwd=tmp_path)
    assert plain.returncode == 2
    assert plain.stderr.startswith("error: --from nowhere")
    assert not (tmp_path / "s").exists()


def test_a_command_reads_each_run_once(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own config.json and that of `--from`; no checkpoint where it only matters whether there is one."""
    opened: list[Path] = []
    loaded: list[Path] = []
    plain_open, plain_load = Run.open, load_checkpoint

    def open_run(path: Path) -> Run:
        opened.append(Path(path))
        return plain_open(path)

    def load(path: Path) -> Checkpoint:
        loaded.append(path)
        return plain_load(path)

    monkeypatch.setattr(Run, "open", open_run)
    monkeypatch.setattr("ganforge.runs.checkpoint.load_checkpoint", load)
    monkeypatch.chdir(tmp_path)
    words = ["train", "srgan", "--data", str(first.parent / "data"), "--pairs", "downscale:2", "--crop-size"]
    words += ["8", "--batch", "2", "--discriminator-width", "4", "--from", str(first), "--run", "r"]
    assert main([*words, "--steps", "1"]) == 0
    assert opened == [first]
    assert [path.parent.parent for path in loaded] == [first]
    opened.clear()
    loaded.clear()
    assert main([*words, "--steps", "2"]) == 0
    assert opened == [Path("r")]
    assert loaded == [Path("r/checkpoints/000001")]
