"""Write PNG files band by band, with 8 or 16 bits a channel: images need not fit into memory."""

import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ganforge.files.atomic import replacing

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey and alpha, RGB, RGBA
COMPRESSION = 4
LONGEST_TEXT = 2**20  # bytes of a text chunk
SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = {b"iTXt": (b"\0\0\0\0\0", "utf-8"), b"tEXt": (b"\0", "latin-1")}
UP = 2  # the filter that stores the difference to the row above


def write_png(
    path: Path,
    width: int,
    height: int,
    bands: Iterable[NDArray[Any]],
    about: Mapping[str, str],
    profile: bytes | None = None,
) -> None:
    """Write `bands` `[rows, width, 1 to 4 channels]`, uint8 or uint16, one below the other, to `path`.

    `about` becomes text chunks, sorted; the ICC `profile` is kept where it has as many colours. The
    file appears complete or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        _write(file, width, height, bands, about, profile)


def read_text(path: Path) -> dict[str, str]:
    """The uncompressed text chunks before the pixels, as we write them; none for other files."""
    texts: dict[str, str] = {}
    try:
        with open(path, "rb") as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                return {}
            while len(head := file.read(8)) == 8:
                length, kind = struct.unpack(">I4s", head)
                if kind in (b"IDAT", b"IEND") or (kind in TEXTS and length > LONGEST_TEXT):
                    break
                if kind in TEXTS:
                    separator, encoding = TEXTS[kind]
                    data = file.read(length)
                    if len(data) < length:
                        break
                    key, _, text = data.partition(separator)
                    texts[key.decode("latin-1")] = text.decode(encoding, "replace")
                    length = 0
                file.seek(length + 4, os.SEEK_CUR)
    except OSError:
        return {}
    return texts


def _write(
    file: BinaryIO,
    width: int,
    height: int,
    bands: Iterable[NDArray[Any]],
    about: Mapping[str, str],
    profile: bytes | None,
) -> None:
    packer, above, written = zlib.compressobj(COMPRESSION), None, 0
    for band in bands:
        rows, _, channels = band.shape
        # The bytes of a pixel, the highest first.
        lines = np.ascontiguousarray(band, dtype=band.dtype.newbyteorder(">")).view(np.uint8)
        lines = lines.reshape(rows, -1)
        if above is None:
            file.write(SIGNATURE)
            bits = 8 * band.dtype.itemsize
            head = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[channels], 0, 0, 0)
            _chunk(file, b"IHDR", head)
            if profile is not None and profile[16:20] == (b"GRAY" if channels < 3 else b"RGB "):
                _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
            for key, value in sorted(about.items()):
                text = value.encode("utf-8", "backslashreplace").replace(b"\0", b"\\0")
                _chunk(file, b"iTXt", key.encode() + b"\0\0\0\0\0" + text)
            above = np.zeros_like(lines[:1])
        filtered = np.full((rows, 1 + lines.shape[1]), UP, np.uint8)
        np.subtract(lines, np.concatenate([above, lines[:-1]]), out=filtered[:, 1:])
        above, written = lines[-1:].copy(), written + rows
        if data := packer.compress(filtered.tobytes()):
            _chunk(file, b"IDAT", data)
    assert written == height
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
