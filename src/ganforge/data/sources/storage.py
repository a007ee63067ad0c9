"""Storage of encoded images: a folder or a zip archive, read by name, one file at a time."""

import os
import stat
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import final

from ganforge.data.decode import Unreadable, explain
from ganforge.data.formats import HEAD_BYTES, READ_SUFFIXES, SUFFIXES, starts_like_image
from ganforge.errors import UserError, printable

MAX_FILE_BYTES = 256 * 2**20
KEPT_BYTES = 2**30
"""Of encoded files between the pass that reads their headers and the one that decodes them."""


def is_unsafe(name: str) -> bool:
    """Whether `name` could escape its folder: absolute, with `..` in it, or a URL."""
    parts = name.replace("\\", "/").split("/")
    return "://" in name or ".." in parts or parts[0] == "" or parts[0].endswith(":") or "\0" in name


def is_hidden(name: str) -> bool:
    """Whether a part of `name` is hidden, as in `.cache/` or in macOS's `._x.jpg` and `__MACOSX/`."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def is_image_name(name: str) -> bool:
    """Whether `name` ends like an image and is not hidden."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def is_image_file(path: Path) -> bool:
    """Whether the file at `path` is an image by its name or its content."""
    return is_image_name(path.name) or (path.is_file() and starts_like_image(_head_of(path)))


