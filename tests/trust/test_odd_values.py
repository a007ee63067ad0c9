"""Whatever stands in a run folder, every verb says so in one line or takes no notice; nothing hangs."""

import json
import shutil
from pathlib import Path

import forged
import pytest
import torch
from command import files_of

import ganforge
from ganforge.cli.main import main
from ganforge.files.reading import parse_json, read_regular
from ganforge.reporting.log import parse_lines

SMALL = ["--latent-size", "4", "--generator-hidden", "8", "--discriminator-hidden", "6"]
TRAIN = ["train", "gan", "--data", "ring", "--run", "runs/r", "--batch", "4", "--checkpoint-every", "1",
         "--sample-every", "1", "--log-every", "1", "--device", "cpu", "--precision", "fp32",
         *SMALL]  # fmt: skip
STEPS = ["--steps", "4"]
LOOKS = {
    "list": ["list", "runs"],
    "sample": ["sample", "runs/r", "--count", "2", "--out", "x.png", "--overwrite"],
    "evaluate": ["evaluate", "runs/r", "--num-samples", "50"],
    "watch": ["watch", "runs/r", "--no-images"],
    "info": ["info", "runs/r"],
    "compare": ["compare", "runs/r", "runs/other"],
    "from": [*TRAIN[:5], "runs/new", *TRAIN[6:], *STEPS, "--from", "runs/r"],
    "train": [*TRAIN, *STEPS],
    "resume": ["resume", "runs/r", "--steps", "5"],
}


QUICK = {
    "log": ("list", "watch"),  # `train` has a test of its own
    "state": ("sample", "train"),
    "file": ("list", "evaluate"),
    "special": ("list", "train"),
}
"""In `make test` these verbs alone; `make soak` takes all."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*TRAIN, "--steps", "2"]) == 0
        assert main(["evaluate", "runs/r", "--num-samples", "50"]) == 0
        shutil.copytree("runs/r", "runs/other")
    return folder


@pytest.fixture
def place(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(honest / "runs", tmp_path / "place/runs")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place/runs/r"


def look(words: list[str], capfd: pytest.CaptureFixture[str]) -> int:
    """The exit code of a command that may fail with one line."""
    code = main(words)
    said = capfd.readouterr()
    assert code in (0, 2)
    assert "Traceback" not in said.out + said.err
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (code == 2)
    assert all(len(line) < 600 for line in errors)
    if words[0] == "list":
        assert code == 0
        assert "runs/other" in said.out
    return code


ODD = {f"log: {name}": forged.log(line) for name, line in forged.LOGS.items()}
ODD |= {f"state: {name}": change for name, change in forged.STATES.items()}
ODD |= {f"file: {name}": change for name, change in forged.FILES.items()}
ODD |= {f"special: {name}": change for name, change in forged.SPECIALS.items()}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore")
def test_a_verb_says_so_in_a_line(place: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    attempt(place, capfd, name, QUICK[name.partition(":")[0]])


@pytest.mark.soak
@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("ignore")
def test_every_verb_says_so_in_a_line(place: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    attempt(place, capfd, name, tuple(LOOKS))


def attempt(place: Path, capfd: pytest.CaptureFixture[str], name: str, verbs: tuple[str, ...]) -> None:
    ODD[name](place)
    outside = place.parent / "outside"
    before = files_of(outside) if outside.exists() else {}
    for verb in verbs:
        look(LOOKS[verb], capfd)
    if outside.exists() and "CHECKPOINT" not in name:
        assert files_of(outside) == before


@pytest.mark.parametrize("name", forged.LOGS)
def test_a_damaged_line_is_kept_aside(place: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    forged.log(forged.LOGS[name])(place)
    assert main([*TRAIN, *STEPS]) == 0
    said = capfd.readouterr().err
    good, damaged = parse_lines((place / "metrics.jsonl").read_bytes())
    assert damaged == []
    assert (place / "metrics.damaged.jsonl").read_text() == forged.LOGS[name] + "\n"
    text = "metrics.jsonl: 1 damaged line moved to metrics.damaged.jsonl"
    assert text in said
    assert [line["text"] for line in good if line["kind"] == "note"] == [text]


def test_a_flipped_bit_in_a_line_is_kept_aside(place: Path) -> None:
    file = place / "metrics.jsonl"
    lines = file.read_bytes().splitlines()
    assert json.loads(lines[2])["kind"] == "train"
    lines[2] = lines[2].replace(b'"step": 1', b'"step" 1')
    file.write_bytes(b"\n".join(lines) + b"\n")
    assert main([*TRAIN, *STEPS]) == 0
    assert (place / "metrics.damaged.jsonl").read_bytes() == lines[2] + b"\n"
    lines[2] = b"x"
    file.write_bytes(b"\n".join(lines) + b"\n")
    assert main([*TRAIN, "--steps", "5"]) == 0
    assert (place / "metrics.damaged.jsonl").read_bytes().splitlines()[-1] == b"x"


def test_leftovers_of_the_killed_go_with_the_next_resume(place: Path) -> None:
    dead = 2**22 + 7  # above the largest number of a process
    (place / "evaluations").mkdir(exist_ok=True)
    left = [
        "report.html",
        "config.json",
        "metrics.jsonl",
        "neighbours.png",
        "evaluations/a.json",
        "samples/1.png",
    ]
    for name in left:
        (place / f"{name}.tmp-{dead}").touch()
    (place / "checkpoints" / f"x.tmp-{dead}").touch()
    (place / f"text_encoder.tmp-{dead}").mkdir()
    assert main([*TRAIN, *STEPS]) == 0
    assert list(place.rglob("*.tmp-*")) == []


def nan_in_generator(named: dict[str, torch.Tensor]) -> None:
    next(tensor for name, tensor in named.items() if name.startswith("generator.")).fill_(float("nan"))


def test_weights_of_nan_are_said(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for stem in ("system", "average"):
        forged.tensors(stem, nan_in_generator)(place)
    with pytest.warns(UserWarning, match="has NaN or infinity in generator"):
        assert main(LOOKS["sample"]) == 0
    with pytest.warns(UserWarning, match="has NaN or infinity in generator"):
        assert main(LOOKS["evaluate"]) == 2
    assert ganforge.load(place.parent / "other").step == 2


def test_what_is_read_is_regular_and_of_bounded_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    for path, most, why in (
        ("a", 4, "5 bytes, expected at most 4"),
        ("link", 9, "a link"),
        (".", 9, "a folder"),
    ):
        with pytest.raises(OSError, match=why):
            read_regular(tmp_path / path, most)
    with pytest.raises(ValueError, match="half of a character"):
        parse_json(b'"\\ud800"')
    assert parse_json(b'"\\udcff\\ud83d\\ude00"') == "\udcff\N{GRINNING FACE}"
