"""`ganforge export torch`: the program and the file of plain modules equal the run, without ganforge."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from command import files_of
from untrained import untrained

from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.export.program import BATCHES, LIMIT, differences, network_of
from ganforge.export.torch_program import module_text, write_torch
from ganforge.systems.discovery import available

ALONE = """
import sys
sys.modules["ganforge"] = None  # an import of it fails
import importlib.util, pathlib, safetensors.torch, torch
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    spec = importlib.util.spec_from_file_location("generator_" + folder.name, folder / "generator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    inputs, network = safetensors.torch.load_file(folder / "inputs.safetensors"), module.load()
    made = {}
    with torch.no_grad():
        for batch in ("1", "7"):
            parts = [inputs[name] for name in sorted(inputs) if name.startswith(batch)]
            made[batch] = network(*parts).contiguous()
    safetensors.torch.save_file(made, folder / "made.safetensors")
"""


@pytest.mark.slow
def test_the_file_of_plain_modules_needs_no_ganforge(tmp_path: Path) -> None:
    """For every system that makes images, in one process that cannot import ganforge."""
    networks = {}
    for name in available():
        if name == "text_encoder":
            continue
        network = networks[name] = network_of(untrained(tmp_path / "runs" / name, name))
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        text = module_text(network)
        assert len(text.splitlines()) < 450
        (folder / "generator.py").write_text(text, encoding="utf-8")
        weights = {key: t.contiguous() for key, t in network.module.state_dict().items()}
        safetensors.torch.save_file(weights, folder / "model.safetensors")
        inputs = {
            f"{batch} {index}": part
            for batch in BATCHES
            for index, part in enumerate(network.example(batch, batch))
        }
        safetensors.torch.save_file(inputs, folder / "inputs.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name, network in networks.items():
        made = safetensors.torch.load_file(tmp_path / "out" / name / "made.safetensors")
        for batch in BATCHES:
            expected = network.eager(network.example(batch, batch))
            assert (made[str(batch)] - expected).abs().max() <= LIMIT, name
            assert expected.std() > 0.02, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["srgan", "stackgan"])
def test_a_saved_program_equals_the_run(tmp_path: Path, name: str) -> None:
    trained = untrained(tmp_path / "run", name)
    write_torch(trained, tmp_path / "out")
    call = torch.export.load(tmp_path / "out" / "model.pt2").module()
    found = differences(network_of(trained), lambda inputs: call(*inputs))
    assert max(found.values()) <= LIMIT


def test_the_command_writes_four_files_and_refuses_an_existing_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    untrained(tmp_path / "run", "wgan")
    assert main(["export", "torch", "run", "out"]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out.count("differs from the run by at most") == 2
    files = files_of(tmp_path / "out")
    assert sorted(files) == ["README.md", "generator.py", "model.pt2", "model.safetensors"]
    defined = {node.name for node in ast.parse(files["generator.py"]).body if isinstance(node, ast.ClassDef)}
    assert "DCGANGenerator" in defined
    assert not any("Discriminator" in name for name in defined)
    assert not any("discriminator" in name for name in safetensors.torch.load(files["model.safetensors"]))
    before = files_of(tmp_path)
    assert main(["export", "torch", "run", "out"]) == 2
    assert "out exists" in capfd.readouterr().err
    assert files_of(tmp_path) == before


def test_code_of_others_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = untrained(tmp_path / "run", "dcgan")

    class Own(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return self.network(latents)

    own = Own(trained.system.generator)
    monkeypatch.setattr(type(trained.system), "inference_network", lambda self: own, raising=False)
    with pytest.raises(UserError, match=r"Own is not of ganforge\.nn"):
        write_torch(trained, tmp_path / "out")
    assert not (tmp_path / "out").exists()
