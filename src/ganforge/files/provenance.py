"""What the package wrote says so: provenance in a file, and whether a file may be replaced."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganforge.errors import UserError, printable
from ganforge.files.png import read_text
from ganforge.files.video import VIDEOS, read_comment

DESCRIPTION = 0x010E
"""The EXIF tag ImageDescription, which holds the provenance of .webp and .jpg as JSON."""
LONGEST_DESCRIPTION = 60_000  # bytes: EXIF has less than 64 KiB
HTML_MARK = b'<meta name="generator" content="ganforge">'
LATEX_MARK, MARKDOWN_MARK = b"% ganforge compare", b"<!-- ganforge compare -->"
TABLE_MARKS = (b"group,run,seed,", b"score,unit,protocol,", LATEX_MARK, MARKDOWN_MARK)
"""How tables of `ganforge compare` begin; the second one those of 0.2 and before."""
LONGEST_HEAD = 4_096  # bytes of a text file that are searched for a mark
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)


def check_replaceable(path: Path, overwrite: bool = False, option: str = "--out") -> str:
    """How `path` is said to be replaced, "" where it does not exist.

    Raises UserError for a folder, and, without `overwrite`, for a file that this package has not written.
    """
    if not os.path.lexists(path):
        return ""
    shown = f"{option} {printable(str(path))}"
    if path.is_dir():
        raise UserError(f"{shown} is a folder: name a file")
    if is_own(path):
        return ", replaced the earlier one"
    if not overwrite:
        raise UserError(
            f"{shown} exists and was not made by ganforge: name another file, or replace it with --overwrite"
        )
    return ", replaced another file"


def is_own(path: Path) -> bool:
    """Whether this package has written the file: an image or array with provenance, a table, a page."""
    return read_provenance(path).keys() >= {"run", "step"} or _has_mark(path)


def read_provenance(path: Path) -> dict[str, str]:
    """The texts that an image or .npz carries about its origin; none where it cannot be read."""
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return _texts(str(arrays["about"]))
        if path.suffix.lower() in VIDEOS:
            return _texts(read_comment(path) or "{}")
        if texts := read_text(path):  # of a PNG, however large
            return texts
        with Image.open(path) as image:
            if image.format == "GIF":
                return _texts(image.info.get("comment", b"").decode("utf-8", "replace"))
            return _texts(str(image.getexif().get(DESCRIPTION, "")))
    except (*UNREADABLE, UnidentifiedImageError):
        return {}


def embedded(form: str, about: Mapping[str, str]) -> dict[str, Any]:
    """The options of Pillow's `save` that put `about` into a "GIF", "WEBP" or "JPEG"."""
    values = dict(sorted(about.items()))
    while len(text := json.dumps(values)) > LONGEST_DESCRIPTION:  # ASCII, as EXIF wants it
        longest = max(values, key=lambda key: len(values[key]))
        values[longest] = values[longest][: len(values[longest]) // 2] + "..."
    if form == "GIF":
        return {"comment": text.encode()}
    exif = Image.Exif()
    exif[DESCRIPTION] = text
    return {"exif": exif.tobytes()}


def _texts(text: str) -> dict[str, str]:
    values = json.loads(text)
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _has_mark(path: Path) -> bool:
    """Whether a page or table of `ganforge compare` is in the file."""
    try:
        with open(path, "rb") as file:
            head = file.read(LONGEST_HEAD)
    except OSError:
        return False
    return HTML_MARK in head or head.startswith(TABLE_MARKS)
