"""What the names of folders say: splits, CycleGAN's domains, or only where a running number has got to."""

import re
from collections.abc import Sequence
from itertools import pairwise
from posixpath import basename, splitext

from ganforge.errors import UserError, printable

SPLITS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "trn": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "testset": "test",
    "tst": "test",
}
_FILLERS = {"set", "images", "image", "imgs", "img", "data", "dataset", "split", "folder", "files"}
_DOMAIN = re.compile(r"(train|training|val|valid|validation|test|testing)[-_ ]?(a|b)", re.IGNORECASE)
_LEAST_DIGITS = 4  # of running folders: 00000/, 00001/


def split_named(name: str) -> str | None:
    """The split that a folder or file of this name holds, such as "Training", "val_images" or "test2017"."""
    words = [word for word in re.split(r"[^a-z]+", name.casefold()) if word and word not in _FILLERS]
    return SPLITS.get(words[0]) if len(words) == 1 else None


def folder_splits(names: Sequence[str], place: str) -> dict[str, str]:
    """Top-level folder -> split; "*/folder" of the second level where classes contain the splits.

    Empty where folders are no splits. Raises UserError where some are and others are not.
    """
    tops = {_folder(name) for name in names}
    if all(split_named(top) for top in tops):
        return {top: str(split_named(top)) for top in tops}
    alike = _splits_of_one_name(tops)
    if alike.keys() == tops:
        return alike
    if alike or any(split_named(top) == "train" for top in tops):
        known = alike or {top: "" for top in tops if split_named(top)}
        others = ", ".join(
            printable(top) if top else "loose images" for top in sorted(tops - known.keys())[:3]
        )
        first = next((top for top in sorted(tops) if "train" in (split_named(top), alike.get(top))), "train")
        raise UserError(
            f"{place} has a folder {printable(first)} next to {others}: splits or classes? Keep only train, "
            "validation and test at the top, or add a metadata.jsonl with the columns file_name, label and "
            "split"
        )
    seconds = {_folder(name.partition("/")[2]) for name in names}
    named = {second: split_named(second) for second in seconds}
    if "train" in named.values() and all(named.values()):
        return {f"*/{second}": str(split) for second, split in named.items()}
    return {}


def _splits_of_one_name(tops: set[str]) -> dict[str, str]:
    """Folders such as "seg_train" and "seg_test": their split, where the rest of their names is the same."""
    by_rest: dict[tuple[str, ...], dict[str, str]] = {}
    for top in tops:
        words = [word for word in re.split(r"[^a-z]+", top.casefold()) if word]
        splits = [SPLITS[word] for word in words if word in SPLITS]
        if len(splits) == 1:
            rest = tuple(word for word in words if word not in SPLITS)
            by_rest.setdefault(rest, {})[top] = splits[0]
    groups = [
        group for group in by_rest.values() if "train" in group.values() and len(set(group.values())) > 1
    ]
    return groups[0] if len(groups) == 1 else {}


def _folder(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""


def domains(names: Sequence[str]) -> dict[str, str]:
    """CycleGAN's folders "trainA" and "trainB" by domain, "A" and "B"; none unless all folders are such."""
    matches = {name: _DOMAIN.fullmatch(name) for name in names}
    if not all(matches.values()):
        return {}
    training = [(name, match) for name, match in matches.items() if match and match[1][:5].lower() == "train"]
    found = {match[2].upper(): name for name, match in training}
    return found if len(found) == 2 else {}


def are_running(names: Sequence[str]) -> bool:
    """Whether the top-level folders of these files only count on: 00000/, 00001/ with files that count on.

    The last numbers of the file names then grow from folder to folder. Folders of classes have file names
    of their own, or start again at the same number.
    """
    numbers: dict[str, list[int]] = {}
    for name in names:
        folder, slash, _ = name.partition("/")
        digits = re.findall(r"[0-9]+", splitext(basename(name))[0])
        if not slash or not folder.isdecimal() or len(folder) < _LEAST_DIGITS or not digits:
            return False
        numbers.setdefault(folder, []).append(int(digits[-1][-18:]))
    ordered = [numbers[folder] for folder in sorted(numbers, key=int)]
    grows = all(max(one) < min(other) for one, other in pairwise(ordered))
    return len(ordered) > 1 and len({len(folder) for folder in numbers}) == 1 and grows
