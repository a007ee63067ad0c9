"""The range of values that are black and white: measured, warned about, chosen, stored."""

import io

import numpy as np
import pytest
import torch
from drawn import encode, noise
from PIL import Image

from ganforge.data.check import check
from ganforge.data.decode import decode_exactly, measure_levels, read_header
from ganforge.data.levels import from_full, parse_levels, show_levels, to_bytes
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.training.plan import validated


def opened(path, **settings):
    return open_dataset(DataOptions(data=str(path), **settings))


def tiff(array, **settings):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", **settings)
    return buffer.getvalue()


def scan(number, bits=12):
    return np.random.default_rng(number).integers(0, 2**bits, (8, 8)).astype(np.uint16)


@pytest.fixture
def scans(fill):
    arrays = [scan(number) for number in range(6)]
    arrays[0][0, 0], arrays[1][0, 0] = 5, 4095
    arrays = [array.clip(5) for array in arrays]
    return fill({f"{number}.png": encode(array) for number, array in enumerate(arrays)}), arrays


@pytest.mark.parametrize("text", ["0..4095", "-1024..3071", "0.5..1.25", "-1e3..2e3", " 1 .. 2 "])
def test_ranges_are_parsed_and_shown_alike(text):
    levels = parse_levels(text)
    assert parse_levels(show_levels(levels)) == levels


@pytest.mark.parametrize(
    "text", ["", "5", "5..", "..5", "5..5", "6..5", "a..b", "0..inf", "nan..1", "fully", "1..2..3"]
)
def test_other_ranges_are_rejected_in_one_line(text):
    with pytest.raises(UserError, match=r"--range: expected full, data, or LOW\.\.HIGH") as error:
        validated(DataOptions, {"data": "x", "range": text})
    assert "\n" not in str(error.value)


def test_values_go_there_and_back():
    values = np.arange(5, 4096, dtype=np.uint16)
    full = to_bytes(values, (5, 4095), 65535)
    assert full[0] == 0
    assert full[-1] == 65535
    assert np.array_equal(from_full(full, (5, 4095)), values)
    assert to_bytes(np.array([np.nan, -9.0, 9.0]), (0, 1), 255).tolist() == [0, 0, 255]


def test_a_squashed_range_is_said_in_check_and_at_train(scans):
    path, _ = scans
    for lines in (check(DataOptions(data=str(path))).warnings, opened(path).notes):
        (line,) = [line for line in lines if "--range data" in line]
        assert "5 to 4095 of 0 to 65535" in line
        assert "0 to 16 of 0 to 255" in line
    for settings in ({"range": "data"}, {"range": "0..4095"}):
        report = check(DataOptions(data=str(path), **settings))
        assert not any("--range" in line for line in report.warnings)
        assert report.used_range == (5, 4095)
    clipped = check(DataOptions(data=str(path), range="0..100")).warnings
    assert any("5 to 4095, more than --range 0..100" in line for line in clipped)


@pytest.mark.parametrize("settings", [{"range": "data"}, {"range": "5..4095"}])
def test_a_range_fills_black_to_white_and_is_stored(scans, settings):
    path, arrays = scans
    dataset = opened(path, **settings)
    assert dataset.options.range == "5..4095"
    assert dataset.spec.bits == 16
    expected = np.stack([np.rint((array.astype(float) - 5) / 4090 * 255) for array in arrays])
    assert np.array_equal(dataset.splits["train"].pixels[:, 0].numpy(), expected)
    again = open_dataset(dataset.options)
    assert again.fingerprint == dataset.fingerprint


@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colours_have_a_range_too(fill, channels):
    import struct
    import zlib

    array = np.random.default_rng(0).integers(0, 4096, (8, 8, channels)).astype(">u2")
    array[..., 3:] = 65535
    raw = b"".join(b"\0" + row.tobytes() for row in array)

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", 8, 8, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )
    assert read_header(data).bits == 16
    pixels = opened(fill({"1.png": data}), range="0..4095").splits["train"].pixels[0]
    expected = np.rint(array[..., :3].astype(float) / 4095 * 255).transpose(2, 0, 1)
    assert np.array_equal(pixels.numpy(), expected)


