"""Image data sets of the Hugging Face hub, through the library `datasets` (extra `hub-data`)."""

from pathlib import Path
from typing import Any, final

from ganforge.data.decode import Unreadable
from ganforge.data.sources.entry import Entry
from ganforge.data.sources.folder_names import split_named
from ganforge.data.sources.image_folder import Listing
from ganforge.data.sources.storage import Storage, read_regular
from ganforge.errors import UserError, printable
from ganforge.files.download import refuse_offline

IMAGE_COLUMNS = ("image", "img", "picture")
TEXT_COLUMNS = ("texts", "captions", "text", "caption")


@final
class HubRows(Storage):
    """The encoded images of a `datasets.DatasetDict`, undecoded, named `split/number`."""

    def __init__(self, tables: dict[str, Any], column: str):
        self._tables = tables
        self._column = column
        self.names = [f"{split}/{row}" for split, table in tables.items() for row in range(len(table))]

    def read(self, name: str) -> bytes:
        """The image's encoded bytes; raises `Unreadable` where the row has none."""
        split, row = name.rsplit("/", 1)
        value = self._tables[split][int(row)][self._column]
        image = value if isinstance(value, dict) else {}
        if isinstance(image.get("bytes"), bytes):
            return bytes(image["bytes"])
        if isinstance(image.get("path"), str):  # image folders on the hub are files in the cache
            return read_regular(Path(image["path"]))
        raise Unreadable("the row holds no image")

    def size(self, name: str) -> int:
        """The image's size in bytes, 0 where the row has none."""
        try:
            return len(self.read(name))
        except Unreadable:
            return 0


def list_hub_set(name: str, label_column: str) -> tuple[HubRows, Listing]:
    """The images of the hub's data set `owner/name`, with labels and captions where it has such columns.

    Raises `UserError` if the library or the set is missing, or the set has no column of images.
    """
    refuse_offline(f"hf:{printable(name)}")
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError(
            f"hf:{name} needs the library datasets: type `pip install 'ganforge[hub-data]'`, or download "
            "the set by hand and give its folder with --data"
        ) from error
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # the library passes on whatever the hub's client raises
        reason = printable(" ".join(str(error).split()))[:150]
        raise UserError(
            f"hf:{printable(name)} could not be loaded ({type(error).__name__}: {reason}): without network, "
            "download it elsewhere (`hf download`), copy the folder here and give its path with --data"
        ) from error
    features = next(iter(loaded.values())).features
    column = next((name for name in IMAGE_COLUMNS if name in features), None)
    if column is None:
        raise UserError(
            f"hf:{name} has the columns {', '.join(features)}: expected one called image with images"
        )
    tables = {
        split_named(split) or split: table.cast_column(column, datasets.Image(decode=False))
        for split, table in loaded.items()
    }
    if label_column not in ("auto", "label", "none", *features):
        raise UserError(
            f"--label-column {printable(label_column)}: hf:{printable(name)} has no such column: expected "
            f"one of {', '.join(feature for feature in features if feature != column)}"
        )
    entries, class_order = list_rows(tables, column, label_column)
    resolved = "label" if label_column == "auto" else label_column
    return HubRows(tables, column), Listing(tuple(entries), class_order, label_column=resolved)


def list_rows(tables: dict[str, Any], column: str, label_column: str) -> tuple[list[Entry], tuple[str, ...]]:
    """The rows of all splits as entries, and the classes in the order of their numbers where known."""
    entries = []
    class_order: tuple[str, ...] = ()
    for split, table in tables.items():
        wanted = () if label_column == "none" else (label_column, "label", "labels")
        labels = next((name for name in wanted if name in table.features), None)
        texts = next((name for name in TEXT_COLUMNS if name in table.features), None)
        names = getattr(table.features[labels], "names", None) if labels else None
        class_order = class_order or tuple(names or ())
        plain = table.remove_columns([column])  # so that listing does not read a single image
        for row in range(len(table)):
            values = plain[row] if labels or texts else {}
            label = values.get(labels) if labels else None
            if names and isinstance(label, int):
                label = names[label] if 0 <= label < len(names) else None
            text = values.get(texts) if texts else None
            captions = (text,) if isinstance(text, str) else tuple(text or ())
            entries.append(Entry(f"{split}/{row}", split, None if label is None else str(label), captions))
    return entries, class_order
