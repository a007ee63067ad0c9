"""Files of torch.save, read without executing anything in them."""

import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from ganforge.errors import UserError
from ganforge.files.pth import read_tensors


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_what_torch_saved(tmp_path: Path, zipped: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(300, 2))
    state = network.state_dict()
    state["transposed"] = torch.randn(4, 6).T
    state["part"] = torch.arange(20.0)[3:9:2]
    state["half"] = torch.randn(7).half()
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path / "w.pth")
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_the_weights_of_a_checkpoint_with_its_optimizer(tmp_path: Path, zipped: bool) -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    optimizer = torch.optim.Adam(network.parameters(), 2e-4, betas=(0.0, 0.9))
    network(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    state = network.state_dict()
    whole = {"model_state_dict": state, "optimizer_state_dict": optimizer.state_dict(), "global_step": 70_000}
    torch.save(whole, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path / "w.pth", "model_state_dict")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    with pytest.raises(UserError, match="expected a dictionary of tensors"):
        read_tensors(tmp_path / "w.pth")


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "what", [OrderedDict(a=Evil()), [torch.ones(2)], {"a": 3}], ids=["code", "list", "number"]
)
def test_refuses_anything_but_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool, what: object
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(what, "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="not a file of tensors"):
        read_tensors(Path("w.pth"))
    assert not Path("executed").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torn_file_is_refused(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": torch.randn(100)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "w.pth").read_bytes()
    for length in (0, 10, 100, len(whole) - 150):
        (tmp_path / "w.pth").write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged"):
            read_tensors(tmp_path / "w.pth")
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "missing.pth")
