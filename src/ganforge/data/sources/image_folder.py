"""The images of a folder or zip by the conventions in use: their splits, classes, captions, partners.

A table decides if there is one: `metadata.jsonl` or `metadata.csv` (columns `file_name`, a label,
`text`/`texts`/`caption`, `split`, `*_file_name`), else one that names the images, such as Kaggle's
labels.csv, else StyleGAN's `dataset.json`. Without one sub-folders are classes, top-level folders such as
train, validation and test are splits, and cat.txt next to cat.png holds its captions, one a line.
"""

import json
import posixpath
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ganforge.data.decode import Unreadable
from ganforge.data.formats import READABLE
from ganforge.data.sources import table_entries
from ganforge.data.sources.entry import Entry, counted, encodable, of
from ganforge.data.sources.folder_names import are_running, domains, folder_splits, split_named
from ganforge.data.sources.storage import Storage, is_hidden
from ganforge.data.sources.tables import Table
from ganforge.errors import UserError, printable

AUTO, FOLDER, NONE = "auto", "folder", "none"
"""Values of --label-column that are no columns."""
_DATA_SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt", ".xlsx", ".xls", ".ods", ".xml",
    ".yaml", ".yml", ".npy", ".npz", ".mat", ".pkl", ".h5", ".hdf5", ".feather", ".arrow", ".db", ".sqlite",
    ".tfrecord", ".tfrecords", ".mdb", ".pt", ".pth", ".nii", ".nii.gz",
)  # fmt: skip
_ABOUT = ("readme", "license", "licence", "notice", "copying", "changelog", "requirements", "attribution")
_SHOWN = 3


@dataclass(frozen=True)
class Listing:
    """The images of a folder or archive, in order.

    `class_order` is the content of `classes.json`, which `pack` writes; empty: classes are sorted by name.
    `unlisted` counts images that the metadata do not name. `label_column` is what "auto" has become. `notes`
    say, one line each, how the files were understood where that is in doubt, and which were not read.
    """

    entries: tuple[Entry, ...]
    class_order: tuple[str, ...] = ()
    unlisted: int = 0
    label_column: str = "label"
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of their label numbers; none unless every image has a label."""
        names = {entry.label for entry in self.entries}
        if None in names or len(names) < 2:
            return ()
        plain = {name for name in names if name is not None}
        if self.class_order and plain <= set(self.class_order):
            return self.class_order
        return ordered_names(plain)


def ordered_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names of classes in order: numbers in that of numbers, so that the label "10" is not number 2."""
    return tuple(sorted(names, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name)))


def list_images(storage: Storage, place: str, label_column: str) -> Listing:
    """The images in `storage` by the conventions above; `place` names it in errors.

    Raises UserError if there are no images, the metadata are malformed or have no column `label_column`, or
    the folders can be understood in more than one way.
    """
    images = storage.image_names
    tables, unused = table_entries.find_tables(storage, images, place, label_column)
    if tables:
        found = table_entries.read(tables, images, place, label_column)
    else:
        found = _from_folders(images, place, storage, label_column)
    if not found.entries:
        raise UserError(
            f"{place} holds no images: expected {READABLE} files in it or in sub-folders; "
            "see `ganforge list data` for data that needs no folder"
        )
    named = {entry.name for entry in found.entries} | {n for entry in found.entries for n in entry.partners}
    unlisted = sum(name not in named for name in images)
    order, used = _class_order(storage)
    read = {*found.read, *used, *named}
    notes = [*found.notes, *_incomplete(found.entries)]
    if label_column == AUTO and not any(entry.label for entry in found.entries):
        notes += table_entries.unused_columns(unused)
    if unlisted:
        notes.append(f"{counted(unlisted, 'image')} not named by {_tables(tables)}, and not used")
    notes += _links(storage)
    notes += _unread([name for name in storage.names if name not in read], set(images))
    return Listing(tuple(found.entries), order, unlisted, found.label_column, tuple(notes))


def _tables(tables: Iterable[Table]) -> str:
    names = [printable(table.name) for table in tables]
    return names[0] if len(names) == 1 else "the metadata"


