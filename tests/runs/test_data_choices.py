"""What a run once chose for its images is part of it: its fit, its range, the column of its classes."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from drawn import encode, noise
from PIL import Image

import ganforge
from ganforge.files.provenance import read_provenance
from ganforge.generation.apply import apply
from ganforge.generation.sample import write_samples

SMALL = {"steps": 1, "precision": "fp32", "device": "cpu", "quiet": True, "batch": 2}
GAN = {"width": 4, "size": 32, **SMALL}


def scan(number: int, side: int = 32) -> np.ndarray:
    array = np.random.default_rng(number).integers(0, 4081, (side, side)).astype(np.uint16)
    array[0, :2] = (0, 4080)
    return array


def sprite(number: int) -> bytes:
    array = np.full((40 + number, 60 - number, 4), 255, np.uint8)
    array[5:-5, 5:-5, 3] = 0  # a frame, which any crop cuts
    return encode(array)


def test_a_chosen_fit_is_stored_and_resumed_with(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(8):
        (data / f"{number}.png").write_bytes(sprite(number))
    run = ganforge.train("dcgan", str(data), run=tmp_path / "run", **GAN).run
    assert run.config.data.fit == "pad"
    assert run.config.data.label_column == "label"
    assert any("--fit pad is chosen" in line["text"] for line in run.metrics("note"))
    ganforge.train("dcgan", str(data), run=tmp_path / "run", **(GAN | {"steps": 2}))


def test_a_run_from_before_keeps_its_crop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(8):
        (data / f"{number}.png").write_bytes(sprite(number))
    rows = "".join(f"{number}.png,{number % 2}\n" for number in range(8))
    (data / "metadata.csv").write_text("file_name,Male\n" + rows)
    before = GAN | {"fit": "crop", "label_column": "label"}
    ganforge.train("dcgan", str(data), run=tmp_path / "run", **before)
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    del config["data"]["range"], config["spec"]["bits"]  # as 0.1 wrote it
    file.write_text(json.dumps(config))
    trained = ganforge.train("dcgan", str(data), run=tmp_path / "run", **(GAN | {"steps": 2}))
    assert trained.run.config.data.fit == "crop"
    assert trained.run.config.data.label_column == "label"
    assert trained.run.config.spec.class_names == ()


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans") / "data"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.png").write_bytes(encode(scan(number)))
    return folder


def test_samples_go_back_to_the_range_of_the_scans(scans: Path, tmp_path: Path) -> None:
    trained = ganforge.train("dcgan", str(scans), run=tmp_path / "run", range="data", **GAN)
    assert trained.run.config.data.range == "0..4080"
    ganforge.train("dcgan", str(scans), run=tmp_path / "run", range="data", **(GAN | {"steps": 2}))
    write_samples(trained, tmp_path / "out", 2, seed=7)
    file = tmp_path / "out" / "000000.png"
    expected = (trained.sample(2, seed=7)[0, 0].clamp(-1, 1).numpy() + 1) / 2 * 4080
    stored = np.asarray(Image.open(file))
    assert stored.dtype == np.uint16
    assert np.abs(stored - expected).max() <= 0.6
    assert read_provenance(file)["range"] == "0..4080"
    write_samples(trained, tmp_path / "out.npz", 2, seed=7)
    assert np.array_equal(np.load(tmp_path / "out.npz")["images"][0, :, :, 0], stored)
    write_samples(trained, tmp_path / "grid.png", 2, seed=7)
    assert read_provenance(tmp_path / "grid.png")["range"] == "0..4080", "8 bits, 0 to 255 for this range"


def test_apply_undoes_the_range(scans: Path, tmp_path: Path) -> None:
    fields = {"width": 4, "num_blocks": 1, "crop_size": 8, "size": 32, **SMALL}
    options = {"pairs": "downscale:2", "range": "0..4080", **fields}
    trained = ganforge.train("srresnet", str(scans), run=tmp_path / "run", **options)
    (tmp_path / "wide.tif").write_bytes(_tiff(scan(3)))
    apply(trained, tmp_path / "wide.tif", tmp_path / "out.png")
    stored = np.asarray(Image.open(tmp_path / "out.png"))
    assert stored.dtype == np.uint16
    assert stored.max() <= 4080
    assert read_provenance(tmp_path / "out.png")["range"] == "0..4080"
    (tmp_path / "small.png").write_bytes(encode(noise(1, channels=1)))
    apply(trained, tmp_path / "small.png", tmp_path / "plain.png")
    assert np.asarray(Image.open(tmp_path / "plain.png")).dtype == np.uint8, "not of the depth of the range"
    assert "range" not in read_provenance(tmp_path / "plain.png")


def _tiff(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF")
    return buffer.getvalue()
