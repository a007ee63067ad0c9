"""Reading what anybody may have written: regular files alone, of bounded size, and JSON of bounded depth."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MOST_JSON_BYTES = 8 * 2**20
MOST_LEVELS = 32


def kind_of(mode: int) -> str:
    """What a file of `mode` is, where it is not a regular one, with its article."""
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISLNK: "a link",
             stat.S_ISCHR: "a device", stat.S_ISBLK: "a device", stat.S_ISSOCK: "a socket"}  # fmt: skip
    return next((text for is_kind, text in kinds.items() if is_kind(mode)), "no regular file")


def read_regular(path: Path, most_bytes: int | None = None) -> bytes:
    """The content of the file `path`; raises OSError where it is a link, pipe, device or folder, or larger.

    None of them is waited for, and no more than `most_bytes` are read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link, expected a file", str(path)) from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{kind_of(status.st_mode)}, expected a file", str(path))
    with open(descriptor, "rb") as file:
        if most_bytes is not None and status.st_size > most_bytes:
            raise OSError(
                errno.EFBIG, f"{status.st_size:,} bytes, expected at most {most_bytes:,}", str(path)
            )
        return file.read()


def read_json(path: Path) -> Any:
    """The JSON in `path`; raises OSError as `read_regular`, and ValueError as `parse_json`."""
    return parse_json(read_regular(path, MOST_JSON_BYTES))


def parse_json(content: bytes) -> Any:
    """The value of JSON; raises ValueError where it is none, too deep, or has halves of characters."""
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            break
    else:
        raise ValueError("nested too deeply")
    if b"\\u" in content:
        try:
            json.dumps(value, ensure_ascii=False).encode(errors="surrogateescape")  # as in odd file names
        except UnicodeEncodeError:
            raise ValueError("a text with half of a character") from None
    return value