def _incomplete(entries: Iterable[Entry]) -> list[str]:
    """Which of the things that only count where every image has them are there for some images."""
    listed, notes = list(entries), []
    for part, what in (("label", "label: no label is used"), ("captions", "caption")):
        missing = [entry.name for entry in listed if not getattr(entry, part)]
        if 0 < len(missing) < len(listed):
            verb = "has" if len(missing) == 1 else "have"
            notes.append(
                f"{len(missing):,} of {of(len(listed), 'image')} {verb} no {what} ({_first(missing)})"
            )
    return notes


def _links(storage: Storage) -> list[str]:
    """A line about links that leave the folder: what they lead to does not move with it."""
    if not storage.links_outside:
        return []
    what = counted(len(storage.links_outside), "link")
    return [f"{what} to places outside of the folder: {_first([*storage.links_outside])}"]


def _unread(names: list[str], images: set[str]) -> list[str]:
    """A line that names files which look like metadata and are not read."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        plain = name.lower()
        suffix = next((suffix for suffix in _DATA_SUFFIXES if plain.endswith(suffix)), None)
        about = is_hidden(name) or posixpath.basename(plain).startswith(_ABOUT)
        if suffix and not about and name not in images:
            kinds.setdefault(suffix, []).append(name)
    if not kinds:
        return []
    parts = [
        _first(found) if len(found) <= _SHOWN else f"{len(found)} {suffix} files such as {_first(found, 1)}"
        for suffix, found in kinds.items()
    ]
    return [
        f"not read: {', '.join(parts)} (classes and captions come from a metadata.csv with the columns "
        "file_name, label and text)"
    ]


def _first(names: list[str], count: int = _SHOWN) -> str:
    return ", ".join(map(printable, names[:count])) + (", ..." if len(names) > count > 1 else "")


def _from_folders(names: list[str], place: str, storage: Storage, label_column: str) -> table_entries.Found:
    if label_column not in (AUTO, "label", FOLDER, NONE):
        raise UserError(
            f"--label-column {printable(label_column)}: {place} has no table of its images, so its classes "
            "are its folders: leave it out, or add a metadata.csv with the columns file_name and "
            f"{printable(label_column)}"
        )
    inside, outer = names, ""
    # A single outer folder, as most zip programs add, says nothing.
    while inside and len({_top(name) for name in inside}) == 1 and not _says_something(_top(inside[0])):
        outer += f"{_top(inside[0])}/"
        inside = [name.split("/", 1)[1] for name in inside]
    _refuse_domains(inside, place, outer)
    splits, inside = _splits_and_rests(inside, folder_splits(inside, place))
    captions, read = _captions(storage, names, place)
    labels, note, files = _stylegan_labels(storage, outer, names)
    if label_column in (FOLDER, NONE):
        note, labels = None, None if label_column == FOLDER else {}
    elif labels is None and are_running(inside):
        labels = {}
        note = (
            f"folders such as {printable(_top(inside[0]))}/ only count on and are no classes; "
            "--label-column folder makes them classes"
        )
    entries = [
        Entry(
            name,
            split,
            (encodable(_top(rest)) or None) if labels is None else labels.get(name),
            captions.get(name, ()),
        )
        for name, split, rest in zip(names, splits, inside, strict=True)
    ]
    resolved = "label" if label_column == AUTO else label_column
    return table_entries.Found(entries, resolved, [note] if note else [], read | files)


def _says_something(top: str) -> bool:
    return not top or split_named(top) is not None


def _splits_and_rests(names: list[str], split_of: dict[str, str]) -> tuple[list[str], list[str]]:
    """The split of each file, and its path without the folder that says so.

    That is the first or the second one: "train/cat/1.png" and "cat/train/1.png" are both "cat/1.png". A
    single folder in each split, as in "train/images/cat/1.png", says nothing either.
    """
    if not split_of:
        return ["train"] * len(names), names
    splits, rests = [], []
    for name in names:
        top, _, rest = name.partition("/")
        second, _, deep = rest.partition("/")
        splits.append(split_of[top] if top in split_of else split_of[f"*/{second}"])
        rests.append(rest if top in split_of else f"{top}/{deep}")
    while rests and all(_top(rest) for rest in rests):
        inner = {
            split: {_top(r) for r, s in zip(rests, splits, strict=True) if s == split} for split in splits
        }
        if any(len(tops) > 1 for tops in inner.values()):
            break
        rests = [rest.partition("/")[2] for rest in rests]
    return splits, rests


def _top(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""


def _refuse_domains(inside: list[str], place: str, outer: str) -> None:
    """Raise UserError for CycleGAN's layout, with the commands that read it."""
    folders = domains(sorted({_top(name) for name in inside}))
    if not folders:
        return
    where = f"{place}/{printable(outer)}"
    stems = [
        {posixpath.splitext(name)[0].partition("/")[2] for name in inside if _top(name) == folder}
        for folder in (folders["A"], folders["B"])
    ]
    unpack = "unpack it, then " if place.lower().endswith(".zip") else ""
    where = where.replace(".zip/", "/") if unpack else where
    one = f"`--data {where}{folders['B']}`"
    if stems[0] == stems[1]:
        both = f"`--data {where}{folders['B']} --sources {where}{folders['A']}`"
        one = f"{both} for pairs, or {one} for one domain"
    raise UserError(
        f"{place} has CycleGAN's folders {folders['A']} and {folders['B']}, two domains and not two classes: "
        f"{unpack}type {one}"
    )


