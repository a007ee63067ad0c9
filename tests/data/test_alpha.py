"""Transparent images that keep their alpha: premultiplied inside, as files have them outside."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import ganforge
from ganforge.cli.main import main
from ganforge.data.alpha import on_background, on_checkerboard, straight
from ganforge.data.batch import as_images, to_uint8
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack import pack
from ganforge.errors import UserError
from ganforge.reporting import grids

SMALL = {"steps": 2, "batch": 8, "quiet": True, "device": "cpu", "precision": "fp32"}


def sprite(index: int, hidden: int = 255, height: int = 16, width: int = 16) -> NDArray[np.uint8]:
    """A disc of its own colour on nothing, uint8 `[height, width, 4]`; hidden pixels have that level."""
    pixels = np.full((height, width, 4), hidden, np.uint8)
    rows, columns = np.mgrid[:height, :width]
    pixels[..., 3] = (np.hypot(rows - height / 2 + 0.5, columns - width / 2 + 0.5) < height / 3) * 255
    pixels[pixels[..., 3] > 0, :3] = (20 + 10 * index, 200 - 9 * index, 90)
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sprites, some of them palette images, as sprites often are."""
    folder = tmp_path_factory.mktemp("sprites")
    for index in range(16):
        image = Image.fromarray(sprite(index))
        if index % 2:
            indices = (np.asarray(image)[..., 3] > 0).astype(np.uint8)
            image = Image.fromarray(indices)
            image.putpalette([255, 255, 255, *sprite(index)[8, 8, :3].tolist()])
            image.save(folder / f"{index:02}.png", transparency=0)
        else:
            image.save(folder / f"{index:02}.png")
    return folder


def test_alpha_is_a_fourth_channel_and_colours_are_premultiplied(folder: Path) -> None:
    dataset = open_dataset(DataOptions(data=str(folder), alpha="keep"))
    assert dataset.spec.shape == (4, 16, 16)
    assert dataset.spec.kind == "alpha"
    pixels = dataset.splits["train"].read(torch.arange(16)).permute(0, 2, 3, 1).numpy()
    for index, found in enumerate(pixels):
        clear = sprite(index)[..., 3] == 0
        assert (found[clear] == 0).all()
        assert np.array_equal(found[~clear], sprite(index)[~clear])


def test_the_default_is_the_background(folder: Path) -> None:
    dataset = open_dataset(DataOptions(data=str(folder)))
    assert dataset.spec.shape == (3, 16, 16)
    assert (dataset.splits["train"].read(torch.arange(1))[0, :, 0, 0] == 255).all()


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("size", [8, 24])
def test_resampled_edges_have_the_colours_of_the_inside(fit: str, size: int, tmp_path: Path) -> None:
    """Whatever colour is hidden where nothing can be seen."""
    for hidden in (0, 255):
        Image.fromarray(sprite(3, hidden, 20, 13)).save(tmp_path / "a.png")
        options = DataOptions(data=str(tmp_path), size=size, fit=fit, alpha="keep")
        images = as_images(open_dataset(options).splits["train"].read(torch.arange(1)))
        pixels = to_uint8(straight(images))[0].permute(1, 2, 0).numpy().astype(int)
        assert 0 < (pixels[..., 3] > 0).mean() < 1
        strong = pixels[pixels[..., 3] > 60]
        assert np.abs(strong[:, :3] - sprite(3)[10, 6, :3]).max() <= 3


def test_straight_and_composites() -> None:
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(5, 4, 6, 6, generator=generator)
    alpha = shares[:, 3:]
    images = torch.cat([shares[:, :3] * alpha, alpha], 1) * 2 - 1
    assert torch.allclose((straight(images) + 1) / 2, shares, atol=1e-5)
    for background, level in (("white", 1.0), ("black", 0.0)):
        expected = shares[:, :3] * alpha + level * (1 - alpha)
        assert torch.allclose((on_background(images, background) + 1) / 2, expected, atol=1e-5)
    clear = torch.full((1, 4, 16, 16), -1.0)
    assert len(on_checkerboard(clear).unique()) == 2
    wild = 3 * torch.randn(2, 4, 4, 4, generator=generator)  # of an untrained network
    for made in (straight(wild), on_background(wild, "white"), on_checkerboard(wild)):
        assert made.abs().max() <= 1 + 1e-5


