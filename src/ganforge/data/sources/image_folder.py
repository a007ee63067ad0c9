"""The ImageFolder convention: the images of a folder or zip, their splits, classes, captions, partners.

`metadata.jsonl` or `metadata.csv` (columns `file_name`, a label, `text`/`texts`/`caption`, `split`,
`*_file_name`) decides if there is one; else sub-folders are classes, top-level folders train, validation
(or val) and test are splits, and cat.txt next to cat.png holds its captions, one a line.
"""

import csv
import io
import json
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ganforge.data.decode import Unreadable
from ganforge.data.sources.storage import Storage, is_hidden, is_image_name, is_unsafe
from ganforge.errors import UserError, printable

METADATA = ("metadata.jsonl", "metadata.csv")
SPLITS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An image by file name, with its metadata.

    `partners` are its `*_file_name` columns, `source_file_name` first: the first is its source.
    """

    name: str
    split: str = "train"
    label: str | None = None
    captions: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """The images of a folder or archive, in order.

    `class_order` is the content of `classes.json`, which `pack` writes; empty: classes are sorted by name.
    `unlisted` counts images that the metadata do not name.
    """

    entries: tuple[Entry, ...]
    class_order: tuple[str, ...] = ()
    unlisted: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of their label numbers; none unless every image has a label."""
        names = {entry.label for entry in self.entries}
        if None in names or len(names) < 2:
            return ()
        plain = {name for name in names if name is not None}
        if self.class_order and plain <= set(self.class_order):
            return self.class_order
        # Numbers in the order of numbers, so that the label "10" is not number 2.
        return tuple(sorted(plain, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name)))


def list_images(storage: Storage, place: str, label_column: str) -> Listing:
    """The images in `storage` by the ImageFolder convention; `place` names it in errors.

    Raises UserError if there are no images or the metadata are malformed.
    """
    images = [name for name in storage.names if is_image_name(name)]
    tables = [name for name in storage.names if posixpath.basename(name) in METADATA and not is_hidden(name)]
    if not tables and "metadata.parquet" in storage.names:
        raise UserError(
            f"{place} has metadata.parquet, which is not read: write it as metadata.jsonl or metadata.csv"
        )
    entries = (
        _from_tables(storage, tables, place, label_column)
        if tables
        else _from_folders(images, place, storage)
    )
    if not entries:
        raise UserError(
            f"{place} holds no images: expected PNG, JPEG, WebP, BMP or GIF files in it or in sub-folders; "
            "see `ganforge list data` for data that needs no folder"
        )
    named = {entry.name for entry in entries} | {name for entry in entries for name in entry.partners}
    unlisted = sum(name not in named for name in images)
    return Listing(tuple(entries), _class_order(storage), unlisted)


def _from_folders(names: list[str], place: str, storage: Storage) -> list[Entry]:
    inside = names
    # A single outer folder, as most zip programs add, says nothing.
    while inside and len({_top(name) for name in inside}) == 1 and _top(inside[0]) not in ("", *SPLITS):
        inside = [name.split("/", 1)[1] for name in inside]
    split_of = _folder_splits(inside, place)
    entries, texts = [], {name for name in storage.names if name.endswith(".txt")}
    for name, inner in zip(names, inside, strict=True):
        split = split_of.get(_top(inner), "train")
        label = _top(inner.split("/", 1)[1] if split_of else inner)
        text = f"{posixpath.splitext(name)[0]}.txt"
        captions = _lines_of(storage, text, place) if text in texts else ()
        entries.append(Entry(name, split, label or None, captions))
    return entries


def _lines_of(storage: Storage, name: str, place: str) -> tuple[str, ...]:
    """The captions in the text file `name`, one a line."""
    try:
        return _nonempty(storage.read(name).decode("utf-8-sig").splitlines())
    except (Unreadable, ValueError) as error:
        raise UserError(
            f"{place}: {printable(name)} cannot be read as captions ({printable(str(error))[:99]}): expected "
            "UTF-8 text with one caption a line"
        ) from error


def _nonempty(texts: Iterable[object]) -> tuple[str, ...]:
    return tuple(text for text in map(str, texts) if text.strip())