def _captions(storage: Storage, images: list[str], place: str) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """The captions of images from text files of the same name, one a line; and these files."""
    texts = {name for name in storage.names if name.endswith(".txt")}
    captions = {}
    for name in images:
        text = f"{posixpath.splitext(name)[0]}.txt"
        if text in texts:
            captions[name] = _lines_of(storage, text, place)
    return captions, {f"{posixpath.splitext(name)[0]}.txt" for name in captions}


def _lines_of(storage: Storage, name: str, place: str) -> tuple[str, ...]:
    try:
        return table_entries.nonempty(storage.read(name).decode("utf-8-sig").splitlines())
    except (Unreadable, ValueError) as error:
        raise UserError(
            f"{place}: {printable(name)} cannot be read as captions ({printable(str(error))[:99]}): expected "
            "UTF-8 text with one caption a line"
        ) from error


def _stylegan_labels(
    storage: Storage, outer: str, names: list[str]
) -> tuple[dict[str, str] | None, str | None, set[str]]:
    """The labels in StyleGAN's `dataset.json` by file name, a line about them, and the files read.

    None where there is no such file; no label for any image where it says null, or holds vectors.
    """
    parts = outer.split("/")
    places = ["".join(f"{part}/" for part in parts[:count]) for count in range(len(parts))]
    place = next((place for place in places if f"{place}dataset.json" in storage.names), None)
    if place is None:
        return None, None, set()
    file = f"{place}dataset.json"
    try:
        content = json.loads(storage.read(file))
    except (Unreadable, ValueError, RecursionError) as error:
        return {}, f"dataset.json cannot be read ({printable(str(error))[:99]}): no label is used", {file}
    labels = content.get("labels", False) if isinstance(content, dict) else False
    if labels is None:
        return {}, "dataset.json says that the images have no labels", {file}
    pairs = [[*pair] for pair in labels.items()] if isinstance(labels, dict) else labels
    if not isinstance(pairs, list) or not all(isinstance(row, list) and len(row) == 2 for row in pairs):
        return None, None, set()
    found = {place + str(name).replace("\\", "/"): _class_in(value) for name, value in pairs}
    good = {name: label for name, label in found.items() if label is not None}
    if len(good) < len(found):
        return {}, "the labels in dataset.json are vectors, not classes: no label is used", {file}
    missing = sorted(good.keys() - set(names))
    note = f"{counted(len(missing), 'image')} named by dataset.json and missing: {_first(missing)}"
    return good, note if missing else None, {file}


def _class_in(value: object) -> str | None:
    """The class that a label of `dataset.json` is: a number, a name, or the place of the 1 in a vector."""
    if isinstance(value, list):
        ones = [place for place, number in enumerate(value) if number == 1]
        return str(ones[0]) if len(ones) == 1 and Counter(value)[0] == len(value) - 1 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return encodable(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None


def _class_order(storage: Storage) -> tuple[tuple[str, ...], set[str]]:
    """The classes in `classes.json`, and the files read."""
    if "classes.json" not in storage.names:
        return (), set()
    try:
        names = json.loads(storage.read("classes.json"))
    except (Unreadable, ValueError, RecursionError):
        return (), set()
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return (tuple(names), {"classes.json"}) if good else ((), set())
