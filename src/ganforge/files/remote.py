"""Files of object stores and web servers by URL, read in parts through fsspec."""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any, BinaryIO, TypeVar, cast

from ganforge.errors import UserError, printable
from ganforge.files.download import refuse_offline

SCHEMES = ("s3", "gs", "az", "http", "https")
PAUSES = (0.5, 2.0, 8.0)
"""Seconds before each further attempt."""
Result = TypeVar("Result")


def is_remote(place: str) -> bool:
    """Whether `place` is a URL."""
    return "://" in place


@cache
def _system(scheme: str, process: int) -> Any:
    """Fsspec's file system of `scheme`, one for each process: its connections do not survive a fork."""
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise UserError(
            f"{scheme}:// needs a library of fsspec ({error}): for s3 type `pip install 'ganforge[shards]'`"
        ) from error


def _checked(url: str) -> Any:
    """The file system of `url`; raises UserError for another scheme, and where downloads are refused."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or "::" in rest:
        raise UserError(f"{printable(url)} cannot be read: expected a path, or a URL of {', '.join(SCHEMES)}")
    refuse_offline(printable(url))
    return _system(scheme, os.getpid())


def _attempted(url: str, work: Callable[[Any], Result]) -> Result:
    """What `work` gives of the file system of `url`, tried again where the network fails for a moment.

    Raises FileNotFoundError where there is no such file, UserError where all attempts fail.
    """
    system = _checked(url)
    for pause in (*PAUSES, None):
        try:
            return work(system)
        except FileNotFoundError:
            raise
        except Exception as error:  # fsspec passes on whatever the library of each store raises
            if pause is not None:
                time.sleep(pause)
                continue
            reason = printable(" ".join(str(error).split()))[:150]
            raise UserError(
                f"{printable(url)} could not be read ({type(error).__name__}: {reason}): check address, "
                "network and credentials, then type the same command"
            ) from error
    raise AssertionError


def list_files(folder: str) -> dict[str, int]:
    """The files of the folder at the URL `folder`, by name, with their sizes in bytes; raises as `read`."""

    def work(system: Any) -> dict[str, int]:
        system.invalidate_cache()
        files = {
            each["name"]: each["size"] for each in system.ls(folder, detail=True) if each["type"] == "file"
        }
        unknown = [name for name, size in files.items() if size is None]  # as in a web server's list
        files |= dict(zip(unknown, system.sizes(unknown), strict=True)) if unknown else {}
        return {name.rpartition("/")[2]: int(size or 0) for name, size in files.items()}

    return _attempted(folder, work)


def read(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """The bytes `start` to `end` of the file at `url`, or all of them.

    Raises FileNotFoundError where there is none, UserError where it cannot be read.
    """
    content = _attempted(url, lambda system: bytes(system.cat_file(url, start=start, end=end)))
    if start is not None and end is not None and len(content) > end - start:
        raise UserError(f"{printable(url)}: its server sends whole files only, where parts are needed")
    return content


def open_stream(url: str) -> BinaryIO:
    """The file at `url`, to be read once from its beginning; raises as `read`."""
    return _attempted(url, lambda system: cast(BinaryIO, system.open(url, "rb", cache_type="readahead")))
