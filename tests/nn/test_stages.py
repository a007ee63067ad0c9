"""Sizes that convolutional networks have: squares as ever, and rectangles."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

import ganforge
from ganforge.cli.main import main
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.nn.stages import nearest_rectangle, nearest_square, rectangle_stages, stages_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images 100 pixels high and 75 wide, in two classes."""
    folder = tmp_path_factory.mktemp("portraits")
    random = np.random.default_rng(0)
    for index in range(12):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (100, 75, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.mark.parametrize("size", [2, 7, 8, 14, 16, 28, 32, 56, 64, 128, 256, 512])
def test_squares_are_those_of_before(size: int) -> None:
    stages = stages_of(size)
    if stages is not None:
        assert rectangle_stages(size, size) == ((stages[0], stages[0]), stages[1])


@pytest.mark.parametrize(
    ("sides", "stages"),
    [
        ((48, 64), ((3, 4), 4)),
        ((64, 48), ((4, 3), 4)),
        ((48, 48), ((3, 3), 4)),
        ((96, 72), ((12, 9), 3)),
        ((28, 56), ((7, 14), 2)),
        ((128, 32), ((16, 4), 3)),
        ((100, 75), None),
        ((50, 100), None),
        ((33, 64), None),
        ((4, 8), None),
    ],
)
def test_rectangles(sides: tuple[int, int], stages: tuple[tuple[int, int], int] | None) -> None:
    assert rectangle_stages(*sides) == stages


@pytest.mark.parametrize("sides", [(100, 75), (418, 300), (3, 5), (1080, 1920), (17, 400), (1, 1)])
def test_the_nearest_size_fits(sides: tuple[int, int]) -> None:
    nearest = nearest_rectangle(*sides)
    assert rectangle_stages(*nearest) is not None
    if sides == (100, 75):
        assert nearest == (96, 72)
    if min(sides) > 16:
        assert all(abs(near - own) <= 0.2 * own for near, own in zip(nearest, sides, strict=True))
    assert stages_of(nearest_square(min(sides))) is not None


def test_the_option_is_height_x_width(folder: Path) -> None:
    for size in ("48x64", " 48X64"):
        options = DataOptions(data=str(folder), size=size)
        assert options.sides == (48, 64)
        assert open_dataset(options).spec.shape == (3, 48, 64)
    assert DataOptions(data="mnist", size="32x32").size == 32
    assert DataOptions(data="mnist", size="32").size == 32
    assert open_dataset(DataOptions(data="mnist", size="24x40")).spec.shape == (1, 24, 40)
    for wrong in ("64x", "x64", "axb", "0x64", "64x64x3", 0, -3):
        with pytest.raises(ValidationError):
            DataOptions.model_validate({"data": "mnist", "size": wrong})


SMALL = {"steps": 1, "batch": 4, "quiet": True, "device": "cpu", "precision": "fp32"}


@pytest.mark.parametrize(
    ("system", "fields"),
    [
        ("dcgan", {"width": 4}),
        ("dcgan", {"width": 4, "kernel_size": 4}),
        ("lsgan", {"width": 4}),
        ("wgan", {"width": 4}),
        ("wgan_gp", {"width": 4}),
        ("wgan_gp", {"width": 4, "network": "resnet"}),
        ("sngan", {"width": 4}),
        ("acgan", {"width": 4, "discriminator_width": 4}),
        ("r3gan", {}),
        ("fastgan", {"width": 2}),
    ],
)
def test_gans_train_on_rectangles(
    system: str, fields: dict[str, object], folder: Path, tmp_path: Path
) -> None:
    trained = ganforge.train(system, str(folder), run=tmp_path / "r", size="32x24", **SMALL, **fields)
    assert trained.sample(2).shape == (2, 3, 32, 24)
    again = ganforge.train(
        system, str(folder), run=tmp_path / "r", size="32x24", **SMALL | {"steps": 2}, **fields
    )
    assert again.step == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dcgan",), "which 100x75 (height x width) does not allow: use --size 96x72, or --network mlp"),
        (("acgan",), "acgan halves images down to 3 to 9 pixels"),
        (("infogan",), "infogan needs square images"),
        (("dcgan", "--size", "64xa"), "expected a number of pixels, or height x width, such as --size 48x64"),
    ],
)
def test_sizes_that_do_not_fit_are_one_line(
    words: tuple[str, ...], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", words[0], "--data", str(folder), *words[1:], "--run", str(tmp_path / "r")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_check_does_not_promise_what_a_gan_rejects(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", "check", str(folder)])
    said = capsys.readouterr().out
    assert "does not fit convolutional GANs: --size 96x72 does" in said
    assert not said.endswith("ready to train\n")
    main(["data", "check", str(folder), "--size", "96x72"])
    assert capsys.readouterr().out.endswith("ready to train\n")
