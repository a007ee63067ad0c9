"""One encoded picture in, one uint8 array out; every way a file can be bad ends in `Unreadable`."""

import io
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from ganforge.data.options import DataOptions
from ganforge.errors import printable

# An allow-list: Pillow's rarer readers (FITS, EPS, JPEG 2000, ...) are where its security fixes come from.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif")
MAX_PIXELS = 89_478_485  # Pillow's own threshold: a quarter of a GiB at three bytes a pixel

EXIF_ORIENTATION = 0x0112
TURNS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}

# Set once for the process, because `warnings.catch_warnings` is not safe in the threads that decode: a bomb
# is an error, and a remark about a picture's damaged extras (EXIF, animation) is of no use between training's
# lines.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Unreadable(Exception):  # noqa: N818 - an outcome that is collected and counted, not a fault of the program
    """The reason, in words, why a file gives no picture."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says about itself: its upright size, Pillow's `mode`, and what that means."""

    width: int
    height: int
    mode: str
    grey: bool
    alpha: bool


@dataclass(frozen=True, slots=True)
class Target:
    """The shape (channels, height, width) that pictures get, after an optional square centre crop."""

    shape: tuple[int, int, int]
    centre_crop: int | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """A picture with all that its file says of it: uint8, or uint16 where the file has 16 bits.

    `colours` `[1 or 3, height, width]`, upright; `alpha` `[height, width]`, of the same type, or None.
    `profile` is the ICC profile that says what the colours mean, if the file has one.
    """

    colours: NDArray[Any]
    alpha: NDArray[Any] | None
    profile: bytes | None = None


def explain(error: Exception) -> str:
    """Why a picture could not be read, from what Pillow raised, in one line."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not a PNG, JPEG, WebP, BMP or GIF picture, or its beginning is damaged"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"claims more than {MAX_PIXELS // 1_000_000} million pixels"
    message = printable(" ".join(str(error).split()))[:150]
    return message or type(error).__name__


def read_header(data: bytes) -> Header:
    """What the encoded picture `data` says about itself, without decoding its pixels.

    Raises `Unreadable` if it is not a picture in one of `FORMATS`.
    """
    try:
        with _open(data) as picture:
            width, height = picture.size
            if _orientation(picture) >= 5:  # a quarter turn
                width, height = height, width
            return Header(width, height, picture.mode, _is_grey(picture), picture.has_transparency_data)
    except (
        Exception
    ) as error:  # a hostile file can raise nearly anything in Pillow, and must never end the program
        raise Unreadable(explain(error)) from error


def decode(data: bytes, target: Target, options: DataOptions) -> NDArray[np.uint8]:
    """The encoded picture `data` as uint8 `[channels, height, width]`.

    Raises `Unreadable` if it is not a picture in one of `FORMATS` or its data are damaged.
    """
    try:
        with _open(data) as picture:
            # A JPEG can be decoded at 1/2, 1/4 or 1/8; twice the final size leaves the resampling its
            # quality.
            if target.centre_crop is None:
                picture.draft(None, (2 * target.shape[2], 2 * target.shape[1]))
            upright = _upright(picture)
            plain = flatten(upright, target.shape[0], options.background)
        if target.centre_crop is not None:
            plain = _crop_centre(plain, target.centre_crop)
        return to_array(fit(plain, target.shape[2], target.shape[1], options))
    except Exception as error:
        raise Unreadable(explain(error)) from error


def decode_halves(
    data: bytes, targets: tuple[Target, Target], options: DataOptions
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The left and the right half of the encoded picture `data`, each as `decode` gives a picture.

    Raises `Unreadable` as `decode`.
    """
    try:
        with _open(data) as picture:
            upright = _upright(picture)
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
    """The encoded picture `data` in colour on white at its own size, uint8 `[3, height, width]`."""
    try:
        with _open(data) as picture:
            return to_array(flatten(_upright(picture), 3, "white"))
    except Exception as error:
        raise Unreadable(explain(error)) from error


def decode_exactly(data: bytes) -> Whole:
    """The encoded picture `data` at its own size and depth, with its transparency and colour profile.

    Raises `Unreadable` as `decode`.
    """
    whole = _decode_exactly(data)
    with _open(data) as picture:
        profile = picture.info.get("icc_profile")
    return replace(whole, profile=profile) if isinstance(profile, bytes) and profile else whole


def _decode_exactly(data: bytes) -> Whole:
    try:
        with _open(data) as picture:
            if isinstance(picture, PngImagePlugin.PngImageFile) and str(picture.tile[0].args).endswith(
                ";16B"
            ):
                return _decode_16_bits(data, str(picture.tile[0].args))
            upright = _upright(picture)
            grey, alpha = _is_grey(upright), upright.has_transparency_data
            if upright.mode.startswith("I"):  # other formats' 16 bits of grey
                wide = np.asarray(upright).astype(np.int64).clip(0, 65535).astype(np.uint16)
                return Whole(wide[None], None)
            array = np.asarray(
                upright.convert(("LA" if grey else "RGBA") if alpha else "L" if grey else "RGB")
            )
        return _split(array if array.ndim == 3 else array[:, :, None], alpha)
    except Exception as error:
        raise Unreadable(explain(error)) from error


