"""One encoded image in, one uint8 array out; every way a file can be bad ends in `Unreadable`."""

import io
import struct
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from ganforge.data.formats import HEAD_BYTES, READABLE, READERS, name_of_unread
from ganforge.data.levels import Levels, full_levels, parse_levels, to_bytes
from ganforge.data.options import DataOptions
from ganforge.errors import printable

MAX_PIXELS = 89_478_485  # Pillow's own threshold: a quarter of a GiB at three bytes a pixel
NOT_AN_IMAGE = f"not a {READABLE} image, or its beginning is damaged"
TOO_LARGE = f"claims more than {MAX_PIXELS // 1_000_000} million pixels"

EXIF_ORIENTATION = 0x0112
SUBFILE_TYPE, DNG_VERSION = 254, 50706  # tags of TIFF
TURNS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}


class Unreadable(Exception):  # noqa: N818 - an outcome to collect and count, not a fault of the program
    """The reason why a file cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image: its upright size, Pillow's `mode`, and whether it is grey or transparent.

    `bits` a channel are 8 or 16, or 32 for floats. `animated` has more frames, `paged` more pages than the
    first, which alone is read.
    """

    width: int
    height: int
    mode: str
    grey: bool
    alpha: bool
    bits: int = 8
    animated: bool = False
    paged: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The shape (channels, height, width) of decoded images, after an optional square centre crop."""

    shape: tuple[int, int, int]
    centre_crop: int | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """An image at full depth: uint8, or uint16 where the file has 16 bits or floats.

    `colours` `[1 or 3, height, width]`, upright; `alpha` `[height, width]`, of the same type, or None.
    `profile` is the file's ICC colour profile, if any.
    """

    colours: NDArray[Any]
    alpha: NDArray[Any] | None
    profile: bytes | None = None


def explain(error: Exception) -> str:
    """One line that says why an image could not be read, from an error of Pillow."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE
    message = printable(" ".join(str(error).split()))[:150]
    return message or type(error).__name__


def read_header(data: bytes) -> Header:
    """The header of the encoded image `data`; its pixels are not decoded.

    Raises `Unreadable` if it is not an image in one of `formats.READERS`.
    """
    try:
        with _open(data) as image:
            width, height = image.size
            if _orientation(image) >= 5:  # a quarter turn
                width, height = height, width
            more = bool(getattr(image, "is_animated", False))
            return Header(
                width,
                height,
                image.mode,
                _is_grey(image),
                image.has_transparency_data,
                _bits(image),
                more and image.format in ("GIF", "PNG", "WEBP", "AVIF"),
                more and image.format == "TIFF",
            )
    except (
        Exception
    ) as error:  # a hostile file can raise nearly anything in Pillow, and must never end the program
        raise Unreadable(explain(error)) from error


def decode(data: bytes, target: Target, options: DataOptions) -> NDArray[np.uint8]:
    """The encoded image `data` as uint8 `[channels, height, width]`.

    Raises `Unreadable` if it is not an image in one of `formats.READERS` or its data are damaged.
    """
    try:
        with _open(data) as image:
            # A JPEG can be decoded at 1/2, 1/4 or 1/8; twice the final size leaves the resampling its
            # quality.
            levels = parse_levels(options.range)
            if target.centre_crop is None:
                image.draft(None, (2 * target.shape[2], 2 * target.shape[1]))
            upright = _upright(image) if levels is None else _in_levels(data, levels)
            plain = flatten(upright, target.shape[0], options.background)
        if target.centre_crop is not None:
            plain = _crop_centre(plain, target.centre_crop)
        return to_array(fit(plain, target.shape[2], target.shape[1], options))
    except Exception as error:
        raise Unreadable(explain(error)) from error


