"""SHA-256, in hex, of data: of what is decoded, or of the files it comes from."""

import hashlib
from collections.abc import Iterable, Mapping

from ganforge.data.sources.entry import Entry
from ganforge.data.sources.storage import Storage
from ganforge.data.split import Split


def hash_arrays(splits: Mapping[str, Split], class_names: tuple[str, ...]) -> str:
    """Of the pixels, labels and sources of splits that live in memory, and of the names of the classes."""
    digest = hashlib.sha256(repr(class_names).encode("utf-8", "backslashreplace"))
    for split, images in sorted(splits.items()):
        assert images.pixels is not None
        for part in (images.pixels, images.labels, images.sources):
            if part is not None:
                digest.update(f"{split} {part.dtype} {tuple(part.shape)}".encode())
                digest.update(part.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def hash_names(
    entries: Iterable[Entry], storage: Storage, shape: tuple[int, int, int], class_names: tuple[str, ...]
) -> str:
    """Of the names, sizes, splits and labels of files, and of the shape that they become."""
    digest = hashlib.sha256(repr((shape, class_names)).encode("utf-8", "backslashreplace"))
    for entry in entries:
        line = f"{entry.split} {entry.name} {entry.label} {storage.size(entry.name)}\n"
        digest.update(line.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()
