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
from ganforge.data.decode import Whole, decode_exactly
from ganforge.data.derived_pairs import downscale
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation import psnr as fidelity_of_folders
from ganforge.evaluation.scores.super_resolution import enlarge_bicubic, fidelity
from ganforge.files.png import write_png
from ganforge.files.provenance import read_provenance
from ganforge.generation.sources import prepare
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
    assert read_provenance(tmp_path / "a.png") == {"run": "r", "text": "naïve \u2713"}


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
        ganforge.apply(translating, image, tmp_path / f"{name}.png", seed=seed, tile=32, size="own")
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
    about = read_provenance(tmp_path / "out" / "000.png")
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
        "ending in .png, .jpg, .jpeg, .webp or .gif, or a folder": [run, grey, "--out", tmp_path / "o.tif"],
        "was not made by ganforge": [run, tmp_path / "in", "--out", tmp_path / "foreign"],
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


@pytest.fixture(scope="module")
def from_edges(folder: Path) -> Trained:
    fields = {"width": 4, "discriminator_width": 4, "patch": "16", "batch": 2, **SMALL}
    return ganforge.train("pix2pix", str(folder / "data"), run=folder / "e2p", pairs="edges", **fields)


def disc(side: int, levels: int, hidden: int) -> NDArray:
    """A disc of one grey on nothing, uint8 `[side, side, 4]`; what cannot be seen has the colour `hidden`."""
    pixels = np.full((side, side, 4), hidden, np.uint8)
    rows, columns = np.mgrid[:side, :side]
    alpha = (0.375 * side + 0.5 - np.hypot(rows - side / 2, columns - side / 2)).clip(0, 1)
    pixels[..., 3] = (alpha * 255).round()
    pixels[pixels[..., 3] > 0, :3] = levels
    return pixels


@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("levels", [20, 240])
def test_edges_with_alpha_get_no_outline(levels: int, hidden: int, tmp_path: Path) -> None:
    """Whatever colour the invisible pixels have, hard edges and soft ones."""
    for name, pixels in (("soft", disc(64, levels, hidden)), ("hard", disc(64, levels, hidden))):
        if name == "hard":
            pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 0)
        save(tmp_path / f"{name}.png", pixels)
        ganforge.apply("pretrained:srgan-photos", tmp_path / f"{name}.png", tmp_path / "out.png")
        found = decode_exactly((tmp_path / "out.png").read_bytes())
        assert found.alpha is not None
        assert found.alpha.shape == (256, 256)
        assert np.abs(found.colours[:, found.alpha > 0].astype(int) - levels).max() <= 12


