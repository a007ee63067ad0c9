"""`Entry`: one image of a listing."""

from dataclasses import dataclass


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


def encodable(text: str) -> str:
    """`text` with what UTF-8 cannot store, as in names of undecodable bytes, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(number: int, noun: str) -> str:
    """A number with its noun and verb: "1 image is", "2 images are"."""
    return f"{of(number, noun)} {'is' if number == 1 else 'are'}"


def of(number: int, noun: str) -> str:
    """A number with its noun: "1 image", "2 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