def _head_of(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # before `open`, which would block on a FIFO
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def read_regular(path: Path) -> bytes:
    """The whole file at `path`; raises `Unreadable` if it is not a regular one or too large."""
    try:
        status = os.stat(path)  # before `open`, which would block on a FIFO
        if stat.S_ISDIR(status.st_mode):
            raise Unreadable("a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise Unreadable(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Unreadable("missing") from error
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error


class Storage(ABC):
    """Files by name, with `/` between folders, in sorted order."""

    names: list[str]
    links_outside: Sequence[str] = ()
    """Links that lead out of a folder."""

    @cached_property
    def image_names(self) -> list[str]:
        """The files that are images by name or, without the ending of one, by content."""
        return [name for name in self.names if is_image_name(name) or self._hides_image(name)]

    def _hides_image(self, name: str) -> bool:
        return not is_hidden(name) and not is_unsafe(name) and starts_like_image(self.head(name))

    def head(self, name: str) -> bytes:
        """The first bytes of the file, which tell its format; none where it cannot be read."""
        try:
            return self.read(name)[:HEAD_BYTES]
        except Unreadable:
            return b""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The whole file; raises `Unreadable` if that is not possible."""

    @abstractmethod
    def size(self, name: str) -> int:
        """The file's size in bytes, 0 if it has none."""

    def stamp(self, name: str) -> str | None:
        """What changes with the file's content, without reading it; None where nothing does."""
        return None


@final
class Folder(Storage):
    """A folder and everything below it; links to folders are followed, each folder once."""

    def __init__(self, root: Path):
        self.root = root
        self._root = str(root)
        self._inside = os.path.realpath(root)
        self.links_outside: list[str] = []
        self.names = sorted(self._walk())
        self.links_outside.sort()

    def _walk(self) -> list[str]:
        names: list[str] = []
        seen: set[tuple[int, int]] = set()
        # Linked folders come last, so that a folder has its own name rather than that of a link to it.
        waiting, linked = [""], list[str]()
        while waiting or linked:
            prefix = waiting.pop() if waiting else linked.pop()
            try:
                place = os.stat(self.root / prefix)
                if (place.st_dev, place.st_ino) in seen:
                    continue
                seen.add((place.st_dev, place.st_ino))
                items = list(os.scandir(self.root / prefix))
            except OSError:
                continue
            for item in items:
                name = f"{prefix}/{item.name}" if prefix else item.name
                if item.is_symlink() and not self._stays_inside(name):
                    self.links_outside.append(name)
                if not _is_folder(item) or (name.lower().endswith(READ_SUFFIXES) and not is_hidden(name)):
                    names.append(name)
                elif item.is_symlink():
                    linked.append(name)
                else:
                    waiting.append(name)
        return names

    def _stays_inside(self, name: str) -> bool:
        place = os.path.realpath(self.root / name)
        return os.path.commonpath([place, self._inside]) == self._inside

    def read(self, name: str) -> bytes:
        """The whole file; raises `Unreadable` if that is not possible."""
        if is_unsafe(name):
            raise Unreadable("its name escapes the folder")
        return read_regular(self.root / name)

    def head(self, name: str) -> bytes:
        """The first bytes of the file, which tell its format; none where it cannot be read."""
        return _head_of(self.root / name)

    def size(self, name: str) -> int:
        """The file's size in bytes, 0 if it has none."""
        try:
            return os.stat(self.root / name).st_size
        except OSError:
            return 0

    def stamp(self, name: str) -> str | None:
        """Its size, and when it was last changed; None without either."""
        try:
            status = os.stat(f"{self._root}/{name}")  # a Path takes longer than the file system
        except OSError:
            return None
        return f"{status.st_size} {status.st_mtime_ns}"


@final
class Archive(Storage):
    """A zip archive, read by random access; nothing is ever extracted to disk."""

    def __init__(self, path: Path):
        try:
            self._archive = zipfile.ZipFile(path)
            self._members = {
                member.filename: member for member in self._archive.infolist() if not member.is_dir()
            }
        except Exception as error:  # like Pillow, zipfile can raise nearly anything on a hostile file
            raise UserError(
                f"{printable(str(path))} cannot be read as a zip archive ({explain(error)}): "
                "expected a folder or a .zip of images; pack it again, or give the unpacked folder"
            ) from error
        self.names = sorted(self._members)

    def read(self, name: str) -> bytes:
        """The whole file; raises `Unreadable` if that is not possible."""
        member = self._members.get(name)
        if member is None:
            raise Unreadable("missing")
        if is_unsafe(name):
            raise Unreadable("its name escapes the archive")
        if max(member.file_size, member.compress_size) > MAX_FILE_BYTES:
            raise Unreadable(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
        try:
            with self._archive.open(member) as file:
                # A bound, because `read()` unpacks a whole block before it looks at the promised size.
                return file.read(member.file_size + 1)
        except Exception as error:
            raise Unreadable(explain(error)) from error

    def head(self, name: str) -> bytes:
        """The first bytes of the file, which tell its format; none where it cannot be read."""
        try:
            with self._archive.open(self._members[name]) as file:
                return file.read(HEAD_BYTES)
        except Exception:  # as in `read`
            return b""

    def size(self, name: str) -> int:
        """The file's size in bytes, 0 if it has none."""
        member = self._members.get(name)
        return 0 if member is None else member.file_size

    def stamp(self, name: str) -> str | None:
        """Its size and checksum in the archive; None where it has none."""
        member = self._members.get(name)
        return None if member is None else f"{member.file_size} {member.CRC}"


@final
class ReadOnce(Storage):
    """Another storage for two passes over its files: what the first one reads is kept for the second.

    That is at most `most` bytes; what lies beyond is read again.
    """

    def __init__(self, storage: Storage, most: int = KEPT_BYTES):
        self._storage = storage
        self._room = most
        self._kept: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.names = storage.names

    def read(self, name: str) -> bytes:
        """The whole file; raises `Unreadable` if that is not possible."""
        with self._lock:
            data = self._kept.pop(name, None)
            if data is not None:
                self._room += len(data)
                return data
        data = self._storage.read(name)
        with self._lock:
            if len(data) <= self._room and name not in self._kept:
                self._kept[name] = data
                self._room -= len(data)
        return data

    def size(self, name: str) -> int:
        """The file's size in bytes, 0 if it has none."""
        return self._storage.size(name)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads to itself: kept as a file, so that reading it names the reason
        return False