def test_eight_bits_with_little_of_the_range(fill):
    dark = {f"{number}.png": encode(noise(number) // 4 + 10) for number in range(3)}
    path = fill(dark)
    assert any("of 0 to 255: type --range data" in line for line in opened(path).notes)
    assert any(
        "of 0 to 255: type --range data" in line for line in check(DataOptions(data=str(path))).warnings
    )
    pixels = opened(path, range="data").splits["train"].pixels
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
    clear = np.concatenate([noise(4) // 4, np.full((8, 8, 1), 255, np.uint8)], 2)
    clear[0, 0] = (255, 255, 255, 0)  # invisible pixels do not count
    assert measure_levels(encode(clear))[1] < 64


def test_floats_are_read_from_0_to_1_and_refused_beyond(fill):
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    pixels = opened(fill({"1.tif": tiff(ramp)})).splits["train"].pixels
    assert np.array_equal(pixels[0, 0].numpy(), np.rint(ramp.astype(float) * 255))
    path = fill({"1.tif": tiff(ramp * 300 - 20)})
    with pytest.raises(UserError, match=r"floats from -20 to 280: expected 0 to 1; type --range data"):
        opened(path)
    assert "floats from -20 to 280" in check(DataOptions(data=str(path))).problems[0]
    assert opened(path, range="data").options.range == "-20..280"
    assert opened(path, range="data").spec.bits == 32


def test_signed_integers_have_a_range(fill):
    scan_ = np.linspace(-1024, 3071, 64).reshape(8, 8).round().astype(np.int32)
    path = fill({"1.tif": tiff(scan_)})
    assert any("-1024 to 3071 of 0 to 65535" in line for line in opened(path).notes)
    pixels = opened(path, range="data").splits["train"].pixels[0, 0]
    assert np.array_equal(pixels.numpy(), np.rint((scan_ + 1024.0) / 4095 * 255))


def test_ranges_of_mixed_depths_are_refused(fill):
    path = fill({"1.png": encode(scan(1)), "2.png": encode(noise(1, channels=1))})
    with pytest.raises(UserError, match="different depths, 1 of 8 bits and 1 of 16 bits"):
        opened(path, range="0..4095")
    with pytest.raises(UserError, match="one value in every pixel"):
        opened(
            fill({f"{number}.png": encode(np.full((8, 8), 7, np.uint8)) for number in (1, 2)}), range="data"
        )
    with pytest.raises(UserError, match=r"--range 0\.\.5 is for image files"):
        opened("ring", range="0..5")


def test_sources_in_files_keep_their_full_range(fill):
    files = {f"a/{number}.png": encode(scan(number)) for number in range(3)}
    files |= {f"b/{number}.png": encode(noise(number, channels=1)) for number in range(3)}
    path = fill(files)
    dataset = opened(path / "a", sources=str(path / "b"), range="0..4095")
    _, sources = dataset.splits["train"].read_pairs(torch.tensor([1]))
    assert np.array_equal(sources[0, 0].numpy(), noise(1, channels=1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "I"])
def test_tiff_of_every_mode_is_read(mode):
    deep = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
    image = Image.fromarray(noise(1))
    image = Image.fromarray(scan(1).astype(deep[mode])) if mode in deep else image.convert(mode)
    for settings in ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}):
        buffer = io.BytesIO()
        image.save(buffer, "TIFF", **settings)
        whole = decode_exactly(buffer.getvalue())
        assert whole.colours.shape[1:] == (8, 8)
        if mode in ("1", "L", "P", "RGB"):
            shown = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            assert np.array_equal(np.broadcast_to(whole.colours, (3, 8, 8)), shown)
        if mode in ("I;16", "I"):
            assert np.array_equal(whole.colours[0], scan(1))


def test_the_first_page_is_used_and_said(fill):
    pages = [np.full((8, 8), value, np.uint8) for value in (10, 200)]
    data = tiff(pages[0], save_all=True, append_images=[Image.fromarray(pages[1])])
    path = fill(
        {f"{number}.png": encode(noise(number, channels=1)) for number in range(3)} | {"a.tiff": data}
    )
    report = check(DataOptions(data=str(path)))
    assert report.counts == {"train": 4}
    assert "with pages  1 of 4; the first page is used" in report.lines()
    assert any("1 image with more than one page" in note for note in opened(path).notes)
    assert (opened(path).splits["train"].pixels[3] == 10).all()
