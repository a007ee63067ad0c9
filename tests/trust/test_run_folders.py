"""A run folder is data: whatever its files say, loading it imports, runs, connects to and writes nothing."""

import importlib.abc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from captioned import draw_captioned

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.files.atomic import replace_file
from ganforge.runs.trained import load
from ganforge.systems.discovery import find
from ganforge.text.encoders import open_encoder

TINY = {"steps": 1, "batch": 4, "device": "cpu", "precision": "fp32", "quiet": True}
FOREIGN = ("helper", "antigravity", "this", "pip", "evil", "toy_systems")
FORBIDDEN = (
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "webbrowser.open",
)
HELPER = "raise SystemExit('code of the run folder runs')\n"

WATCH: list[list[str]] = []
"""Where the audit hook, which cannot be removed, notes what a hostile run folder made happen."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not WATCH:
        return
    text = " ".join(map(str, arguments))
    if event in ("compile", "exec"):
        suspicious = "helper" in text
    elif event == "open":
        path, flags = str(arguments[0]), arguments[2]
        writes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        suspicious = path.endswith("helper.py") or (
            writes and path.startswith("/") and "hostile" not in path and "cache-" not in path
        )
    else:
        suspicious = event in FORBIDDEN
    if suspicious:
        WATCH[-1].append(f"{event} {text}")


class _Finder(importlib.abc.MetaPathFinder):
    """Notes what is looked for: `importlib.import_module` raises no audit event."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if WATCH and name.partition(".")[0] in FOREIGN:
            WATCH[-1].append(f"import {name}")


sys.addaudithook(_hook)
sys.meta_path.insert(0, _Finder())


@contextmanager
def watched() -> Iterator[list[str]]:
    WATCH.append([])
    try:
        yield WATCH[-1]
    finally:
        WATCH.pop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Honest runs to be made hostile: `gan` of points, `encoder_run` and `gan_cls` of captions."""
    folder = tmp_path_factory.mktemp("honest")
    ganforge.train("gan", "ring", run=folder / "gan", **TINY)
    draw_captioned(folder / "data")
    data = str(folder / "data")
    ganforge.train(
        "text_encoder", data, run=folder / "encoder_run", size=16, width=4, embedding_size=8, **TINY
    )
    small = {"size": 16, "width": 4, "discriminator_width": 4, "latent_size": 4, "text_size": 4}
    ganforge.train(
        "gan_cls", data, run=folder / "gan_cls", text_encoder=str(folder / "encoder_run"), **small, **TINY
    )
    return folder


def _system(name: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        config = json.loads((run / "config.json").read_bytes())
        replace_file(run / "config.json", json.dumps(config | {"system": name}).encode())

    return change


def _data(name: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        config = json.loads((run / "config.json").read_bytes())
        config["data"] |= {"data": name}
        config["places"] = {}  # where the data are now, whatever their name
        replace_file(run / "config.json", json.dumps(config).encode())

    return change


NAMES = {
    "a module of the current folder": "helper:X",
    "inside a package": "helper.inner:X",
    "antigravity": "antigravity:fly",
    "this": "this:s",
    "pip": "pip.__main__:x",
    "os": "os:system",
    "toy": "toy_systems:Toy",
    "relative": "..helper:X",
    "no module": ":X",
    "no class": "helper:",
    "abstract": "ganforge.system:System",
    "its own": "ganforge.systems.gan:GAN",
    "two colons": "helper:X:Y",
    "a path": "./helper.py:X",
    "a dotted path": "helper",
    "dots": "..helper",
    "a package": "families",
    "the finder": "discovery",
    "spaces": " helper:X",
    "a line break": "helper\n:X",
    "a null": "helper\0:X",
    "long": "helper" * 10_000 + ":X",
    "letters": "ħelper:X",
}


@pytest.fixture
def hostile(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with modules that a run folder would like to be imported."""
    folder = tmp_path / "hostile"
    (folder / "helper").mkdir(parents=True)
    shutil.copytree(place / "gan", folder / "run")
    for file in ("helper.py", "run/helper.py", "helper/__init__.py", "helper/inner.py", "evil.py"):
        (folder / file).write_text(HELPER)
    monkeypatch.chdir(folder)
    return folder


def _raises(call: Callable[[], object]) -> None:
    with pytest.raises(UserError) as refused:
        call()
    assert "\n" not in str(refused.value)


