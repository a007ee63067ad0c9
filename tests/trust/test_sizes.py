"""Memory is a limit like any other: what files and commands ask for is compared with what there is."""

import resource
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import forged
import pytest
from command import environment

import ganforge
from ganforge.cli.main import main
from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.runs.build import build_system
from ganforge.runs.checkpoint import Checkpoint
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import packaged, packaged_runs
from ganforge.systems.discovery import available, find
from ganforge.training import memory

SMALL: dict[str, Any] = {"latent_size": 4, "generator_hidden": (8,), "discriminator_hidden": (6,), "batch": 4}
QUIET: dict[str, Any] = {"device": "cpu", "precision": "fp32", "quiet": True}
TRAIN = ["train", "gan", "--data", "ring", "--steps", "1", "--device", "cpu", "--run", "r"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    ganforge.train("gan", "ring", run="honest", steps=1, **SMALL, **QUIET)
    shutil.copytree("honest", "r")
    return tmp_path


@pytest.mark.parametrize("name", forged.SIZES)
def test_sizes_of_a_hostile_config_get_no_memory(place: Path, name: str) -> None:
    forged.SIZES[name](place / "r")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for use in (
        lambda: ganforge.resume("r", steps=2, quiet=True),
        lambda: ganforge.train("gan", "ring", run="new", start_from="r", steps=1, **SMALL, **QUIET),
    ):
        with suppress(UserError):
            use()
    begun = time.process_time()
    with pytest.raises(UserError) if name != "average of nothing" else nullcontext() as refused:
        ganforge.load("r", "cpu").sample(2)
    assert time.process_time() - begun < 5
    assert refused is None or ("\n" not in str(refused.value) and len(str(refused.value)) < 500)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 500_000  # KB


@pytest.mark.parametrize(
    ("system", "option", "value"),
    [
        ("gan", "--latent-size", 10**9),
        ("gan", "--batch", 10**25),
        ("dcgan", "--batch", 10**9),
        ("dcgan", "--latent-size", 10**21),
        ("dcgan", "--width", 10**6),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_training_that_no_machine_holds_is_refused_with_what_fits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    system: str,
    option: str,
    value: int,
    more: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [TRAIN[0], system, "--data", "ring" if system == "gan" else "emoji", *TRAIN[4:], *more]
    assert main([*words, option, str(value)]) == 2
    (line,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("error")]
    assert f": {option} " in line
    assert line.endswith(" fits")
    assert list(tmp_path.iterdir()) == []  # nothing that blocks the corrected command


def test_what_is_said_to_fit_does_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20e6)
    with pytest.raises(
        UserError, match=r"a step needs more than .* of memory, .* free: --batch (\d+) fits"
    ) as no:
        ganforge.train("gan", "ring", run="r", steps=1, **SMALL | {"batch": 500_000}, **QUIET)
    fits = int(str(no.value).split("--batch ")[1].split()[0])
    assert 1000 < fits < 500_000
    assert ganforge.train("gan", "ring", run="r", steps=1, **SMALL | {"batch": fits}, **QUIET).step == 1
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1.0)
    with pytest.raises(UserError, match="train smaller networks"):
        ganforge.train("gan", "ring", run="n", steps=1, **SMALL, **QUIET)


def _spec(needs: frozenset[str]) -> DataSpec:
    optional: dict[str, Any] = {
        "labels": {"class_names": ("a", "b")},
        "captions": {"caption_alphabet": "abc", "caption_length": 64},
        "embeddings": {"embedding_size": 8},
        "sources": {"source_shape": (3, 32, 32)},
    }
    fields = {"channels": 3, "height": 32, "width": 32, "num_images": 9}
    for need in needs:
        fields |= optional[need]
    return DataSpec.model_validate(fields)


@pytest.mark.parametrize("name", available())
def test_every_system_is_counted_without_memory(name: str, tmp_path: Path) -> None:
    kind = find(name)
    spec = _spec(kind.needs)
    if name.startswith("sr"):
        spec = spec.model_copy(update={"source_shape": (3, 8, 8)})
    fields = {field: value for field, (value, _) in kind.suggest(spec, "cpu").items()}
    fields |= {"content": "mse"} if name == "srgan" else {}
    config = Run.open(packaged(next(iter(packaged_runs())))).config
    options = kind.Config.model_validate(fields).model_dump(mode="json")
    config = config.model_copy(update={"system": name, "spec": spec, "config": options})
    needed = memory._least_bytes(config)
    system = build_system(config)
    weights = sum(parameter.nbytes for parameter in system.parameters())
    assert needed is not None
    assert 2 * weights < needed < 200 * weights + 2e9
    more = memory._changed_bytes(config, "batch", 8 * int(options["batch"]))
    assert more is None or more > needed
    checkpoint = Checkpoint(tmp_path, {"system": dict(system.state_dict())}, {"step": 1})
    assert build_system(config, checkpoint=checkpoint).state_dict().keys() == system.state_dict().keys()


def test_where_the_memory_runs_out_nothing_is_left(tmp_path: Path) -> None:
    """Really out of memory, between what is counted and what is needed."""
    code = (
        "import resource, sys, torch\n"
        "from ganforge.cli.main import main\n"
        "import ganforge.training.loop, ganforge.training.memory\n"
        "ganforge.training.memory.free_bytes = lambda device: None\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *TRAIN, "--latent-size", "200000", "--batch", "16"],
        cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "out of memory at --batch 16: " in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
