"""Tables of images: CSV, TSV, JSON and JSON lines, however they are separated, encoded and headed."""

import csv
import io
import json
import posixpath
from dataclasses import dataclass
from typing import Any

from ganforge.data.decode import Unreadable
from ganforge.data.sources.storage import Storage
from ganforge.errors import printable

SUFFIXES = (".jsonl", ".csv", ".tsv", ".json")
CAPTION_COLUMNS = ("texts", "captions", "text", "caption")
LABEL_COLUMNS = ("label", "labels", "class", "classname", "classes", "category", "target")
_NAME_COLUMNS = (
    "filename", "filenames", "file", "files", "filepath", "path", "image", "images", "imagename", "imagefile",
    "imagefilename", "imagepath", "imageid", "imgname", "imgid", "imgpath", "img", "photo", "id",
    "name", "key",
)  # fmt: skip
_SEPARATORS = ",;\t|"


class BadTable(Exception):  # noqa: N818 - becomes a UserError where the table is needed, else it is skipped
    """The reason why a file is not a table."""


@dataclass(frozen=True)
class Table:
    """The rows of a file, with their numbers; `encoding` is set where it is a guess.

    Keys are the columns, in the file's spelling without spaces around it.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, Any]], ...]
    encoding: str | None = None

    @property
    def folder(self) -> str:
        """The folder of the file, to which names in it are relative."""
        return posixpath.dirname(self.name)

    def name_column(self) -> str | None:
        """The column that looks like the one with file names."""
        by_plain = {plain_name(column): column for column in reversed(self.columns)}
        return next((by_plain[name] for name in _NAME_COLUMNS if name in by_plain), None)

    def renamed(self, column: str, name: str) -> "Table":
        """The same table with `column` called `name`."""
        columns = tuple(name if each == column else each for each in self.columns)
        rows = tuple(
            (number, {name if each == column else each: value for each, value in row.items()})
            for number, row in self.rows
        )
        return Table(self.name, columns, rows, self.encoding)

    def without_header(self) -> "Table":
        """The same table with its header as the first row, of columns called 1, 2, ..."""
        columns = tuple(str(number) for number in range(1, len(self.columns) + 1))
        first = dict(zip(columns, self.columns, strict=True))
        rest = [(number + 1, dict(zip(columns, row.values(), strict=False))) for number, row in self.rows]
        return Table(self.name, columns, ((1, first), *rest), self.encoding)


def plain_name(column: str) -> str:
    """The letters of a column's name, in lower case: "File Name" and "file_name" are the same."""
    return "".join(character for character in column.casefold() if character.isalnum())


def read_table(storage: Storage, name: str) -> Table:
    """The table in the file `name`; raises `BadTable`."""
    try:
        text, encoding = _decoded(storage.read(name))
        if name.lower().endswith((".csv", ".tsv")):
            return _from_csv(name, text, encoding)
        rows = _json_lines(text) if name.lower().endswith(".jsonl") else _json_rows(text)
    except (Unreadable, ValueError, csv.Error, RecursionError) as error:
        raise BadTable(printable(" ".join(str(error).split()))[:150]) from error
    columns = dict.fromkeys(str(column) for _, row in rows for column in row)
    return Table(name, tuple(columns), tuple(rows), encoding)


def _decoded(data: bytes) -> tuple[str, str | None]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16"), None
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        if b"\0" in data:
            raise ValueError("it holds zero bytes, so it is not text") from None
        return data.decode("cp1252", "replace"), "Windows-1252"


def _from_csv(name: str, text: str, encoding: str | None) -> Table:
    lines = text.lstrip("\r\n").splitlines()
    if not lines:
        raise ValueError("it is empty")
    separator = _separator(name, lines)
    if lines[0].casefold().startswith("sep="):  # Excel's own hint
        text = text.partition("\n")[2]
    reader = csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=separator, strict=True)
    header = [column.strip() for column in next(reader, [])]
    rows = []
    for number, cells in enumerate((cells for cells in reader if any(map(str.strip, cells))), start=1):
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if len(cells) > len(header):
            raise ValueError(f"row {number} has {len(cells)} cells, the header {len(header)}")
        cells += [""] * (len(header) - len(cells))
        rows.append((number, dict(zip(header, cells, strict=True))))
    return Table(name, tuple(header), tuple(rows), encoding)


def _separator(name: str, lines: list[str]) -> str:
    """The character that separates the cells: the one that the header has most of, outside of quotes."""
    if lines[0].casefold().startswith("sep=") and len(lines[0].strip()) == 5:
        return lines[0].strip()[4]
    bare = "".join(lines[0].split('"')[::2])
    if name.lower().endswith(".tsv") and "\t" in bare:
        return "\t"
    return max(_SEPARATORS, key=bare.count)  # the first of equally many: the comma


def _json_lines(text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not an object")
            rows.append((number, row))
    return rows


def _json_rows(text: str) -> list[tuple[int, dict[str, Any]]]:
    """A list of objects, or an object of file name -> label."""
    content = json.loads(text)
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return list(enumerate(content, start=1))
    if isinstance(content, dict) and content and all(isinstance(v, str | int) for v in content.values()):
        rows = [{"file_name": name, "label": label} for name, label in content.items()]
        return list(enumerate(rows, start=1))
    raise ValueError("it is neither a list of objects nor file names with labels")