def decode_halves(
    data: bytes, targets: tuple[Target, Target], options: DataOptions
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The left and the right half of the encoded image `data`, each as `decode` gives an image.

    Raises `Unreadable` as `decode`.
    """
    try:
        with _open(data) as image:
            levels = parse_levels(options.range)
            upright = _upright(image) if levels is None else _in_levels(data, levels)
            middle, height = upright.width // 2, upright.height
            boxes = ((0, 0, middle, height), (middle, 0, 2 * middle, height))
            halves = []
            for box, target in zip(boxes, targets, strict=True):
                plain = flatten(upright.crop(box), target.shape[0], options.background)
                halves.append(to_array(fit(plain, target.shape[2], target.shape[1], options)))
        return halves[0], halves[1]
    except Exception as error:
        raise Unreadable(explain(error)) from error


def decode_whole(data: bytes) -> NDArray[np.uint8]:
    """The encoded image `data` in colour on white at its own size, uint8 `[3, height, width]`."""
    return decode_measured(data)[0]


def decode_measured(data: bytes) -> tuple[NDArray[np.uint8], Levels | None]:
    """The image as `decode_whole` gives it, and its levels as `measure_levels` does."""
    try:
        with _open(data) as image:
            bits, upright = _bits(image), _upright(image)
            clear = upright.has_transparency_data
            if clear:
                upright = upright.convert("RGBA")
            pixels = to_array(flatten(upright, 3, "white"))
        if bits > 8:
            return pixels, measure_levels(data)
        seen = np.asarray(upright).reshape(-1, 4) if clear else pixels
        if clear:
            seen = seen[seen[:, 3] > 0, :3]
        return pixels, (float(seen.min()), float(seen.max())) if seen.size else None
    except Exception as error:
        raise Unreadable(explain(error)) from error


def decode_exactly(data: bytes, levels: Levels | None = None) -> Whole:
    """The encoded image `data` at its own size and depth, with its transparency and colour profile.

    `levels` become the lowest and highest value of its depth. Floats become 16 bits, of which 65535 is 1, or
    the upper level. Raises `Unreadable` as `decode`.
    """
    whole = _decode_exactly(data)
    if levels is not None:
        eight = whole.colours.dtype == np.uint8
        colours = to_bytes(whole.colours, levels, 255 if eight else 65535)
        whole = replace(whole, colours=colours.astype(np.uint8) if eight else colours)
    with _open(data) as image:
        profile = image.info.get("icc_profile")
    if whole.colours.dtype == np.float32:
        whole = replace(whole, colours=to_bytes(whole.colours, full_levels(32), 65535))
    elif whole.colours.dtype == np.int32:
        whole = replace(whole, colours=whole.colours.clip(0, 65535).astype(np.uint16))
    return replace(whole, profile=profile) if isinstance(profile, bytes) and profile else whole


def measure_levels(data: bytes) -> Levels | None:
    """The lowest and the highest value of the visible pixels of the encoded image `data`, as stored.

    None where no pixel is visible. Raises `Unreadable` as `decode`.
    """
    whole = _decode_exactly(data)
    colours = whole.colours
    if whole.alpha is not None:
        colours = colours[:, whole.alpha > 0]
    if not colours.size:
        return None
    return float(np.nanmin(colours)), float(np.nanmax(colours))


def _in_levels(data: bytes, levels: Levels) -> Image.Image:
    """The image, upright, with 8 bits that are black at the lower and white at the upper level."""
    whole = _decode_exactly(data)
    bands = [Image.fromarray(to_bytes(colour, levels, 255).astype(np.uint8)) for colour in whole.colours]
    if whole.alpha is not None:
        wide = whole.alpha.dtype == np.uint16
        bands.append(Image.fromarray((whole.alpha >> 8 if wide else whole.alpha).astype(np.uint8)))
    return Image.merge({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(bands)], bands)


def _decode_exactly(data: bytes) -> Whole:
    """As `decode_exactly`; 32 bits of grey stay int32 or float32."""
    try:
        with _open(data) as image:
            if (raw_mode := _wide_raw_mode(image)) is not None:
                return _decode_16_bits(data, raw_mode)
            upright = _upright(image)
            grey, alpha = _is_grey(upright), upright.has_transparency_data
            if upright.mode == "F":
                return Whole(np.nan_to_num(np.asarray(upright, np.float32))[None], None)
            if upright.mode == "I":
                return Whole(np.asarray(upright, np.int32)[None], None)
            if upright.mode.startswith("I"):  # 16 bits of grey
                return Whole(np.asarray(upright).astype(np.uint16)[None], None)
            array = np.asarray(
                upright.convert(("LA" if grey else "RGBA") if alpha else "L" if grey else "RGB")
            )
        return _split(array if array.ndim == 3 else array[:, :, None], alpha)
    except Exception as error:
        raise Unreadable(explain(error)) from error


def _wide_raw_mode(image: Image.Image) -> str | None:
    """What Pillow calls the storage of a PNG's 16 bits, or of a TIFF's 16 bits of colour."""
    if isinstance(image, PngImagePlugin.PngImageFile | TiffImagePlugin.TiffImageFile) and image.tile:
        args = image.tile[0].args
        raw_mode = str(args[0] if isinstance(args, tuple) else args)
        if raw_mode[-4:] in _OTHER_HALF and (image.format == "PNG" or not raw_mode.startswith("I")):
            return raw_mode
    return None


_OTHER_HALF = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
"""Storage of 16 bits -> the storage under which Pillow, which keeps the higher 8, sees the lower 8."""


def _decode_16_bits(data: bytes, raw_mode: str) -> Whole:
    """An image of 16 bits a channel: Pillow keeps the higher 8, so it is decoded twice."""
    with _open(data) as image:
        clear = image.info.get("transparency")  # the transparent colour, if any
        if raw_mode == "I;16B":
            grey = np.asarray(_upright(image)).astype(np.uint16)
            return Whole(grey[None], None if clear is None else _all_but(grey[None], (clear,)))
    if raw_mode == "LA;16B":  # as many bytes a pixel as RGBA, which are then high, low, high, low
        parts = _read_as(data, "RGBA").astype(np.uint16)
        return _split(parts[:, :, 0::2] << 8 | parts[:, :, 1::2], alpha=True)
    high, low = _read_as(data, raw_mode), _read_as(data, raw_mode[:-4] + _OTHER_HALF[raw_mode[-4:]])
    wide = (high.astype(np.uint16) << 8 | low)[:, :, : 4 if raw_mode.startswith("RGBA") else 3]
    whole = _split(wide, alpha=raw_mode.startswith("RGBA"))
    return whole if clear is None else Whole(whole.colours, _all_but(whole.colours, clear))


def _all_but(colours: NDArray[np.uint16], clear: tuple[int, ...]) -> NDArray[np.uint16]:
    """Alpha of 16 bits `[height, width]` that hides the colour `clear`."""
    seen = (colours != np.array(clear, np.uint16)[:, None, None]).any(0)
    return np.where(seen, np.uint16(65535), np.uint16(0))


def _read_as(data: bytes, raw_mode: str) -> NDArray[np.uint8]:
    """The bytes of a PNG or TIFF, upright, as if its pixels were stored as Pillow calls `raw_mode`."""
    with _open(data) as image:
        image.tile = [
            tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
            for tile in image.tile
        ]
        return np.asarray(_upright(image))


def _split(array: NDArray[Any], alpha: bool) -> Whole:
    """`array` `[height, width, channels]`, the last one alpha if there is some."""
    channels = array.transpose(2, 0, 1)
    if not alpha:
        return Whole(np.ascontiguousarray(channels), None)
    return Whole(np.ascontiguousarray(channels[:-1]), np.ascontiguousarray(channels[-1]))


def flatten(image: Image.Image, channels: int, background: str) -> Image.Image:
    """`image` as 8-bit grey (1 channel) or RGB (3), on `background` where it is transparent.

    With 4 channels it keeps alpha, by which its colours are multiplied ("RGBa").
    """
    mode = {1: "L", 3: "RGB", 4: "RGBa"}[channels]
    if image.mode == "F":
        image = Image.fromarray(to_bytes(np.asarray(image), full_levels(32), 255).astype(np.uint8))
    elif image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        # 65535 = 257 * 255, so this is the nearest of 256 levels; Pillow's own conversion clips at 255.
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    elif image.has_transparency_data and channels < 4:
        clear = image.convert("RGBA")
        sheet = Image.new("RGBA", clear.size, background)
        image = Image.alpha_composite(sheet, clear)
    if channels == 4:
        return image.convert("RGBA").convert(mode)
    return image if image.mode == mode else image.convert(mode)


def fit(image: Image.Image, width: int, height: int, options: DataOptions) -> Image.Image:
    """`image` (L, RGB or RGBa) at exactly `width` x `height`, as `options.fit` says."""
    own_width, own_height = image.size
    if (own_width, own_height) == (width, height):
        return image
    across, down = width / own_width, height / own_height
    crops = options.fit in ("crop", "auto")  # auto is decided where all images are known
    scale = max(across, down) if crops else min(across, down)
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    if image.mode == "RGBa":  # no overshoot, which would be cut off in alpha and give edges a bright rim
        resample = Image.Resampling.HAMMING if scale < 1 else Image.Resampling.BILINEAR
    if options.fit == "stretch":
        return image.resize((width, height), resample)
    if crops:
        left, top = (own_width - width / scale) / 2, (own_height - height / scale) / 2
        box = (max(left, 0), max(top, 0), min(own_width - left, own_width), min(own_height - top, own_height))
        return image.resize((width, height), resample, box=box)
    inner = (max(1, min(width, round(own_width * scale))), max(1, min(height, round(own_height * scale))))
    sheet = Image.new(image.mode, (width, height), 0 if image.mode == "RGBa" else options.background)
    sheet.paste(image.resize(inner, resample), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return sheet


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """`image` (L, RGB or RGBa) as uint8 `[channels, height, width]`."""
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _open(data: bytes) -> ImageFile.ImageFile:
    """The encoded image, by Pillow's reader of its format.

    `Image.open` would only warn of sizes up to twice the limit; the warning filters are the host program's.
    """
    if not data:
        raise Unreadable("empty file")
    Image.init()
    readers = (Image.OPEN[name] for name in READERS if name in Image.OPEN)  # AVIF can be left out of Pillow
    reader = next((read for read, accepts in readers if accepts is not None and accepts(data[:16])), None)
    try:
        if reader is None:
            if (name := name_of_unread(data[:HEAD_BYTES])) is not None:
                raise Unreadable(f"{name} files are not read: save it as PNG, JPEG or TIFF")
            raise SyntaxError("unknown signature")
        image = reader(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error) as error:  # as `Image.open` has it
        if reader is not None and data[:4] in (b"II*\0", b"MM\0*"):
            raise Unreadable(f"a TIFF of a kind that is not read ({explain(error)}), or damaged") from error
        raise Unreadable(NOT_AN_IMAGE) from error
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(TOO_LARGE)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image, data):
        raise Unreadable("a camera's raw file, which is not read: develop it to PNG, JPEG or TIFF")
    return image


def _is_raw(image: TiffImagePlugin.TiffImageFile, data: bytes) -> bool:
    """Whether a TIFF is a camera's raw file, whose first page is a preview."""
    tags = image.tag_v2
    return DNG_VERSION in tags or data[8:10] == b"CR" or tags.get(SUBFILE_TYPE) == 1


def _orientation(image: Image.Image) -> int:
    # `getexif` of a PNG without the chunk at its front decodes everything in search of one behind the pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF: the image stays as stored
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    image.load()
    for turn in TURNS.get(orientation, ()):
        image = image.transpose(turn)
    return image


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def _bits(image: Image.Image) -> int:
    if image.mode == "F":
        return 32
    return 16 if image.mode.startswith("I") or _wide_raw_mode(image) is not None else 8


def _crop_centre(image: Image.Image, side: int) -> Image.Image:
    width, height = image.size
    left, top = max(0, (width - side) // 2), max(0, (height - side) // 2)
    return image.crop((left, top, min(width, left + side), min(height, top + side)))