VERBS: dict[str, list[str]] = {
    "sample": ["sample", "run", "--out", "x.png"],
    "evaluate": ["evaluate", "run", "--num-samples", "2"],
    "features": ["features", "run", "--out", "x.npz"],
    "classify": ["classify", "run"],
    "outliers": ["outliers", "run", "--data", "ring"],
    "--text-encoder": ["train", "gan_cls", "--data", "emoji", "--text-encoder", "run", "--run", "new"],
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_verb_imports_what_a_run_names(
    hostile: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    _system(name)(hostile / "run")
    path = list(sys.path)
    with watched() as events:
        for words in VERBS.values():
            assert main(words) == 2
            said = capsys.readouterr().err.splitlines()
            assert [line for line in said if line.startswith("error: ")] == said[-1:]
            assert len(said[-1]) < 1000
        for words in (["list", "runs", "--folder", "."], ["compare", "run", "run"]):
            assert main(words) in (0, 2)
        assert main(["train", "gan", "--data", "ring", "--steps", "1", "--run", "n", "--from", "run"]) in (
            0,
            2,
        )
        _raises(lambda: ganforge.load("run"))
        _raises(lambda: open_encoder("run"))
    assert events == []
    assert sys.path == path
    assert not (hostile / "x.png").exists()


def test_the_refusal_says_what_to_type(hostile: Path) -> None:
    _system("helper:X")(hostile / "run")
    with pytest.raises(
        UserError, match=r"helper:X.* --trust-code or --system helper:X, .*load\(path, system='helper:X'\)"
    ):
        load("run")
    with pytest.raises(UserError, match=r"--system toy_systems:Toy: the run is one of helper:X"):
        load("run", system="toy_systems:Toy")
    with watched() as events, pytest.raises(SystemExit):  # typed: and the watch sees it
        load("run", system="helper:X")
    assert "import helper" in events
    assert any(event.startswith("exec ") for event in events)


def test_a_name_that_is_typed_loads(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = ganforge.train("toy_systems:Toy", str(place / "data"), run=run, size=8, **TINY)
    assert load(run, system="toy_systems:Toy").step == trained.step
    assert ganforge.train("toy_systems:Toy", str(place / "data"), run=run, size=8, **TINY | {"steps": 2}).step
    _raises(lambda: load(run))


@pytest.mark.parametrize("name", ["..x:y", ":x", "x:", "ganforge.system:System", "os:system", "no_such:X"])
def test_a_typed_name_that_is_no_system_is_one_line(name: str) -> None:
    _raises(lambda: find(name))


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "hf:owner/name"])
def test_sample_downloads_no_data(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    shutil.copytree(place / "gan_cls", tmp_path / "hostile")
    monkeypatch.chdir(tmp_path)
    _data(name)(tmp_path / "hostile")
    with watched() as events:
        assert main(["sample", "hostile", "--out", "x.png"]) == 2
        assert main(["sample", "hostile", "--text", "a red dot", "--out", "hostile.png"]) == 0
    said = capsys.readouterr().err
    assert "would be downloaded" in said
    assert "--text" in said
    assert events == []


@pytest.mark.parametrize("kind", ["evil.Module", "helper.X", None])
def test_an_encoder_of_sentences_brings_no_code(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,
) -> None:
    shutil.copytree(place / "gan_cls", tmp_path / "hostile")
    encoder = tmp_path / "hostile" / "text_encoder"
    shutil.rmtree(encoder)
    (encoder / "model").mkdir(parents=True)
    (encoder / "model" / "helper.py").write_text(HELPER)
    if kind is not None:
        (encoder / "model" / "modules.json").write_text(json.dumps([{"type": kind, "path": ""}]))
    (encoder / "sentence.json").write_text(json.dumps({"model": str(encoder / "model")}))
    monkeypatch.chdir(tmp_path)
    with watched() as events:
        assert main(["sample", "hostile", "--text", "a red dot", "--out", "hostile.png"]) == 2
    assert "code of its own" in capsys.readouterr().err
    assert events == []


def test_a_recorded_model_is_never_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, bool]] = []

    class Stand:
        def __init__(self, model: str, local_files_only: bool) -> None:
            asked.append((model, local_files_only))
            self.encode = lambda texts: [[1.0, 2.0] for _ in texts]

    monkeypatch.setitem(sys.modules, "sentence_transformers", type(sys)("sentence_transformers"))
    monkeypatch.setattr(sys.modules["sentence_transformers"], "SentenceTransformer", Stand, raising=False)
    (tmp_path / "sentence.json").write_text('{"model": "attacker/model"}')
    open_encoder(str(tmp_path)).encode(["a"])
    open_encoder("sentence:owner/model").encode(["a"])
    assert asked == [("attacker/model", True), ("owner/model", False)]
