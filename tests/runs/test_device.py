"""Devices: which one is chosen, and what an Apple GPU changes (pretended: none is here)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.runs.device import (
    check_device,
    choose_device,
    choose_precision,
    random_state,
    set_random_state,
)
from ganforge.runs.options import TrainOptions
from ganforge.training import state as module
from ganforge.training.meter import Meter

MPS = torch.device("mps")


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_prefers_cuda_then_mps(
    cuda: bool, mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device("auto").type == chosen
    for name, there in (("cuda", cuda), ("mps", mps), ("cpu", True)):
        if there:
            assert choose_device(name).type == name
        else:
            with pytest.raises(UserError, match=f"--device {name}: torch finds no .*GPU here: use --device"):
                choose_device(name)


def test_an_apple_gpu_trains_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False, mps=True)
    assert choose_precision("auto", MPS) == "fp32"
    check_device(MPS, "fp32", TrainOptions())
    with pytest.raises(UserError, match="--device mps trains in fp32, and bf16 was chosen"):
        check_device(MPS, "bf16", TrainOptions())
    with pytest.raises(UserError, match="--compile on does not go with --device mps: leave it out"):
        check_device(MPS, "fp32", TrainOptions(compile="on"))
    check_device(torch.device("cpu"), "bf16", TrainOptions(compile="on"))


@pytest.mark.parametrize("wrong", [("--precision", "bf16"), ("--compile", "on")])
def test_what_it_lacks_is_one_line_and_leaves_nothing(
    wrong: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretend(monkeypatch, cuda=False, mps=True)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "gan", "--data", "ring", "--device", "mps", *wrong]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU here")
def test_without_one_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "gan", "--data", "ring", "--device", "mps"]) == 2
    assert capsys.readouterr().err == (
        "error: --device mps: torch finds no Apple GPU here: use --device cpu or auto\n"
    )
    assert not list(tmp_path.iterdir())


def test_its_random_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [torch.tensor([1, 2], dtype=torch.uint8)]

    def change(state: Tensor) -> None:
        kept[0] = state

    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: kept[0])
    monkeypatch.setattr(torch.mps, "set_rng_state", change)
    cpu = torch.get_rng_state()
    before = random_state(MPS)
    set_random_state(MPS, torch.tensor([4], dtype=torch.uint8))
    assert kept[0].tolist() == [4]
    set_random_state(MPS, before)
    assert kept[0].tolist() == [1, 2]
    assert torch.equal(torch.get_rng_state(), cpu)


def test_a_checkpoint_of_another_device_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random state of a device that is not here is left alone."""
    small = {"batch": 4, "quiet": True, "device": "cpu", "run": tmp_path / "r", "checkpoint_every": 1}
    states = {"cpu": torch.get_rng_state(), "mps": torch.zeros(3, dtype=torch.uint8)}
    original = module.pack_state

    def pack(training: module.Training) -> object:
        tensors, state = original(training)
        return tensors | {"random": tensors["random"] | {"mps": states["mps"]}}, state

    monkeypatch.setattr("ganforge.training.loop.pack_state", pack)
    ganforge.train("gan", "ring", steps=1, **small)
    assert ganforge.train("gan", "ring", steps=2, **small).step == 2


def test_means_need_no_float64_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganforge.training.meter._wide", lambda device: torch.float32)
    meter = Meter()
    for value in (1.0, 2.0):
        meter.add({"loss": torch.tensor(value)})
    assert meter.read() == {"loss": 1.5}
    other = Meter()
    other.load(meter.state(), torch.device("cpu"))
    assert other.read() == {"loss": 1.5}
