"""Own networks and losses from outside the package: checked on one batch, imported only when named."""

import json
import os
import shutil
import sys
from itertools import count
from pathlib import Path

import pytest
import torch

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.files import code
from ganforge.training.state import Training

SOURCE = """
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import TensorDataset


class Generator(nn.Module):
    def __init__(self, latent_size, shape):
        super().__init__()
        self.shape = shape
        last = nn.Linear(16, torch.Size(shape).numel())
        self.layers = nn.Sequential(nn.Linear(latent_size, 16), nn.ReLU(), last)

    def forward(self, latents):
        return torch.tanh(self.layers(latents)).view(-1, *self.shape)


class Discriminator(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 16), nn.LeakyReLU(0.2))
        self.last = nn.Linear(16, 1)

    def forward(self, images):
        return self.last(self.layers(images)).flatten()


class Tall(Discriminator):
    def forward(self, images):
        return self.last(self.layers(images))


class Small(Generator):
    def __init__(self, latent_size, shape):
        super().__init__(latent_size, (shape[0], shape[1] // 2, shape[2]))


class Broken(Generator):
    def forward(self, latents):
        return super().forward(latents) / 0


class Picky(Generator):
    def __init__(self, size):
        super().__init__(size, (1, 8, 8))


def relativistic(real, fake):
    return softplus(fake - real).mean(), softplus(real - fake).mean()


def no_mean(real, fake):
    return softplus(fake - real), softplus(real - fake).mean()


def nan(real, fake):
    return (real - fake).mean(), fake.mean() * float("nan")


def one(real, fake):
    return (real - fake).mean()


def constant(real, fake):
    return (real - fake).mean(), torch.zeros(())


def raises(real, fake):
    return real @ torch.zeros(3), fake.mean()


def data():
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.rand(32, 1, 8, 8, generator=generator), torch.arange(32) % 2)
"""
NUMBERS = count()
TINY = ["--batch", "8", "--width", "4", "--device", "cpu", "--checkpoint-every", "2"]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder that this process has never imported."""
    name = f"own_parts_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(code, "_named", set())
    return name


def parts_of(module: str) -> list[str]:
    names = {"generator": "Generator", "discriminator": "Discriminator", "loss": "relativistic"}
    return [word for part, name in names.items() for word in (f"--{part}", f"{module}:{name}")]


def weights(run: str) -> tuple[str, str]:
    trained = ganforge.load(run, trust_code=True)
    return trained.hash_weights("raw"), trained.hash_weights()


@pytest.mark.parametrize("system", ["dcgan", "lsgan", "wgan", "wgan_gp"])
def test_own_parts_train_resume_exactly_and_are_used(system: str, module: str) -> None:
    words = ["train", system, "--data", f"python:{module}:data", *TINY, *parts_of(module)]
    assert main([*words, "--run", "whole", "--steps", "4"]) == 0
    assert main([*words, "--run", "parts", "--steps", "2"]) == 0
    code._named.clear()
    assert main(["resume", "parts", "--steps", "4"]) == 2  # a file names them: not trusted
    assert main(["resume", "parts", "--steps", "4", "--trust-code"]) == 0
    assert weights("whole") == weights("parts")
    trained = ganforge.load("whole", trust_code=True)
    assert type(trained.system.generator).__module__ == module
    assert main(["evaluate", "whole", "--num-samples", "20", "--trust-code"]) == 0
    assert main(["sample", "whole", "--count", "4", "--out", "four.png", "--trust-code"]) == 0
    config = json.loads(Path("whole/config.json").read_text("utf-8"))["config"]
    assert config["generator"] == f"{module}:Generator"
    (start,) = ganforge.load("whole").run.metrics("start")
    assert set(start["code"]) == {
        f"{module}:{name}" for name in ("Generator", "Discriminator", "relativistic")
    }


def test_child_processes_have_the_trust_of_their_command(module: str) -> None:
    words = ["train", "dcgan", "--data", f"python:{module}:data", *TINY, *parts_of(module), "--steps", "2"]
    assert main([*words, "--run", "first"]) == 0
    code._named.clear()
    several = [
        "train",
        "--like",
        "first",
        "--trust-code",
        "--seeds",
        "1,2",
        "--jobs",
        "2",
        "--run",
        "several",
    ]
    assert main(several) == 0
    assert ganforge.load("several/seed-2", trust_code=True).step == 2


def test_one_own_part_beside_those_of_the_paper(module: str) -> None:
    words = ["train", "dcgan", "--data", f"python:{module}:data", *TINY, "--steps", "2"]
    assert main([*words, "--run", "loss", "--loss", f"{module}:relativistic"]) == 0
    assert main([*words, "--run", "plain"]) == 0
    assert weights("loss") != weights("plain")
    line = ganforge.load("loss").run.metrics()[-1]
    assert "real_logit" in line
    assert "real_probability" not in line
    assert main([*words, "--run", "generator", f"--generator={module}:Generator"]) == 0
    assert hasattr(ganforge.load("generator").system.discriminator, "features")


@pytest.mark.parametrize(
    ("part", "name", "line"),
    [
        (
            "discriminator",
            "Tall",
            "gives [8, 1] for inputs [8, 1, 8, 8], expected [8]: flatten its last axis",
        ),
        ("generator", "Small", "gives [8, 1, 4, 8] for inputs [8, 100], expected [8, 1, 8, 8]"),
        ("generator", "Broken", "gives NaN or infinity"),
        ("generator", "Picky", "cannot be built as (latent_size=100, shape=(1, 8, 8)): TypeError"),
        ("generator", "SOURCE", "has no attribute 'SOURCE'"),
        ("generator", "relativistic", "cannot be built as"),
        ("loss", "no_mean", "the loss of the discriminator has the shape [8], expected one number"),
        ("loss", "nan", "the loss of the generator is nan"),
        ("loss", "one", "returns Tensor: expected two tensors"),
        ("loss", "constant", "the loss of the generator does not depend on the logits of generated images"),
        ("loss", "raises", "fails for logits [8]: RuntimeError"),
    ],
)
def test_a_bad_part_is_one_line_before_the_first_step(
    part: str, name: str, line: str, module: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "dcgan", "--data", f"python:{module}:data", *TINY, "--run", "bad", "--steps", "2"]
    assert main([*words, f"--{part}", f"{module}:{name}"]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error
    assert not Path("bad").exists()
    assert main([*words, f"--{part}", "no colon"]) == 2
    assert "expected package.module:name" in capfd.readouterr().err


def test_a_run_folder_imports_nothing_unasked(module: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Every part of a folder that names code, in every verb that opens it."""
    words = ["train", "dcgan", "--data", f"python:{module}:data", *TINY, "--steps", "2", "--run", "run"]
    assert main([*words, *parts_of(module)]) == 0
    capfd.readouterr()
    del sys.modules[module]
    code._named.clear()
    for part in ("generator", "discriminator", "loss", "data"):
        shutil.copytree("run", part)
        config = json.loads(Path("run/config.json").read_text("utf-8"))
        options = dict.fromkeys(("generator", "discriminator", "loss"))
        own = {} if part == "data" else {part: f"{module}:Generator"}
        config["config"] |= options | own
        config["data"]["data"] = f"python:{module}:data" if part == "data" else "mnist"
        Path(part, "config.json").write_text(json.dumps(config), encoding="utf-8")
        commands = [["resume", part, "--steps", "3"], ["evaluate", part, "--num-samples", "20"]]
        commands += [
            ["train", "--like", part, "--run", "new"],
            ["train", "--config", f"{part}/config.json", "--run", "n"],
        ]
        if part != "data":  # which samples do not need
            commands += [["sample", part, "--out", "x.png"], ["export", "hub", part, "out"]]
            commands += [
                ["train", "dcgan", "--data", "mnist", "--from", part, "--run", "new", "--width", "4"]
            ]
        for command in commands:
            assert main(command) == 2, command
            assert module not in sys.modules, command
    assert "not imported unasked" in capfd.readouterr().err


