"""`ganforge apply` and `ganforge analyze psnr` on real files: sizes, depths, transparency, bad images."""

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from command import draw_images, files_of
from numpy.typing import NDArray
from PIL import Image, ImageCms

import ganforge
from ganforge.cli.main import main
from ganforge.data.decode import decode_exactly
from ganforge.data.derived_pairs import downscale
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation import psnr as fidelity_of_folders
from ganforge.evaluation.scores.super_resolution import enlarge_bicubic, fidelity
from ganforge.files.png import write_png
from ganforge.reporting.grids import read_about
from ganforge.runs.trained import Trained

SMALL = {"steps": 1, "precision": "fp32", "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apply")
    draw_images(folder / "data", count=24, side=16)
    return folder


@pytest.fixture(scope="module")
def enlarging(folder: Path) -> Trained:
    fields = {"width": 4, "num_blocks": 1, "crop_size": 8, "batch": 2, **SMALL}
    return ganforge.train("srresnet", str(folder / "data"), run=folder / "sr", pairs="downscale:2", **fields)


@pytest.fixture(scope="module")
def translating(folder: Path) -> Trained:
    fields = {"width": 4, "discriminator_width": 4, "patch": "16", "batch": 2, **SMALL}
    return ganforge.train("pix2pix", str(folder / "data"), run=folder / "p2p", pairs="blur", **fields)


def values(seed: int, *shape: int, dtype: type = np.uint8) -> NDArray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def save(path: Path, pixels: NDArray) -> Path:
    """`pixels` `[height, width, channels]` as a PNG of their own depth."""
    write_png(path, pixels.shape[1], pixels.shape[0], [pixels], {})
    return path


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_of_every_kind_is_read_back(channels: int, dtype: type, tmp_path: Path) -> None:
    pixels = values(0, 37, 29, channels, dtype=dtype)
    parts = [pixels[:10], pixels[10:11], pixels[11:]]
    write_png(tmp_path / "a.png", 29, 37, parts, {"run": "r", "text": "naïve \u2713"})
    found = decode_exactly((tmp_path / "a.png").read_bytes())
    colours = 1 if channels < 3 else 3
    assert found.colours.dtype == dtype
    assert np.array_equal(found.colours, pixels[:, :, :colours].transpose(2, 0, 1))
    assert (found.alpha is None) == (channels in (1, 3))
    if found.alpha is not None:
        assert np.array_equal(found.alpha, pixels[:, :, -1])
    assert read_about(tmp_path / "a.png") == {"run": "r", "text": "naïve \u2713"}


def test_a_png_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def bands():
        yield values(0, 4, 4, 3)
        raise OSError("no more")

    (tmp_path / "a.png").write_bytes(b"earlier")
    with pytest.raises(OSError, match="no more"):
        write_png(tmp_path / "a.png", 4, 8, bands(), {})
    assert files_of(tmp_path) == {"a.png": b"earlier"}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_size_and_transparency_are_kept(
    enlarging: Trained, channels: int, dtype: type, tmp_path: Path
) -> None:
    pixels = values(1, 19, 45, channels, dtype=dtype)
    done = ganforge.apply(enlarging, save(tmp_path / "in.png", pixels), tmp_path / "out.png", tile=16)
    assert done.written == (tmp_path / "out.png",)
    found = decode_exactly(done.written[0].read_bytes())
    assert found.colours.shape == (1 if channels < 3 else 3, 38, 90)
    assert found.colours.dtype == dtype
    assert (found.alpha is None) == (channels in (1, 3))
    if dtype == np.uint16:
        assert len(np.unique(found.colours & 255)) > 100


def test_opaque_stays_opaque_and_clear_stays_clear(enlarging: Trained, tmp_path: Path) -> None:
    pixels = values(2, 20, 20, 4)
    pixels[:, :10, 3], pixels[:, 10:, 3] = 255, 0
    ganforge.apply(enlarging, save(tmp_path / "in.png", pixels), tmp_path / "out.png")
    alpha = decode_exactly((tmp_path / "out.png").read_bytes()).alpha
    assert alpha is not None
    assert (alpha[:, :16] == 255).all()
    assert (alpha[:, 24:] == 0).all()
    other = pixels.copy()
    other[:, 10:, :3] = 7  # colours that nobody sees change nothing
    ganforge.apply(enlarging, save(tmp_path / "other.png", other), tmp_path / "other_out.png")
    first, second = (
        decode_exactly((tmp_path / name).read_bytes()).colours for name in ("out.png", "other_out.png")
    )
    assert np.array_equal(first, second)


