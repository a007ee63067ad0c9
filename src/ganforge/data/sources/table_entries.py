"""Images as a table lists them: which file is such a table, and which of its columns is what."""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ganforge.data.sources.entry import Entry, encodable
from ganforge.data.sources.folder_names import folder_splits, split_named
from ganforge.data.sources.storage import Storage, is_hidden, is_unsafe
from ganforge.data.sources.tables import (
    CAPTION_COLUMNS,
    LABEL_COLUMNS,
    SUFFIXES,
    BadTable,
    Table,
    plain_name,
    read_table,
)
from ganforge.errors import UserError, printable

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.json")
_SPLIT_COLUMNS = ("Split", "partition", "subset", "set", "usage", "Usage")
_CELEBA_SPLITS = {"0": "train", "1": "validation", "2": "test"}
_NOT_TABLES = ("dataset.json", "classes.json")
_LARGEST = 64 * 2**20  # bytes
_MOST_TABLES, _DEEPEST = 20, 2
"""Files in how many folders are tried as tables, and how many: not the one of each of a million images."""


@dataclass(frozen=True)
class Found:
    """Entries, what "auto" is as a label column, notes, and the other files that were read."""

    entries: list[Entry]
    label_column: str
    notes: list[str]
    read: set[str]


class Names:
    """The images of a storage, found by the names that tables call them."""

    def __init__(self, images: Sequence[str]):
        self._images = dict.fromkeys(images)

    @cached_property
    def _by(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._images:
            short = posixpath.basename(name)
            keys = {posixpath.splitext(name)[0], short, posixpath.splitext(short)[0]} - {name}
            for key in keys:
                found.setdefault(key, []).append(name)
        return found

    def find(self, folder: str, value: str, split: str | None = None) -> list[str]:
        """The images that `value` in a table of `folder` can mean: a path or a name, with or without ending.

        Of several, those in a folder of the `split`.
        """
        path = posixpath.normpath(posixpath.join(folder, value.replace("\\", "/")))
        if path in self._images:
            return [path]
        several = self._by.get(path) or self._by.get(posixpath.normpath(value)) or []
        if len(several) > 1 and split is not None:
            fitting = [name for name in several if any(split_named(p) == split for p in name.split("/")[:-1])]
            several = fitting or several
        return several


def find_tables(
    storage: Storage, images: Sequence[str], place: str, label_column: str
) -> tuple[list[Table], list[Table]]:
    """The tables that list the images of `storage`: `metadata.*`, else what names them; none without any.

    And those that name the images too, but from which no column was chosen.

    Raises UserError where metadata cannot be read, or several tables are in question.
    """
    names = [name for name in storage.names if posixpath.basename(name) in METADATA and not is_hidden(name)]
    by_folder: dict[str, str] = {}
    for name in sorted(names, key=lambda name: METADATA.index(posixpath.basename(name)), reverse=True):
        by_folder[posixpath.dirname(name)] = name
    tables = [_metadata(storage, name, place) for _, name in sorted(by_folder.items())]
    if any(table is not None for table in tables):
        return [table for table in tables if table is not None], []
    if "metadata.parquet" in storage.names:
        raise UserError(
            f"{place} has metadata.parquet, which is not read: write it as metadata.jsonl or metadata.csv"
        )
    candidates = _candidates(storage, Names(images), set(images))
    chosen = _choose(candidates, place, label_column)
    return chosen, [table for table in candidates if table not in chosen]


def _metadata(storage: Storage, name: str, place: str) -> Table | None:
    try:
        table = read_table(storage, name)
        if not table.rows:
            raise BadTable("it has no rows")
        return table
    except BadTable as error:
        if name.endswith(".json"):  # also the name of files that are no tables
            return None
        raise UserError(
            f"{place}: {printable(name)} cannot be read ({error}): expected text with a row for each image, "
            'such as {"file_name": "cat.png", "label": "cat"}'
        ) from error


def _candidates(storage: Storage, names: Names, images: set[str]) -> list[Table]:
    """The tables of other names in which most rows name an image."""
    tables_by_name = [
        name
        for name in storage.names
        if name.lower().endswith(SUFFIXES) and not is_hidden(name) and name.count("/") <= _DEEPEST
        if posixpath.basename(name) not in _NOT_TABLES and "submission" not in name.lower()
    ]
    stems = {posixpath.splitext(name)[0] for name in images} if tables_by_name else set()
    files = [
        name
        for name in tables_by_name
        if posixpath.splitext(name)[0] not in stems and storage.size(name) <= _LARGEST
    ]
    tables = []
    for name in files[:_MOST_TABLES]:
        try:
            table = read_table(storage, name)
        except BadTable:
            continue
        column = _name_column(table, names)
        if column is not None and names.find(table.folder, column):  # the header is a row like the others
            table = table.without_header()
            column = _name_column(table, names)
        if column is not None:
            tables.append(table.renamed(column, "file_name"))
    return tables


def _name_column(table: Table, names: Names) -> str | None:
    """The column most of whose values name an image."""
    rows = [row for _, row in table.rows[:1000]]
    likely = table.name_column()
    for column in dict.fromkeys([likely, *table.columns] if likely else table.columns):
        values = [str(row[column]).strip() for row in rows if row.get(column) not in (None, "")]
        if values and 2 * sum(bool(names.find(table.folder, value)) for value in values) > len(values):
            return column
    return None


def _choose(tables: list[Table], place: str, label_column: str) -> list[Table]:
    if label_column in ("folder", "none") and not any(_captions(row) for t in tables for _, row in t.rows):
        return []
    with_labels = [table for table in tables if find_label(table, label_column) is not None]
    if not with_labels and label_column not in ("auto", "label") and tables:
        raise _no_column(tables, place, label_column)
    chosen = with_labels or [table for table in tables if any(_captions(row) for _, row in table.rows)]
    if len(chosen) > 1 and not all(split_named(_stem(table)) for table in chosen):
        shown = " and ".join(printable(table.name) for table in chosen[:3])
        raise UserError(f"{place}: {shown} name the same images: rename the right one to metadata.csv")
    return chosen


def _no_column(tables: list[Table], place: str, label_column: str) -> UserError:
    columns = list(dict.fromkeys(column for table in tables for column in _other_columns(table)))
    shown = ", ".join(printable(column) for column in columns[:40]) or "file names only"
    where = printable(tables[0].name) if len(tables) == 1 else "the metadata"
    return UserError(
        f"--label-column {printable(label_column)}: {place}: {where} has no such column: expected one of "
        f"{shown}{', ...' if len(columns) > 40 else ''}"
    )


def _stem(table: Table) -> str:
    return posixpath.splitext(posixpath.basename(table.name))[0]


def _other_columns(table: Table) -> list[str]:
    """The columns that could hold a class: no names of files, captions, splits or row numbers."""
    own = {*CAPTION_COLUMNS, _split_column(table), "file_name", table.name_column()}
    return [
        column
        for column in table.columns
        if column not in own and plain_name(column) not in ("", "unnamed", "index", "unnamed0")
        if not column.endswith("_file_name")
    ]


def find_label(table: Table, label_column: str) -> str | None:
    """The column of `table` that holds the class, None where there is none.

    "auto" is the column `label`, else a synonym, else the only other column if its values repeat.
    """
    if label_column in ("folder", "none") and label_column not in table.columns:
        return None
    if label_column != "auto":
        if label_column in table.columns:
            return label_column
        same = [column for column in table.columns if plain_name(column) == plain_name(label_column)]
        return same[0] if len(same) == 1 and label_column != "label" else None
    if "label" in table.columns:
        return "label"
    others = _other_columns(table)
    by_plain = {plain_name(column): column for column in reversed(others)}
    named = [by_plain[name] for name in LABEL_COLUMNS if name in by_plain]
    for column in named or (others if len(others) == 1 else []):
        if _are_classes([row.get(column) for _, row in table.rows], few=not named):
            return column
    return None


def _are_classes(values: list[Any], few: bool) -> bool:
    """Whether values are names or whole numbers of classes rather than measurements or descriptions."""
    present = [value for value in values if value not in (None, "")]
    if not all(isinstance(value, str | int | float) for value in present):
        return False
    texts = {str(value).strip() for value in present}
    return 2 <= len(texts) <= (len(present) / 2 if few else len(present)) and not any(
        _is_fraction(text) for text in texts
    )


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except (ValueError, OverflowError):
        return False


def read(tables: Sequence[Table], images: Sequence[str], place: str, label_column: str) -> Found:
    """The entries of `tables`; raises UserError where a row names no file, or a column is missing."""
    names, label, notes = Names(images), _label_of(tables, place, label_column), list[str]()
    entries: dict[str, Entry] = {}
    split_of = _folder_splits(tables, names, place)
    for table in tables:
        own = split_named(_stem(table)) if posixpath.basename(table.name) not in METADATA else None
        split_column = _split_column(table)
        name_column = None if "file_name" in table.columns else table.name_column()
        for number, row in table.rows:
            where = f"{place}: {printable(table.name)} row {number}"
            name = _image_name(table, where, row, name_column, names, own)
            if name in entries:
                raise UserError(
                    f"{where}: file_name {printable(name)!r} is a duplicate: expected one row for each image"
                )
            said = str(row.get(split_column) or "").strip() if split_column else ""
            folder = next((split_of[part] for part in name.split("/")[:1] if part in split_of), None)
            entries[name] = Entry(
                name=name,
                split=_split(said) if said else own or folder or "train",
                label=_label(row, label, name, label_column),
                captions=_captions(row),
                partners=tuple(_partners(table.folder, where, row)),
            )
        if table.encoding is not None:
            notes.append(
                f"{printable(table.name)} is read as {table.encoding}: save it as UTF-8 if letters look wrong"
            )
    notes += _label_notes(tables, label, label_column)
    resolved = label_column if label_column != "auto" else label or "label"
    return Found(list(entries.values()), resolved, notes, {table.name for table in tables})


def _label_of(tables: Sequence[Table], place: str, label_column: str) -> str | None:
    labels = [label for table in tables if (label := find_label(table, label_column)) is not None]
    if not labels and label_column not in ("auto", "label", "folder", "none"):
        raise _no_column(list(tables), place, label_column)
    return labels[0] if labels else None


def _label(row: dict[str, Any], label: str | None, name: str, label_column: str) -> str | None:
    if label is None and label_column == "folder":
        return encodable(posixpath.basename(posixpath.dirname(name))) or None
    value = row.get(label) if label is not None else None
    return None if value is None or str(value).strip() == "" else encodable(str(value).strip())


def unused_columns(tables: Sequence[Table]) -> list[str]:
    """A line about columns of tables from which none was chosen."""
    others = list(dict.fromkeys(column for table in tables for column in _other_columns(table)))
    if not others:
        return []
    where = " and ".join(printable(table.name) for table in tables[:2])
    shown = ", ".join(map(printable, others[:10])) + (", ..." if len(others) > 10 else "")
    return [f"no classes: {where} could give them; --label-column takes one of {shown}"]


def _label_notes(tables: Sequence[Table], label: str | None, label_column: str) -> list[str]:
    """How the column of the classes was chosen, or which could be."""
    where = printable(tables[0].name)
    if label_column == "auto" and label is not None and label != "label":
        return [f"classes are the column {printable(label)} of {where}; --label-column none takes none"]
    return unused_columns(tables) if label is None and label_column in ("auto", "label") else []


def _split_column(table: Table) -> str | None:
    """The column with the split: `split`, or another of such a name if all its values are splits."""
    if "split" in table.columns:
        return "split"
    for column in _SPLIT_COLUMNS:
        values = {str(row.get(column)).strip() for _, row in table.rows} if column in table.columns else set()
        if values and all(split_named(value) or value in _CELEBA_SPLITS for value in values):
            return column
    return None


def _split(said: str) -> str:
    return split_named(said) or _CELEBA_SPLITS.get(said) or encodable(said.lower())


def _folder_splits(tables: Sequence[Table], names: Names, place: str) -> dict[str, str]:
    """The splits that the folders of the named images say, where no row says one."""
    found = []
    for table in tables:
        column = "file_name" if "file_name" in table.columns else table.name_column() or "target_file_name"
        split_column = _split_column(table)
        for _, row in table.rows:
            if split_column and row.get(split_column):
                return {}
            path = posixpath.normpath(posixpath.join(table.folder, str(row.get(column) or "")))
            found.append((names.find("", path) or [path])[0])
    tops = {name.split("/", 1)[0] for name in found if "/" in name}
    return folder_splits(found, place) if any(split_named(top) == "train" for top in tops) else {}


def _image_name(
    table: Table, where: str, row: dict[str, Any], column: str | None, names: Names, split: str | None
) -> str:
    for each in ("file_name", "target_file_name", column):
        if each is not None and row.get(each) not in (None, ""):
            value = row[each]
            # Numbers are names in tables that are found by their names; in metadata they are a mistake.
            value = str(value) if isinstance(value, int) and column is not None else value
            checked = _checked_name(table.folder, where, value)
            several = names.find(table.folder, str(value).strip(), split)
            if len(several) > 1:
                raise UserError(
                    f"{where}: {printable(str(value))!r} can be {printable(several[0])} or "
                    f"{printable(several[1])}: expected the path of one"
                )
            return several[0] if several else checked
    columns = ", ".join(map(printable, table.columns[:10])) or "none"
    raise UserError(
        f"{where} has no file_name: expected the image's name relative to the metadata file (the columns are "
        f"{columns})"
    )


def _partners(folder: str, where: str, row: dict[str, Any]) -> Iterator[str]:
    own = "file_name" if row.get("file_name") else "target_file_name"
    columns = [column for column in row if column.endswith("_file_name")]
    for column in sorted(columns, key=lambda column: column != "source_file_name"):
        if column != own and row[column]:
            yield _checked_name(folder, where, row[column])


def _checked_name(folder: str, where: str, name: object) -> str:
    if not isinstance(name, str) or is_unsafe(name):
        shown = printable(str(name))[:80]
        raise UserError(
            f"{where}: file name {shown!r} is rejected: expected a relative path without '..' or '://'"
        )
    return posixpath.normpath(posixpath.join(folder, name.strip().replace("\\", "/")))


def nonempty(texts: Iterable[object]) -> tuple[str, ...]:
    """The texts that are not blank."""
    return tuple(encodable(text) for text in map(str, texts) if text.strip())


def _captions(row: dict[str, Any]) -> tuple[str, ...]:
    for column in CAPTION_COLUMNS:
        value = row.get(column)
        captions = nonempty([value] if isinstance(value, str) else value if isinstance(value, list) else [])
        if captions:
            return captions
    return ()
