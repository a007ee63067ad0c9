"""Atomic, durable writes: a file is complete or absent, also after a power cut."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp-"
_together: set[Path] = set()
"""Folders whose files `synced_together` syncs."""


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Within this context an error of the disk names the file `path`, and not a temporary one or none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or TEMPORARY in str(error.filename)):
            error.filename, error.filename2 = str(path), None
        raise


def write_synced(path: Path, content: bytes) -> None:
    """Write `content` to `path` and wait until the disk has it."""
    with _named(path), open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _named(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` and its missing parents, and wait until the disk has their names."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when it is complete, and never in part."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
    synced = path.parent not in _together
    try:
        with _named(path):
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                if synced:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if synced:
        sync_folder(path.parent)


@contextmanager
def synced_together(folder: Path) -> Iterator[None]:
    """Within this context the disk need not have the files that are written in `folder`; at its end it has.

    Waiting for each of thousands of small files is most of the time that they take.
    """
    _together.add(folder)
    try:
        yield
    finally:
        _together.remove(folder)
    if sys.platform != "win32":
        os.sync()  # writes all at once, and leaves little to wait for
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDWR)
        try:
            with _named(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the free name `folder` when it is complete, and never in part."""
    temporary = folder.with_name(f"{folder.name}{TEMPORARY}{os.getpid()}")
    try:
        make_folder(temporary)
        yield temporary
        os.rename(temporary, folder)
    except BaseException:
        remove(temporary)
        raise
    sync_folder(folder.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Replace the file `path` as a whole: after a crash it holds the old content or the new, never a part."""
    with replacing(path) as file:
        file.write(content)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, pattern: str = "*") -> None:
    """Remove what writers of the files `pattern` in `folder` left half-written when they were killed."""
    for path in list(folder.glob(f"{pattern}{TEMPORARY}*")):
        writer = re.fullmatch(rf".*{re.escape(TEMPORARY)}(\d+)", path.name)
        if writer and not _lives(int(writer[1])):
            claimed = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
            try:
                os.rename(path, claimed)  # of processes that clear up at the same time one can
            except FileNotFoundError:
                continue
            remove(claimed)


def _lives(process: int) -> bool:
    """Whether another process of this number runs."""
    if process == os.getpid():
        return False
    if sys.platform == "win32":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
