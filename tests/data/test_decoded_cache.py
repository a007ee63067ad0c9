"""Decoded images that are kept: the same again, and decoded anew where anything has changed."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from drawn import encode, noise

from ganforge.data import decoded_cache, image_files
from ganforge.data.dataset import Dataset
from ganforge.data.decode import Unreadable
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.files.download import cache_folder


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_cache, "SLOW_SECONDS", 0.0)


@pytest.fixture
def folder(fill: Callable[..., Path]) -> Path:
    rows = [
        {"file_name": f"{n:02}.png", "label": f"class {n % 2}", "text": f"number {n}",
         "split": "test" if n % 4 == 0 else "train"}
        for n in range(40)
    ]  # fmt: skip
    table = "\n".join(map(json.dumps, rows))
    images = {f"{n:02}.png": encode(noise(n, 6, 8)) for n in range(39)} | {"39.png": b"no image"}
    return fill(images | {"metadata.jsonl": table})


def files() -> list[Path]:
    return sorted((cache_folder() / "decoded").glob("*"))


def opened(folder: Path, **options: object) -> Dataset:
    return open_dataset(DataOptions.model_validate({"data": str(folder)} | options))


def never(*_: object) -> None:
    raise Unreadable("decoded again")


def assert_equal(one: Dataset, other: Dataset) -> None:
    assert (one.options, one.spec, one.fingerprint, one.skipped, one.notes) == (
        other.options, other.spec, other.fingerprint, other.skipped, other.notes)  # fmt: skip
    assert list(one.splits) == list(other.splits)
    for split, images in one.splits.items():
        again = other.splits[split]
        rows = torch.arange(len(images))
        for first, second in zip(images.read_pairs(rows), again.read_pairs(rows), strict=True):
            assert (first is None and second is None) or torch.equal(first, second)
        assert torch.equal(images.labels, again.labels)
        assert images.captions == again.captions
        assert [images.name(row) for row in rows] == [again.name(row) for row in rows]


@pytest.mark.parametrize(
    "options", [{}, {"size": 4, "fit": "pad"}, {"pairs": "side-by-side"}, {"pairs": "edges"}]
)
def test_the_same_is_opened_without_decoding(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    first = opened(folder, **options)
    assert len(files()) == 1
    monkeypatch.setattr(image_files, "decode_pair", never)
    again = opened(folder, **options)
    assert_equal(first, again)
    assert first.skipped[0][0] == "39.png"
    moved = folder.rename(folder.parent / "moved")
    assert opened(moved, **options).fingerprint == first.fingerprint


def test_a_zip_is_known_by_its_checksums(
    folder: Path, zipped: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(folder)
    first = opened(path)
    os.utime(path, (0, 0))
    monkeypatch.setattr(image_files, "decode_pair", never)
    assert_equal(first, opened(path))


def change(folder: Path, what: str) -> dict[str, object]:
    if what == "content":
        (folder / "03.png").write_bytes(encode(noise(99, 6, 8)))
    elif what == "time":
        os.utime(folder / "03.png", (1, 1))
    elif what == "removed":
        (folder / "03.png").unlink()
    elif what == "label":
        table = folder / "metadata.jsonl"
        table.write_text(table.read_text().replace("class 1", "class 7", 1))
    elif what == "caption":
        table = folder / "metadata.jsonl"
        table.write_text(table.read_text().replace("number 3", "number x", 1))
    return {"size": 5} if what == "option" else {}


@pytest.mark.parametrize("what", ["content", "time", "label", "caption", "option"])
def test_what_has_changed_is_decoded_again(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    opened(folder)
    options = change(folder, what)
    expected = opened(folder, **options)
    assert len(files()) == 2
    monkeypatch.setattr(decoded_cache, "_read", lambda *_: None)
    assert_equal(opened(folder, **options), expected)


def test_a_file_that_is_gone_is_said(folder: Path) -> None:
    opened(folder)
    change(folder, "removed")
    with pytest.raises(UserError, match=r"03\.png"):
        opened(folder, unreadable="stop")


def test_damaged_data_are_decoded_again(folder: Path) -> None:
    first = opened(folder)
    (file,) = files()
    for damage in (b"", file.read_bytes()[:200], b"x" * 300):
        file.write_bytes(damage)
        assert_equal(opened(folder), first)


def test_a_full_disk_is_no_reason_to_stop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    assert len(opened(folder).splits["train"]) == 29
    assert files() == []


def test_the_oldest_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(folder)
    (first,) = files()
    os.utime(first, (1, 1))
    opened(folder, size=4)
    (second,) = set(files()) - {first}
    os.utime(second, (2, 2))
    opened(folder)  # is used, and so the newest
    monkeypatch.setattr(decoded_cache, "MOST_BYTES", 2 * first.stat().st_size)
    opened(folder, size=6)
    assert first in files()
    assert second not in files()


def test_what_is_quick_or_does_not_fit_into_memory_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "IN_MEMORY_BYTES", 0)
    opened(folder)
    monkeypatch.undo()
    opened(folder)
    assert files() == []