def _top(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""


def _folder_splits(names: list[str], place: str) -> dict[str, str]:
    """Top-level folder -> split; empty if the top-level folders are no splits."""
    tops = {_top(name) for name in names}
    if tops <= SPLITS.keys():
        return {top: SPLITS[top] for top in tops}
    if "train" in tops:
        others = ", ".join(
            printable(top) if top else "loose images" for top in sorted(tops - SPLITS.keys())[:3]
        )
        raise UserError(
            f"{place} has a folder train next to {others}: splits or classes? Keep only train, "
            "validation and test at the top, or add a metadata.jsonl with the columns file_name, label and "
            "split"
        )
    return {}


def _from_tables(storage: Storage, tables: list[str], place: str, label_column: str) -> list[Entry]:
    folders = {posixpath.dirname(table): table for table in reversed(tables)}
    chosen = {folder: posixpath.join(folder, "metadata.jsonl") for folder in folders}
    chosen = {folder: table if table in tables else folders[folder] for folder, table in chosen.items()}
    rows = [
        (folder, f"{place}: {table} row {number}", row)
        for folder, table in sorted(chosen.items())
        for number, row in _rows(storage, table, place)
    ]
    names = [_image_name(folder, where, row) for folder, where, row in rows]
    if not any(row.get("split") for _, _, row in rows):
        split_of = _folder_splits(names, place) if any(_top(name) == "train" for name in names) else {}
    else:
        split_of = {}
    entries: dict[str, Entry] = {}
    for name, (folder, where, row) in zip(names, rows, strict=True):
        if name in entries:
            raise UserError(
                f"{where}: file_name {printable(name)!r} is a duplicate: expected one row for each image"
            )
        split = str(row.get("split") or split_of.get(_top(name), "train")).lower()
        label = row.get(label_column)
        entries[name] = Entry(
            name=name,
            split=SPLITS.get(split, split),
            label=None if label is None or label == "" else str(label),
            captions=_captions(row),
            partners=tuple(_partners(folder, where, row)),
        )
    return list(entries.values())


def _rows(storage: Storage, table: str, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = storage.read(table).decode("utf-8-sig")
        if table.endswith(".csv"):
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            yield from ((number, dict(row)) for number, row in enumerate(reader, start=1))
            return
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is not an object")
                yield number, row
    except (Unreadable, ValueError, csv.Error, RecursionError) as error:
        reason = printable(" ".join(str(error).split()))[:150]
        raise UserError(
            f"{place}: {table} cannot be read ({reason}): expected UTF-8 text with one row for each image, "
            'such as {"file_name": "cat.png", "label": "cat"}'
        ) from error


def _image_name(folder: str, where: str, row: dict[str, Any]) -> str:
    for column in ("file_name", "target_file_name"):
        if row.get(column):
            return _checked_name(folder, where, row[column])
    raise UserError(f"{where} has no file_name: expected the image's name relative to the metadata file")


def _partners(folder: str, where: str, row: dict[str, Any]) -> Iterator[str]:
    own = "file_name" if row.get("file_name") else "target_file_name"
    columns = [column for column in row if isinstance(column, str) and column.endswith("_file_name")]
    for column in sorted(columns, key=lambda column: column != "source_file_name"):
        if column != own and row[column]:
            yield _checked_name(folder, where, row[column])


def _checked_name(folder: str, where: str, name: object) -> str:
    if not isinstance(name, str) or is_unsafe(name):
        shown = printable(str(name))[:80]
        raise UserError(
            f"{where}: file name {shown!r} is rejected: expected a relative path without '..' or '://'"
        )
    return posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))


def _captions(row: dict[str, Any]) -> tuple[str, ...]:
    for column in ("texts", "captions", "text", "caption"):
        value = row.get(column)
        captions = _nonempty([value] if isinstance(value, str) else value if isinstance(value, list) else [])
        if captions:
            return captions
    return ()


def _class_order(storage: Storage) -> tuple[str, ...]:
    if "classes.json" not in storage.names:
        return ()
    try:
        names = json.loads(storage.read("classes.json"))
    except (Unreadable, ValueError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()