def test_grids_show_a_checkerboard_or_are_transparent() -> None:
    clear = torch.full((4, 4, 16, 16), -1.0)
    assert grids.grid(clear).mode == "RGB"
    grid = grids.grid(clear, transparent=True)
    assert grid.mode == "RGBA"
    assert np.asarray(grid)[..., 3].max() == 0
    assert grids.grid(torch.zeros(4, 3, 16, 16), transparent=True).mode == "RGB"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dcgan", "--channels", "grey"), "--alpha keep does not go with --channels grey"),
        (("dcgan", "--binarise", "static"), "--alpha keep does not go with --binarise static"),
        (("pix2pix", "--pairs", "edges"), "--alpha keep does not go with pairs"),
        (("pixelcnn",), "pixelcnn does not accept transparent images: leave --alpha keep out, or use acgan"),
        (("vae",), "vae does not accept transparent images"),
    ],
)
def test_what_does_not_go_with_alpha_is_one_line(
    words: tuple[str, ...], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system, *options = words
    command = ["train", system, "--data", str(folder), "--alpha", "keep", *options]
    assert main([*command, "--run", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_data_without_alpha_have_none_to_keep(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"no image of .* is transparent: leave it out"):
        open_dataset(DataOptions(data=str(tmp_path), alpha="keep"))
    for name in ("mnist", "ring", "stacked-mnist"):
        with pytest.raises(UserError, match="--alpha keep is for image files"):
            open_dataset(DataOptions(data=name, alpha="keep"))


@pytest.mark.parametrize("system", ["gan", "dcgan", "lsgan", "wgan", "wgan_gp", "sngan", "r3gan", "fastgan"])
def test_gans_train_on_it(system: str, folder: Path, tmp_path: Path) -> None:
    fields = {} if system in ("gan", "r3gan") else {"width": 4}
    trained = ganforge.train(
        system, str(folder), run=tmp_path / "r", alpha="keep", augment="color,translation", **SMALL, **fields
    )
    assert trained.sample(3).shape == (3, 4, 16, 16)


def test_samples_and_scores(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "r")
    ganforge.train("dcgan", str(folder), run=run, alpha="keep", width=4, sample_every=1, **SMALL)
    with Image.open(tmp_path / "r/samples/000002.png") as preview:
        assert preview.mode == "RGB"
    for out in ("grid.png", "each", "grid.webp", "grid.jpg", "all.npz"):
        assert main(["sample", run, "--count", "4", "--out", str(tmp_path / out)]) == 0
    with Image.open(tmp_path / "grid.png") as grid, Image.open(tmp_path / "each/000003.png") as one:
        assert grid.mode == one.mode == "RGBA"
        assert one.size == (16, 16)
        single = np.asarray(one)
    with np.load(tmp_path / "all.npz") as arrays:
        assert np.array_equal(arrays["images"][3], single)
    with Image.open(tmp_path / "grid.jpg") as grid:
        assert grid.mode == "RGB"
    scores = ganforge.evaluate(run, num_samples=16, features="random")
    kid = next(score for score in scores if score.name == "kid")
    assert "transparent images on white" in kid.protocol["features"]
    capsys.readouterr()
    for images in (tmp_path / "each", folder):
        assert main(["evaluate", run, "--samples", str(images)]) == 0
    assert "transparent images on white" in " ".join(capsys.readouterr().out.split())
    trained = ganforge.train("dcgan", str(folder), run=run, alpha="keep", width=4, **SMALL | {"steps": 3})
    assert trained.step == 3


def test_packed_images_keep_alpha(folder: Path, tmp_path: Path) -> None:
    pack(DataOptions(data=str(folder), size=12, alpha="keep"), tmp_path / "a.zip")
    before, after = (
        open_dataset(DataOptions(data=str(data), size=12, alpha="keep"))
        .splits["train"]
        .read(torch.arange(16))
        for data in (folder, tmp_path / "a.zip")
    )
    assert (before.int() - after.int()).abs().max() <= 1