def test_translated_edges_with_alpha_have_the_colours_of_the_inside(
    translating: Trained, tmp_path: Path
) -> None:
    """What the network sees next to the visible is of its colour; further away it is as in training."""
    image = Whole(disc(16, 20, 90)[..., :3].transpose(2, 0, 1), disc(16, 20, 90)[..., 3])
    seen = prepare(image, translating).image
    assert (seen.colours[:, 1:15, 8] == 20).all()
    assert (seen.colours[:, 0, 0] == 255).all()
    save(tmp_path / "in.png", disc(16, 20, 90))
    ganforge.apply(translating, tmp_path / "in.png", tmp_path / "out.png")
    found = decode_exactly((tmp_path / "out.png").read_bytes())
    assert found.alpha is not None
    assert np.array_equal(found.alpha, disc(16, 20, 255)[..., 3])
    large = prepare(
        Whole(image.colours.repeat(3, 1).repeat(3, 2), image.alpha.repeat(3, 0).repeat(3, 1)), translating
    )
    assert large.image.alpha is not None
    assert np.abs(large.image.colours[:, large.image.alpha > 0].astype(int) - 20).max() <= 1


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_grey_stored_in_colour_stays_grey(quality: int, tmp_path: Path) -> None:
    grey = Image.fromarray(values(0, 8, 8)).resize((48, 48), Image.Resampling.BICUBIC)
    grey.convert("RGB").save(tmp_path / "in.jpg", quality=quality)
    ganforge.apply("pretrained:srgan-photos", tmp_path / "in.jpg", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"
        assert np.ptp(np.asarray(image).astype(int), axis=2).max() == 0


def test_a_faint_tint_and_a_small_spot_stay(tmp_path: Path) -> None:
    pixels = np.repeat(values(0, 48, 48, 1), 3, 2) // 2 + 60
    tinted, spotted = pixels.copy(), pixels.copy()
    tinted[..., 2] -= 10
    spotted[20:23, 20:23] = (220, 40, 40)
    for name, image in (("tinted", tinted), ("spotted", spotted)):
        save(tmp_path / f"{name}.png", image)
        ganforge.apply("pretrained:srgan-photos", tmp_path / f"{name}.png", tmp_path / "out.png")
        found = decode_exactly((tmp_path / "out.png").read_bytes()).colours.astype(int)
        assert np.ptp(found, axis=0).max() > 8


def test_translation_is_at_the_size_of_training(translating: Trained, tmp_path: Path) -> None:
    image = save(tmp_path / "in.png", values(4, 40, 80, 3))
    done = ganforge.apply(translating, image, tmp_path / "out.png")
    assert decode_exactly(done.written[0].read_bytes()).colours.shape == (3, 8, 16)
    assert done.notes == (
        "in.png: resized to fit the 16x16 of training (--size own keeps its size, in tiles)",
    )
    done = ganforge.apply(translating, image, tmp_path / "out.png", size="own")
    assert decode_exactly(done.written[0].read_bytes()).colours.shape == (3, 40, 80)
    assert done.notes == ()


def test_drawings_become_the_lines_of_training(
    from_edges: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thick drawing gives what its thin lines give; a photo is left alone, with a word."""
    drawing = np.full((64, 64), 255, np.uint8)
    drawing[8:56, 12:20] = drawing[8:56, 44:52] = 0
    thin = np.full((16, 16), 255, np.uint8)
    thin[2:14, 3] = thin[2:14, 11] = 0
    save(tmp_path / "thick.png", drawing[..., None])
    save(tmp_path / "photo.png", np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8)[..., None] * 8)
    words = ["apply", str(from_edges.run.path), str(tmp_path / "thick.png"), "--out", str(tmp_path / "o.png")]
    assert main(words) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("thick.png: resized to fit the 16x16 of training")
    assert said[1].startswith("thick.png: lines thinned to one pixel")
    thick = decode_exactly((tmp_path / "o.png").read_bytes()).colours
    assert thick.shape == (3, 16, 16)
    assert main([*words, "--lines", "keep"]) == 0
    assert not np.array_equal(decode_exactly((tmp_path / "o.png").read_bytes()).colours, thick)
    capsys.readouterr()
    words[2] = str(tmp_path / "photo.png")
    assert main(words) == 0
    assert "photo.png: no line drawing, which this run was trained on" in capsys.readouterr().err
    assert main([*words, "--lines", "edges"]) == 0
    assert "photo.png: edges found as in training" in capsys.readouterr().err


def test_a_drawing_on_nothing_is_drawn_on_paper(from_edges: Trained, tmp_path: Path) -> None:
    """Strokes with alpha give what the same strokes on white give, and the result is opaque."""
    drawing = np.full((16, 16, 4), 255, np.uint8)
    drawing[2:14, 3:5, :3] = drawing[2:14, 11:13, :3] = 0
    clear = drawing.copy()
    clear[..., 3] = np.where(clear[..., 0] == 0, 255, 0)
    clear[..., :3] = 0
    made = []
    for name, pixels in (("opaque", drawing[..., :3]), ("clear", clear)):
        save(tmp_path / f"{name}.png", pixels)
        ganforge.apply(from_edges, tmp_path / f"{name}.png", tmp_path / "o.png")
        found = decode_exactly((tmp_path / "o.png").read_bytes())
        assert found.alpha is None
        made.append(found.colours)
    assert np.array_equal(*made)


def test_thick_drawings_are_thinned_for_sample_too(
    from_edges: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = np.full((16, 16, 1), 255, np.uint8)
    drawing[2:14, 3:6] = drawing[2:14, 11:13] = 0
    save(tmp_path / "in.png", drawing)
    words = ["--sources", str(tmp_path / "in.png"), "--out", str(tmp_path / "o.npz")]
    assert main(["sample", str(from_edges.run.path), *words]) == 0
    assert "; lines thinned as in training: 1" in capsys.readouterr().out
    with np.load(tmp_path / "o.npz") as arrays:
        assert (arrays["sources"] == 0).sum() < 26


@pytest.mark.parametrize("ending", [".jpg", ".webp", ".gif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_results_in_other_formats(enlarging: Trained, ending: str, dtype: type, tmp_path: Path) -> None:
    """The PNG's pixels, as far as the format keeps them, on the background of training in a JPEG."""
    image = save(tmp_path / "in.png", np.full((16, 16, 4), np.iinfo(dtype).max // 3, dtype))
    ganforge.apply(enlarging, image, tmp_path / "out.png")
    ganforge.apply(enlarging, image, tmp_path / f"out{ending}")
    ganforge.apply(enlarging, image, tmp_path / f"out{ending}")  # replaced, since its provenance is known
    about = read_provenance(tmp_path / f"out{ending}")
    assert about["source"] == "in.png"
    assert about["run"] == "sr"
    exact = decode_exactly((tmp_path / "out.png").read_bytes())
    assert exact.alpha is not None
    unit = np.iinfo(dtype).max / 255
    with Image.open(tmp_path / f"out{ending}") as made:
        assert made.size == (32, 32)
        found = np.asarray(made.convert("RGBA"))
    if ending == ".webp":
        assert np.abs(found[..., 3] - exact.alpha / unit).max() <= 0.5
    if ending == ".jpg":
        share = exact.alpha / np.iinfo(dtype).max
        expected = exact.colours / unit * share + 255 * (1 - share)
        assert np.abs(found[..., :3] - expected.transpose(1, 2, 0)).mean() < 12
    (tmp_path / f"photo{ending}").write_bytes(b"mine")
    with pytest.raises(UserError, match="was not made by ganforge"):
        ganforge.apply(enlarging, image, tmp_path / f"photo{ending}")
