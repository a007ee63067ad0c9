"""`ganforge export package`."""

from pathlib import Path

import pytest
from command import draw_images, files_of
from PIL import Image

import ganforge
from ganforge.cli.main import main
from ganforge.reporting.evaluations import read_evaluations, store_evaluation


def test_a_packaged_run_samples_and_has_no_discriminator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images")
    small = {"batch": 8, "latent_size": 4, "width": 4}
    trained = ganforge.train("dcgan", "images", run="runs/a", quiet=True, steps=2, **small)
    protocol = {"weights": trained.resolve_weights("ema"), "step": 2}
    store_evaluation(trained.run.path, [{"name": "fid", "value": 3.5, "protocol": protocol}])
    capfd.readouterr()
    assert main(["export", "package", "runs/a", "shipped"]) == 0
    assert capfd.readouterr().out.startswith("shipped: ")
    packaged = ganforge.load("shipped", device="cpu")
    difference = packaged.sample(4, seed=1) - trained.sample(4, seed=1).cpu()
    assert difference.abs().max() < 0.02  # float16
    assert not packaged.has_discriminator
    with Image.open("shipped/samples.webp") as image:
        assert image.size > (16, 16)
    assert read_evaluations(Path("shipped"))[0][0].values == read_evaluations(trained.run.path)[0][0].values
    before = files_of(tmp_path)
    assert main(["export", "package", "runs/a", "shipped"]) == 2
    assert "shipped exists" in capfd.readouterr().err
    assert files_of(tmp_path) == before