def _decode_16_bits(data: bytes, raw_mode: str) -> Whole:
    """A PNG of 16 bits a channel, of which Pillow keeps the higher 8: read again for the lower ones."""
    with _open(data) as picture:
        clear = picture.info.get("transparency")  # the one colour that is not to be seen, if any
        if raw_mode == "I;16B":
            grey = np.asarray(_upright(picture)).astype(np.uint16)
            return Whole(grey[None], None if clear is None else _all_but(grey[None], (clear,)))
    if raw_mode == "LA;16B":  # as many bytes a pixel as RGBA, which are then high, low, high, low
        parts = _read_as(data, "RGBA").astype(np.uint16)
        return _split(parts[:, :, 0::2] << 8 | parts[:, :, 1::2], alpha=True)
    high, low = _read_as(data, raw_mode), _read_as(data, raw_mode.replace("16B", "16L"))
    whole = _split(high.astype(np.uint16) << 8 | low, alpha=raw_mode.startswith("RGBA"))
    return whole if clear is None else Whole(whole.colours, _all_but(whole.colours, clear))


def _all_but(colours: NDArray[np.uint16], clear: tuple[int, ...]) -> NDArray[np.uint16]:
    """Alpha of 16 bits `[height, width]` that hides the colour `clear`."""
    seen = (colours != np.array(clear, np.uint16)[:, None, None]).any(0)
    return np.where(seen, np.uint16(65535), np.uint16(0))


def _read_as(data: bytes, raw_mode: str) -> NDArray[np.uint8]:
    """The bytes of a PNG, upright, as if its pixels were stored as Pillow calls `raw_mode`."""
    with _open(data) as picture:
        assert isinstance(picture, PngImagePlugin.PngImageFile)
        picture.tile = [tile._replace(args=raw_mode) for tile in picture.tile]
        return np.asarray(_upright(picture))


def _split(array: NDArray[Any], alpha: bool) -> Whole:
    """`array` `[height, width, channels]`, the last one alpha if there is some."""
    channels = array.transpose(2, 0, 1)
    if not alpha:
        return Whole(np.ascontiguousarray(channels), None)
    return Whole(np.ascontiguousarray(channels[:-1]), np.ascontiguousarray(channels[-1]))


def flatten(picture: Image.Image, channels: int, background: str) -> Image.Image:
    """`picture` as 8-bit grey (1 channel) or RGB (3), on `background` where it is transparent."""
    mode = "L" if channels == 1 else "RGB"
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64).clip(0, 65535)
        # 65535 = 257 * 255, so this is the nearest of 256 levels; Pillow's own conversion clips at 255.
        picture = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    elif picture.has_transparency_data:
        clear = picture.convert("RGBA")
        sheet = Image.new("RGBA", clear.size, background)
        picture = Image.alpha_composite(sheet, clear)
    return picture if picture.mode == mode else picture.convert(mode)


def fit(picture: Image.Image, width: int, height: int, options: DataOptions) -> Image.Image:
    """`picture` (L or RGB) at exactly `width` x `height`, by the way that `options.fit` names."""
    own_width, own_height = picture.size
    if (own_width, own_height) == (width, height):
        return picture
    across, down = width / own_width, height / own_height
    scale = {"crop": max(across, down), "pad": min(across, down), "stretch": min(across, down)}[options.fit]
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    if options.fit == "stretch":
        return picture.resize((width, height), resample)
    if options.fit == "crop":
        left, top = (own_width - width / scale) / 2, (own_height - height / scale) / 2
        box = (max(left, 0), max(top, 0), min(own_width - left, own_width), min(own_height - top, own_height))
        return picture.resize((width, height), resample, box=box)
    inner = (max(1, min(width, round(own_width * scale))), max(1, min(height, round(own_height * scale))))
    sheet = Image.new(picture.mode, (width, height), options.background)
    sheet.paste(picture.resize(inner, resample), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return sheet


def to_array(picture: Image.Image) -> NDArray[np.uint8]:
    """`picture` (L or RGB) as uint8 `[channels, height, width]`."""
    array = np.asarray(picture, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _open(data: bytes) -> Image.Image:
    if not data:
        raise Unreadable("empty file")
    picture = Image.open(io.BytesIO(data), formats=FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        raise Unreadable(f"claims {picture.width}x{picture.height} pixels")
    return picture


def _orientation(picture: Image.Image) -> int:
    # `getexif` of a PNG without the chunk at its front decodes everything in search of one behind the pixels.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    try:
        value = picture.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF says nothing about the pixels: the picture stays as it is stored
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _upright(picture: Image.Image) -> Image.Image:
    orientation = _orientation(picture)
    picture.load()
    for turn in TURNS.get(orientation, ()):
        picture = picture.transpose(turn)
    return picture


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        palette = np.asarray(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return picture.mode in ("1", "L", "LA", "La") or picture.mode.startswith("I")


def _crop_centre(picture: Image.Image, side: int) -> Image.Image:
    width, height = picture.size
    left, top = max(0, (width - side) // 2), max(0, (height - side) // 2)
    return picture.crop((left, top, min(width, left + side), min(height, top + side)))
