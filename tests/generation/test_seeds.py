"""Several seeds in one command: each is what its own command draws."""

from pathlib import Path

import numpy as np
import pytest
from command import draw_images, files_of
from PIL import Image

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.files.provenance import read_provenance
from ganforge.generation.seeds import parse_seeds

TINY = {"batch": 6, "latent_size": 4, "device": "cpu", "precision": "fp32", "quiet": True}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    for name in "ab":
        draw_images(folder / "data" / name, count=8)
    ganforge.train(
        "dcgan", str(folder / "data"), run=folder / "dcgan", width=4, steps=4, checkpoint_every=2, **TINY
    )
    ganforge.train("acgan", str(folder / "data"), run=folder / "acgan", width=4, steps=1, **TINY)
    return folder


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image)


@pytest.mark.parametrize("system", ["dcgan", "acgan"])
def test_each_seed_is_that_of_its_own_command(runs: Path, tmp_path: Path, system: str) -> None:
    run, out = str(runs / system), tmp_path / "out"
    assert main(["sample", run, "--seeds", "3,7-8", "--out", str(out)]) == 0
    assert sorted(files_of(out)) == ["000003.png", "000007.png", "000008.png"]
    assert main(["sample", run, "--seeds", "7", "--count", "4", "--out", str(tmp_path / "grids")]) == 0
    for seed in (3, 7, 8):
        alone = tmp_path / f"alone{seed}"
        assert main(["sample", run, "--seed", str(seed), "--count", "1", "--out", str(alone)]) == 0
        assert np.array_equal(pixels(out / f"00000{seed}.png"), pixels(alone / "000000.png"))
    assert main(["sample", run, "--seeds", "3,7-8", "--out", str(tmp_path / "all.npz")]) == 0
    with np.load(tmp_path / "all.npz") as stored:
        assert stored["seeds"].tolist() == [3, 7, 8]
        assert np.array_equal(stored["images"][1], pixels(out / "000007.png"))
    assert main(["sample", run, "--seeds", "3,7-8", "--out", str(tmp_path / "grid.png")]) == 0


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "-1", "1.5", "1-99999999", str(2**64)])
def test_other_texts_are_rejected(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


def test_seeds_once_each() -> None:
    assert parse_seeds("5, 1-3,2") == [5, 1, 2, 3]


def test_any_kept_checkpoint_by_its_step(
    runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = runs / "dcgan"
    assert [ganforge.load(run, checkpoint=step).step for step in (2, 4, "2", "newest")] == [2, 4, 2, 4]
    assert main(["sample", str(run), "--checkpoint", "2", "--out", str(tmp_path / "s.png")]) == 0
    assert read_provenance(tmp_path / "s.png")["step"] == "2"
    for wrong in ("3", "latest", "-1"):
        assert main(["sample", str(run), f"--checkpoint={wrong}", "--out", str(tmp_path / "n.png")]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert f"no checkpoint {wrong}: expected newest, best or the step of a kept one (2, 4)" in line
    with pytest.raises(UserError, match="no best checkpoint"):
        ganforge.load(run, checkpoint="best")
