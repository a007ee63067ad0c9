"""`ganforge export onnx`: the model equals the run, and its script needs neither ganforge nor torch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import files_of
from PIL import Image
from untrained import untrained

from ganforge.cli.main import main
from ganforge.export import onnx as export
from ganforge.export.onnx import write_onnx
from ganforge.export.onnx_sample import Model
from ganforge.export.program import LIMIT, network_of

BLOCKED = (
    "import sys; sys.modules.update(dict.fromkeys(('ganforge', 'torch', 'PIL'))); sys.argv[0] = {script!r}; "
)
RUN = BLOCKED + "import runpy; runpy.run_path({script!r}, run_name='__main__')"


def script(folder: Path, *words: object, code: int = 0) -> str:
    """`python sample.py WORDS` where neither ganforge nor torch nor Pillow can be imported; what it says."""
    program = RUN.format(script=str(folder / "sample.py"))
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, cwd=folder.parent
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def test_the_model_equals_the_run_and_its_script_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    untrained(tmp_path / "run", "dcgan")
    assert main(["export", "run", "onnx", "out"]) == 0  # the run may come first
    captured = capfd.readouterr()
    assert captured.err == ""
    assert "differs from the run by at most" in captured.out
    assert sorted(files_of(tmp_path / "out")) == ["README.md", "model.onnx", "sample.py"]
    for name in ("a", "b"):
        script(tmp_path / "out", "--count", 5, "--seed", 3, "--out", tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = Image.open(tmp_path / "a.png")
    image.load()
    assert image.size == (48, 32)
    assert np.asarray(image)[:16, :16].std() > 1
    assert script(tmp_path / "out", "--count", 0, code=1) == "--count 0: expected 1 or more\n"
    (line,) = script(tmp_path / "out", "--out", tmp_path / "no" / "a.png", code=1).splitlines()
    assert "No such file" in line

    before = files_of(tmp_path)
    for words, said in (
        (["onnx", "run", "out"], "out exists"),
        (["onnx", "run", "new", "--opset", "12"], "--opset 12: expected 18 to"),
        (["onnx", "run", "new", "--opset", "999"], "--opset 999: expected 18 to"),
    ):
        assert main(["export", *words]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert said in line
    monkeypatch.setattr(export, "LIMIT", -1.0)  # no difference is small enough: nothing is left behind
    assert main(["export", "onnx", "run", "new"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "nothing was written" in line
    assert files_of(tmp_path) == before


TAKES = {
    "labels": {"inputs": ["latents", "labels"], "classes": ["a", "b"]},
    "embeddings": {"inputs": ["latents", "embeddings"], "classes": [], "embedding_size": 3},
    "sources": {"inputs": ["sources"], "classes": [], "source_shape": [1, 4, 5], "resizes": False},
    "any": {"inputs": ["sources"], "classes": [], "source_shape": [1, 4, 5], "resizes": True},
}


@pytest.mark.parametrize(
    ("takes", "given", "said"),
    [
        ("labels", {"labels": np.array([0, 2])}, "--labels: expected numbers from 0 to 1"),
        ("labels", {"labels": np.array([-1])}, "--labels: expected numbers from 0 to 1"),
        ("labels", {"count": -3}, "--count -3: expected 1 or more"),
        ("labels", {"seed": -1}, "--seed -1: expected 0 or more"),
        ("labels", {"embeddings": np.ones((1, 3))}, "--embeddings: this model takes latents, labels only"),
        ("embeddings", {"labels": np.array([0])}, "--labels: this model takes latents, embeddings only"),
        ("embeddings", {"embeddings": np.ones(3)}, "--embeddings: expected the shape [count, 3], got (3,)"),
        ("embeddings", {"embeddings": np.ones((0, 3))}, "expected the shape [count, 3], got (0, 3)"),
        ("sources", {}, "add --sources IMAGE or ARRAY.npy"),
        ("sources", {"sources": np.ones((1, 1, 4, 4))}, "expected the shape [count, 1, 4, 5], got (1, 1, 4"),
        ("any", {"sources": np.ones((1, 4, 4))}, "expected the shape [count, 1, height, width], got (1, 4"),
    ],
)
def test_the_script_refuses_what_the_model_does_not_know(takes: str, given: dict, said: str) -> None:
    model = Model.__new__(Model)
    model.about = TAKES[takes]
    with pytest.raises(SystemExit, match=re.escape(said)):
        model.sample(**({"count": 1} | given))


def test_missing_packages_are_named(tmp_path: Path, monkeypatch, capfd) -> None:
    untrained(tmp_path / "run", "dcgan")
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert main(["export", "onnx", str(tmp_path / "run"), str(tmp_path / "out")]) == 2
    assert "ganforge[onnx]" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan_cls", "srresnet"])
def test_one_of_each_kind_of_inputs(tmp_path: Path, name: str) -> None:
    trained = untrained(tmp_path / "run", name)
    found = write_onnx(trained, tmp_path / "out")
    assert max(found.values()) <= LIMIT
    network = network_of(trained)
    assert network.eager(network.example(7)).std() > 0.05  # not the equality of nothing
    words = ["--count", 3, "--out", tmp_path / "made.npy"]
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    if network.kind == "sources":
        assert "`python sample.py --sources IMAGE --out made.png`" in readme
        sources = network.example(3)[0].numpy()
        np.save(tmp_path / "sources.npy", sources)
        script(tmp_path / "out", *words, "--sources", tmp_path / "sources.npy")
        expected = network.eager((torch.from_numpy(sources),)).numpy()
        assert np.abs(np.load(tmp_path / "made.npy") - expected).max() <= LIMIT
    else:
        assert "Without `--embeddings FILE.npy`, as above, they are of no caption." in readme
        script(tmp_path / "out", *words)
    made = np.load(tmp_path / "made.npy")
    assert made.shape == (3, 3, 16, 16)
    assert np.abs(made).max() <= 1


@pytest.mark.slow
def test_pixels_are_drawn_from_the_exported_logits(tmp_path: Path) -> None:
    """Gumbel draws of the script have the mean that the network's own sampling has."""
    trained = untrained(tmp_path / "run", "pixelcnn", layers=1)
    write_onnx(trained, tmp_path / "out")
    script(tmp_path / "out", "--count", 32, "--out", tmp_path / "made.npy")
    made = np.load(tmp_path / "made.npy")
    shades = 2 * np.arange(4) / 3 - 1
    assert np.abs(made[..., None] - shades).min(-1).max() < 1e-6
    drawn = trained.sample(32, seed=1).numpy()
    counts = [np.array([(np.abs(each - shade) < 1e-3).mean() for shade in shades]) for each in (made, drawn)]
    assert np.abs(counts[0] - counts[1]).max() < 0.04


@pytest.mark.slow
def test_float16_is_near(tmp_path: Path) -> None:
    trained = untrained(tmp_path / "run", "dcgan")
    found = write_onnx(trained, tmp_path / "half", opset=21, fp16=True)
    assert 1e-6 < max(found.values()) < 0.01
    weights = sum(tensor.nbytes for tensor in trained.system.generator.state_dict().values())
    assert (tmp_path / "half" / "model.onnx").stat().st_size < 0.8 * weights
    import onnx

    model = onnx.load(tmp_path / "half" / "model.onnx")
    assert model.opset_import[0].version == 21
    assert json.loads(model.metadata_props[0].value)["system"] == "dcgan"