def test_a_result_is_the_systems_own(enlarging: Trained, tmp_path: Path) -> None:
    pixels = values(3, 8, 8, 3)
    ganforge.apply(enlarging, save(tmp_path / "in.png", pixels), tmp_path / "out.png")
    source = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    (made,) = enlarging.call("translate", [source])
    found = decode_exactly((tmp_path / "out.png").read_bytes()).colours
    assert np.abs(found - (made[0].numpy() + 1) * 127.5).max() <= 0.5 + 1e-3


def test_translations_of_odd_sizes(translating: Trained, tmp_path: Path) -> None:
    """Padded by reflection to a multiple of 16, and cut; the noise is that of the seed."""
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        image = save(tmp_path / "in.png", values(4, 21, 70, 3))
        ganforge.apply(translating, image, tmp_path / f"{name}.png", seed=seed, tile=32)
    first, again, other = (decode_exactly((tmp_path / f"{n}.png").read_bytes()).colours for n in "abc")
    assert first.shape == (3, 21, 70)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_orientation_is_honoured(enlarging: Trained, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(values(5, 12, 30, 3)).save(tmp_path / "in.jpg", exif=exif, quality=95)
    ganforge.apply(enlarging, tmp_path / "in.jpg", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as made, Image.open(tmp_path / "in.jpg") as image:
        assert made.size == (24, 60)
        assert image.size == (30, 12)


def test_a_folder_with_a_bad_image(
    enlarging: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "in", count=3, side=8)
    (tmp_path / "in" / "001.png").write_bytes((tmp_path / "in" / "001.png").read_bytes()[:70])
    (tmp_path / "in" / "sub").mkdir()
    for ending in ("png", "bmp"):
        Image.fromarray(values(6, 9, 11, 3)).save(tmp_path / "in" / "sub" / f"x.{ending}")
    words = ["apply", str(enlarging.run.path), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == f"4 images in {tmp_path / 'out'}\n"
    assert said.err.startswith("skipped: 001.png (")
    assert said.err.count("\n") == 1
    made = files_of(tmp_path / "out")
    assert sorted(made) == ["000.png", "002.png", "sub/x.bmp.png", "sub/x.png.png"]
    about = read_about(tmp_path / "out" / "000.png")
    assert about["source"] == "000.png"
    assert about["command"].startswith("ganforge apply ")
    assert main(words) == 1  # its own results are replaced, by the same bytes
    assert files_of(tmp_path / "out") == made
    capsys.readouterr()


def test_mistakes_are_one_line(
    enlarging: Trained, translating: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "in", count=2, side=16)
    grey = save(tmp_path / "grey.png", values(7, 16, 16, 1))
    save(tmp_path / "foreign" / "000.png", values(7, 16, 16, 1))
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    run, other = str(enlarging.run.path), str(translating.run.path)
    mistakes = {
        "no/such does not exist": [run, "no/such", "--out", tmp_path / "o"],
        "choose a folder": [run, tmp_path / "in", "--out", tmp_path / "o.png"],
        "ending in .png": [run, tmp_path / "in", "--out", tmp_path / "o.jpg"],
        "is not a result of": [run, tmp_path / "in", "--out", tmp_path / "foreign"],
        "lies where the images are": [run, tmp_path / "in", "--out", tmp_path / "in"],
        "in/made/000.png lies where the images are": [run, tmp_path / "in", "--out", tmp_path / "in/made"],
        "grey.png lies where the images are": [run, grey, "--out", grey],
        "grey, but this run translates colour": [other, grey, "--out", tmp_path / "o.png"],
        "bad.png (not a PNG": [run, tmp_path / "bad.png", "--out", tmp_path / "o.png"],
        "holds no image: expected": [run, tmp_path / "empty", "--out", tmp_path / "o"],
        "--tile 4: expected 16 or more": [run, grey, "--out", tmp_path / "o.png", "--tile", "4"],
    }
    before = files_of(tmp_path)
    for message, words in mistakes.items():
        assert main(["apply", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert files_of(tmp_path) == before


def test_only_systems_of_images_apply(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ganforge.train("gan", "ring", run=tmp_path / "gan", batch=4, **SMALL)
    words = ["apply", str(tmp_path / "gan"), str(folder / "data"), "--out", str(tmp_path / "o")]
    assert main(words) == 2
    assert "gan translates no images: use a run of pix2pix" in capsys.readouterr().err


def test_psnr_of_a_folder(enlarging: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run and of bicubic; alike for images of other sizes, grey ones, and ones to be cut."""
    for number, shape in enumerate([(33, 40, 3), (30, 31, 1)]):
        save(tmp_path / "set" / f"{number}.png", values(number, *shape))
    assert main(["analyze", "psnr", str(tmp_path / "set"), str(enlarging.run.path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["width"], row["height"]) for row in rows] == [(40, 32), (30, 30), (0, 0)]
    assert rows[0]["found"].keys() == {"bicubic", "sr"}
    for way in ("bicubic", "sr"):
        means = [(a + b) / 2 for a, b in zip(rows[0]["found"][way], rows[1]["found"][way], strict=True)]
        assert rows[2]["found"][way] == pytest.approx(means)
    (tmp_path / "set" / "small.png").write_bytes((tmp_path / "set" / "0.png").read_bytes()[:50])
    assert main(["analyze", "psnr", str(tmp_path / "set"), "--scale", "4"]) == 1
    said = capsys.readouterr()
    assert "bicubic" in said.out
    assert said.err.startswith("skipped: small.png")
    assert main(["analyze", "psnr", str(tmp_path / "set"), str(enlarging.run.path), "--scale", "4"]) == 2
    assert "--scale: expected one for all" in capsys.readouterr().err


def test_psnr_is_that_of_evaluate(enlarging: Trained, tmp_path: Path) -> None:
    """Two ways to the same number: a set that is trained on, and files at their own size."""
    scores = {score.name: score.value for score in ganforge.evaluate(enlarging.run.path)}
    data = enlarging.run.config.data.data
    (*_, mean), _ = fidelity_of_folders.score_folder(data, [enlarging])
    assert scores["bicubic_psnr_y"] == pytest.approx(mean.found["bicubic"][0], abs=1e-6)
    assert scores["bicubic_ssim_y"] == pytest.approx(mean.found["bicubic"][1], abs=1e-6)
    assert scores["psnr_y"] == pytest.approx(mean.found["sr"][0], abs=0.01)
    assert scores["sharpness"] == pytest.approx(mean.found["sr"][2], abs=0.01)
    assert "psnr" not in scores


def test_every_image_has_a_result_of_its_own(enlarging: Trained, tmp_path: Path) -> None:
    for number, name in enumerate(("a.jpg", "a.png", "a.jpg.png")):
        image = Image.fromarray(values(number, 16, 16, 3))
        (tmp_path / "in").mkdir(exist_ok=True)
        image.save(tmp_path / "in" / name, "JPEG" if name.endswith(".jpg") else "PNG")
    done = ganforge.apply(enlarging, tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in done.written) == ["a.jpg.png", "a.jpg.png.png", "a.png.png"]
    assert files_of(tmp_path / "out").keys() == {path.name for path in done.written}


def test_large_results_are_known_again_without_their_pixels(enlarging: Trained, tmp_path: Path) -> None:
    """What Pillow takes for a bomb: the head of an image of 16000x12000."""
    save(tmp_path / "in.png", values(0, 16, 16, 3))
    ganforge.apply(enlarging, tmp_path / "in.png", tmp_path / "out.png")
    whole = bytearray((tmp_path / "out.png").read_bytes())
    whole[16:24] = struct.pack(">II", 16_000, 12_000)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    (tmp_path / "out.png").write_bytes(whole)
    ganforge.apply(enlarging, tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (32, 32)


def test_nan_is_no_image(enlarging: Trained, tmp_path: Path) -> None:
    save(tmp_path / "in.png", values(0, 16, 16, 3))
    broken = ganforge.load(enlarging.run.path)
    torch.nn.init.constant_(next(broken.system.parameters()), torch.nan)
    with pytest.raises(UserError, match="NaN or infinity"):
        ganforge.apply(broken, tmp_path / "in.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_clear_colour_of_16_bits_is_transparency(channels: int, tmp_path: Path) -> None:
    pixels = values(0, 4, 5, channels, dtype=np.uint16)
    whole = save(tmp_path / "a.png", pixels).read_bytes()
    key = struct.pack(f">{channels}H", *pixels[2, 3].tolist())
    chunk = struct.pack(">I", len(key)) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    found = decode_exactly(whole[:33] + chunk + whole[33:])  # after the head
    expected = np.full((4, 5), 65535)
    expected[2, 3] = 0
    assert found.alpha is not None
    assert np.array_equal(found.alpha, expected)
    assert np.array_equal(found.colours, pixels.transpose(2, 0, 1))


def test_the_colour_profile_is_kept(enlarging: Trained, translating: Trained, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(values(0, 16, 16, 3)).save(tmp_path / "in.png", icc_profile=profile)
    for trained in (enlarging, translating):
        ganforge.apply(trained, tmp_path / "in.png", tmp_path / "out.png")
        with Image.open(tmp_path / "out.png") as image:
            assert image.info["icc_profile"] == profile
    Image.fromarray(values(0, 16, 16)).save(tmp_path / "grey.png", icc_profile=profile)
    ganforge.apply(enlarging, tmp_path / "grey.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert "icc_profile" not in image.info


def test_psnr_tells_runs_of_one_name_apart(enlarging: Trained, tmp_path: Path) -> None:
    save(tmp_path / "set" / "a.png", values(0, 32, 32, 3))
    for place in ("x/sr", "y/sr", "bicubic"):
        shutil.copytree(enlarging.run.path, tmp_path / place)
    runs = [ganforge.load(tmp_path / place) for place in ("x/sr", "y/sr", "bicubic")]
    (row, _), _ = fidelity_of_folders.score_folder(str(tmp_path / "set"), runs)
    assert row.found.keys() == {"bicubic", *(str(tmp_path / place) for place in ("x/sr", "y/sr", "bicubic"))}


def test_psnr_of_images_of_one_colour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have no sharpness, and leave that of the others alone."""
    save(tmp_path / "set" / "a.png", values(0, 32, 32, 3))
    save(tmp_path / "set" / "flat.png", np.full((32, 32, 3), 9, np.uint8))
    assert main(["analyze", "psnr", str(tmp_path / "set"), "--json"]) == 0
    one, flat, mean = (row["found"]["bicubic"] for row in json.loads(capsys.readouterr().out))
    assert flat[2] is None
    assert mean[2] == one[2]
    assert main(["analyze", "psnr", str(tmp_path / "set")]) == 0


def test_psnr_of_a_grey_run_skips_colours(folder: Path, tmp_path: Path) -> None:
    fields = {"width": 4, "num_blocks": 1, "crop_size": 8, "batch": 2, "channels": "grey", **SMALL}
    grey = ganforge.train(
        "srresnet", str(folder / "data"), run=tmp_path / "grey", pairs="downscale:2", **fields
    )
    save(tmp_path / "set" / "colour.png", values(0, 32, 32, 3))
    save(tmp_path / "set" / "grey.png", values(0, 32, 32, 1))
    rows, skipped = fidelity_of_folders.score_folder(str(tmp_path / "set"), [grey])
    assert [row.name for row in rows] == ["grey.png", "mean of 1"]
    assert skipped == {"colour.png": "in colour, but grey enlarges grey images"}


def test_the_shipped_srgan_enlarges_at_once(tmp_path: Path) -> None:
    """Sharper than bicubic resampling, and about as near to the original."""
    images = open_dataset(DataOptions(data="emoji")).splits["test"]
    original = images.read(torch.arange(0, 400, 100))
    small = downscale(original, 4)
    for number, pixels in enumerate(small):
        save(tmp_path / "small" / f"{number}.png", pixels.permute(1, 2, 0).numpy())
    done = ganforge.apply("pretrained:srgan-photos", tmp_path / "small", tmp_path / "large")
    made = torch.stack([torch.from_numpy(decode_exactly(path.read_bytes()).colours) for path in done.written])
    ours, bicubic = (fidelity(x, original, 4) for x in (made, enlarge_bicubic(small, 64, 64)))
    assert float(ours.sharpness.mean()) > 1.2 * float(bicubic.sharpness.mean())
    assert float(ours.psnr.mean()) > float(bicubic.psnr.mean()) - 2


def test_shipped_runs_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "runs", "--folder", str(tmp_path)]) == 0
    assert "pretrained:srgan-photos" in capsys.readouterr().out
