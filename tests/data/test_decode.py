import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from drawn import encode, noise
from PIL import Image

from ganforge.data.decode import Target, Unreadable, decode, decode_whole, read_header
from ganforge.data.options import DataOptions

OPTIONS = DataOptions(data="x")


def exact(data, shape, **settings):
    return decode(data, Target(shape), DataOptions(data="x", **settings))


def save(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_claiming(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + pixels + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 9)])
def test_lossless_pixels_come_through_exactly(kind, size):
    array = noise(1, *size)
    settings = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(exact(encode(array, kind, **settings), (3, *size)), array.transpose(2, 0, 1))


def test_a_full_range_of_16_bits_becomes_8_bits():
    wide = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    assert np.array_equal(exact(encode(wide), (1, 16, 16)).ravel(), np.arange(256))
    assert read_header(encode(wide)).grey


def test_transparency_shows_the_background():
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    for data in (
        encode(clear),
        save(Image.new("LA", (4, 4), (0, 0))),
        save(Image.new("P", (4, 4), 0), transparency=0),
        save(Image.new("P", (4, 4), 0), "GIF", transparency=0),
        save(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3)),
        save(Image.new("L", (4, 4), 7), transparency=7),
    ):
        assert read_header(data).alpha
        assert (exact(data, (3, 4, 4)) == 255).all()
        assert (exact(data, (1, 4, 4), background="black") == 0).all()


@pytest.mark.parametrize(
    ("mode", "grey"), [("1", True), ("L", True), ("LA", True), ("RGB", False), ("RGBA", False), ("P", False)]
)
def test_grey_and_color_are_distinguished(mode, grey):
    image = Image.fromarray(noise(3)).convert(mode)
    assert read_header(save(image)).grey is grey


def test_a_grey_palette_is_grey():
    assert read_header(save(Image.fromarray(noise(3)[..., 0]).convert("P"))).grey


def test_cmyk_becomes_rgb():
    data = save(Image.new("RGB", (8, 8), (200, 30, 30)).convert("CMYK"), "JPEG", quality=95)
    assert read_header(data).mode == "CMYK"
    assert np.abs(exact(data, (3, 8, 8)).reshape(3, -1).mean(1) - [200, 30, 30]).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation):
    array = np.zeros((8, 16, 3), dtype=np.uint8)
    array[:4, :8] = 255  # the top left quarter of the stored image
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(array, "JPEG", quality=95, exif=exif)
    header = read_header(data)
    assert (header.width, header.height) == ((8, 16) if orientation >= 5 else (16, 8))
    upright = exact(data, (1, header.height, header.width))[0]
    bright = upright[: header.height // 2, : header.width // 2].mean() > 200
    assert bright == (orientation in (1, 5))


def test_only_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for kind, settings in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        data = save(frames[0], kind, save_all=True, append_images=frames[1:], **settings)
        assert exact(data, (3, 4, 4))[:, 0, 0].tolist() == [255, 0, 0]


def test_crop_keeps_the_centre_and_pad_keeps_everything():
    array = np.zeros((10, 30, 3), dtype=np.uint8)
    array[:, 10:20] = 200
    data = encode(array)
    assert (exact(data, (3, 10, 10)) == 200).all()
    padded = exact(data, (1, 30, 30), fit="pad")[0]
    assert (padded[:10] == 255).all()
    assert (padded[10:20] == array[..., 0]).all()
    assert (exact(data, (1, 30, 30), fit="pad", background="black")[0][20:] == 0).all()
    stretched = exact(data, (1, 30, 30), fit="stretch")[0]
    assert np.abs(stretched.astype(int) - array[:1, :, 0]).max() <= 1


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (7, 5)])
def test_any_proportions_give_the_requested_shape(fit, size):
    assert exact(encode(noise(2, *size)), (3, 16, 16), fit=fit).shape == (3, 16, 16)


def test_a_centre_crop_comes_before_the_resizing():
    array = np.zeros((218, 178, 3), dtype=np.uint8)
    array[55:163, 35:143] = 90
    assert (decode(encode(array), Target((3, 64, 64), 108), OPTIONS) == 90).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a PNG"),
        (png_claiming(60000, 60000), "claims more than 89 million pixels"),
        (png_claiming(10000, 10000), "claims more than 89 million pixels"),
        (png_claiming(0, 5), "not a PNG"),
        (encode(noise(0, 64, 64))[:300], "(?i)truncated"),
        (encode(noise(0, 64, 64), "JPEG")[:500], "(?i)truncated"),
        (encode(noise(0, 8, 8), "JPEG2000"), "JPEG 2000 files are not read: save"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC files are not read: save it as PNG"),
        (b"8BPS\0\1", "Photoshop"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_bad_files_are_unreadable_with_a_reason(data, reason):
    with pytest.raises(Unreadable, match=reason):
        exact(data, (3, 8, 8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "ICO", "PPM"])
def test_fuzzed_files_never_crash(kind):
    random = np.random.default_rng(7)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encode(noise(4, 24, 17), kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}))
    outcomes = set()
    for round_ in range(60):
        damaged = bytearray(whole)
        if round_ % 3:
            for at in random.integers(0, len(whole), 1 + round_ % 5):
                damaged[at] ^= 1 << random.integers(8)
        else:
            damaged = damaged[: random.integers(len(whole))]
        for read in (read_header, decode_whole, lambda data: exact(data, (3, 16, 16))):
            try:
                read(bytes(damaged))
                outcomes.add("read")
            except Unreadable as error:
                outcomes.add("unreadable" if str(error).isprintable() else repr(error))
    assert outcomes == {"read", "unreadable"}


def test_the_warning_filters_stay_those_of_the_host_program() -> None:
    code = (
        "import warnings, pydantic, torch, PIL.Image; before = list(warnings.filters); "
        "import ganforge.data.open; assert warnings.filters == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