def test_classes_and_functions_in_python(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    own = __import__(module)
    seen: list[tuple[int, float]] = []

    def on_step(training: Training) -> None:
        torch.rand(3)  # leaves the training as it is
        seen.append((training.step, float(training.latest["generator_loss"])))

    options = {"steps": 3, "batch": 8, "width": 4, "device": "cpu", "quiet": True, "loss": own.relativistic}
    parts = {"generator": own.Generator, "discriminator": f"{module}:Discriminator"}
    watched = ganforge.train("dcgan", own.data(), run="a", on_step=on_step, **options, **parts)
    alone = ganforge.train("dcgan", own.data(), run="b", **options, **parts)
    assert watched.hash_weights("raw") == alone.hash_weights("raw")
    assert [step for step, _ in seen] == [1, 2, 3]
    assert watched.run.config.config["generator"] == f"{module}:Generator"
    with pytest.raises(UserError, match="expected a class or function of a module"):
        ganforge.train("dcgan", own.data(), run="c", generator=lambda latent_size, shape: None)


def test_changed_code_is_said(module: str) -> None:
    words = ["train", "dcgan", "--data", f"python:{module}:data", *TINY, *parts_of(module), "--run", "run"]
    assert main([*words, "--steps", "2"]) == 0
    with open(f"{module}.py", "a", encoding="utf-8") as file:
        file.write("# another line\n")
    os.sync()
    assert main([*words, "--steps", "4"]) == 0
    notes = [line["text"] for line in ganforge.load("run").run.metrics("note")]
    assert any("has changed since the run began" in note for note in notes)
