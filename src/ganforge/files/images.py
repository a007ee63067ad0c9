"""Image files with their provenance: PNG, JPEG, WebP and GIF, written whole."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ganforge.errors import UserError
from ganforge.files.atomic import replace_file
from ganforge.files.provenance import embedded

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".gif": "GIF"}
ANIMATIONS = (".gif", ".webp")
LARGEST = {"PNG": 2**31 - 1, "JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535}  # pixels a side
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


def save_image(
    image: Image.Image,
    path: Path,
    about: Mapping[str, str],
    *,
    frames: Sequence[Image.Image] = (),
    milliseconds: int = 0,
    background: str = "white",
    profile: bytes | None = None,
) -> None:
    """Write `image` to `path` atomically, in the format of its ending, with `about` (command, seed, ...).

    A PNG has `about` in its text chunks, a JPEG or WebP as JSON in the description of its EXIF, a GIF in its
    comment. `frames` follow in an animation (.gif, .webp), which repeats. A JPEG has the `background` where
    the image is transparent; a GIF has clear and opaque pixels. `profile`: ICC, where the format has it.
    Equal input gives equal bytes: no time stamp, keys sorted. Raises UserError for a key that PNG forbids,
    and for an image too large for the format.
    """
    content = encode_image(
        image,
        FORMATS[path.suffix.lower()],
        about,
        str(path),
        frames=frames,
        milliseconds=milliseconds,
        background=background,
        profile=profile,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


def encode_image(
    image: Image.Image,
    form: str,
    about: Mapping[str, str],
    name: str = "image",
    *,
    frames: Sequence[Image.Image] = (),
    milliseconds: int = 0,
    background: str = "white",
    profile: bytes | None = None,
) -> bytes:
    """What `save_image` writes, in Pillow's format `form`; errors call the image `name`."""
    if max(image.size) > LARGEST[form]:
        width, height = image.size
        raise UserError(
            f"{name}: {width}x{height} pixels, but {form} has at most {LARGEST[form]} a side: use .png"
        )
    options = dict(OPTIONS.get(form, {})) | _described(form, about)
    if profile is not None and form != "GIF":
        options["icc_profile"] = profile
    if frames:
        options |= {"save_all": True, "append_images": list(frames), "duration": milliseconds, "loop": 0}
    if form == "JPEG":
        image = on_background(image, background)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def on_background(image: Image.Image, background: str) -> Image.Image:
    """`image` without alpha, on a `background` where it is transparent."""
    if not image.has_transparency_data:
        return image if image.mode in ("L", "RGB") else image.convert("RGB")
    clear = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", clear.size, background), clear)
    return flat.convert("L" if image.mode in ("LA", "La") else "RGB")


def _described(form: str, about: Mapping[str, str]) -> dict[str, Any]:
    """Pillow's options that store `about` in an image of that format."""
    for key in about:
        if not (1 <= len(key) <= 79 and key.isascii() and key.isprintable() and key == key.strip()):
            raise UserError(f"a PNG text key is 1 to 79 printable ASCII characters, got {key!r}")
    # A command line may hold undecodable bytes (surrogates), and a zero would end the text of a chunk early.
    clean = {
        key: value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
        for key, value in sorted(about.items())
    }
    if form == "PNG":
        chunks = PngImagePlugin.PngInfo()
        for key, value in clean.items():
            chunks.add_text(key, value)
        return {"pnginfo": chunks}
    return embedded(form, clean)
