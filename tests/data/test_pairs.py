"""Pairs from real files, pairs made from images, and what is said of files that are no pairs."""

import json
import zipfile

import numpy as np
import pytest
import torch
from drawn import encode, noise

from ganforge.data import image_files as encoded
from ganforge.data.check import check
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack import pack
from ganforge.data.pairs import read_sources
from ganforge.errors import UserError

COUNT = 24


def opened(path, **settings):
    return open_dataset(DataOptions(data=str(path), **settings))


def image(number, **shape):
    return noise(number, **shape)


def inverted(number, **shape):
    return 255 - noise(number, **shape)


def names(count=COUNT):
    return [f"{number:02}.png" for number in range(count)]


def by_columns(fill, column="source_file_name", **changes):
    rows = [{"file_name": name, column: f"inputs/{name}"} for name in names()]
    rows[3]["split"] = "test"
    files = {name: encode(image(number)) for number, name in enumerate(names())}
    files |= {f"inputs/{name}": encode(inverted(number)) for number, name in enumerate(names())}
    return fill(files | {"metadata.jsonl": "\n".join(map(json.dumps, rows))} | changes)


def by_halves(fill, left=inverted, right=image):
    sides = {
        name: encode(np.concatenate([left(number), right(number)], axis=1))
        for number, name in enumerate(names())
    }
    return fill(sides)


def by_folders(fill, **changes):
    files = {f"targets/{name}": encode(image(number)) for number, name in enumerate(names())}
    files |= {
        f"inputs/{name[:2]}.bmp": encode(inverted(number), "BMP") for number, name in enumerate(names())
    }
    root = fill({name: content for name, content in (files | changes).items() if content is not None})
    return root / "targets", str(root / "inputs")


def assert_inverted(dataset, count=COUNT):
    assert dataset.spec.source_shape == dataset.spec.shape == (3, 8, 8)
    assert sum(len(images) for images in dataset.splits.values()) == count
    for images in dataset.splits.values():
        targets, sources = images.read_pairs(torch.arange(len(images)))
        assert torch.equal(sources, 255 - targets)
        assert torch.equal(images.read(torch.arange(len(images))), targets)


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("form", ["columns", "other column", "folders", "halves", "halves, right", "zip"])
def test_each_form_of_pairs(fill, zipped, form, lazily, monkeypatch):
    if lazily:
        monkeypatch.setattr(encoded, "IN_MEMORY_BYTES", 0)
    settings = {}
    if form == "folders":
        path, settings["sources"] = by_folders(fill)
    elif form.startswith("halves"):
        other_way = form.endswith("right")
        path = by_halves(fill, image, inverted) if other_way else by_halves(fill)
        settings["pairs"] = "side-by-side:right" if other_way else "side-by-side"
    else:
        path = by_columns(fill, "edges_file_name" if form == "other column" else "source_file_name")
        path = zipped(path) if form == "zip" else path
    dataset = opened(path, **settings)
    assert_inverted(dataset)
    assert "sources" in dataset.spec.offers
    if form == "columns":
        assert len(dataset.splits["test"]) == 1
    again = check(DataOptions(data=str(path), **settings))
    assert again.source_shape == (3, 8, 8)
    assert not again.problems


def test_none_leaves_the_sources_out(fill):
    assert opened(by_columns(fill), pairs="none").spec.source_shape is None


def test_a_source_column_with_gaps_makes_no_pairs(fill):
    path = fill(
        {
            "a.png": 1,
            "b.png": 2,
            "c.png": 3,
            "metadata.csv": "file_name,source_file_name\na.png,c.png\nb.png,\n",
        }
    )
    assert opened(path).spec.source_shape is None
    assert any("1 of 2 images name no source" in line for line in check(DataOptions(data=str(path))).warnings)


def test_sources_are_grey_on_their_own_account(fill):
    targets, inputs = by_folders(fill)
    for number in range(COUNT):
        grey = encode(noise(number, channels=1), "BMP")
        (targets.parent / "inputs" / f"{number:02}.bmp").write_bytes(grey)
    spec = opened(targets, sources=inputs).spec
    assert (spec.shape, spec.source_shape) == ((3, 8, 8), (1, 8, 8))


def test_sizes_are_brought_to_one_for_both(fill):
    spec = opened(by_columns(fill), size=4).spec
    assert (spec.shape, spec.source_shape) == ((3, 4, 4), (3, 4, 4))


def test_the_fingerprint_depends_on_the_sources(fill):
    path = by_columns(fill)
    before = opened(path).fingerprint
    assert before != opened(path, pairs="none").fingerprint
    (path / "inputs" / "00.png").write_bytes(encode(noise(99)))
    assert opened(path).fingerprint != before
    assert opened(path, pairs="edges").fingerprint != opened(path, pairs="grey").fingerprint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "it has no source"),
        (encode(noise(1))[:60], "its source 00.bmp: "),
        (encode(noise(1, 8, 9), "BMP"), "8x8, but its source 00.bmp is 9x8"),
    ],
)
def test_a_bad_pair_is_named_and_skipped(fill, content, reason):
    path, inputs = by_folders(fill, **{"inputs/00.bmp": content})
    dataset = opened(path, sources=inputs)
    assert_inverted(dataset, COUNT - 1)
    assert len(dataset.skipped) == 1
    assert dataset.skipped[0][0] == "00.png"
    assert reason in dataset.skipped[0][1]
    report = check(DataOptions(data=str(path), sources=inputs))
    assert reason in report.unreadable["00.png"]
    assert report.partners_missing == (["00.png"] if content is None else [])


def test_too_many_bad_pairs_end_it_in_one_line(fill):
    path, inputs = by_folders(fill, **{f"inputs/{number:02}.bmp": None for number in range(2)})
    with pytest.raises(UserError, match=r"2 of 24 .* 00\.png \(it has no source\)") as refused:
        opened(path, sources=inputs)
    assert "\n" not in str(refused.value)
    assert (
        check(DataOptions(data=str(path), sources=inputs))
        .problems[0]
        .startswith(str(refused.value).partition(";")[0])
    )


def test_odd_halves_are_no_pairs(fill):
    path = fill({f"{number}.png": encode(noise(number, 8, 15)) for number in range(3)})
    with pytest.raises(UserError, match="15 pixels wide"):
        opened(path, pairs="side-by-side")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "ring", "pairs": "edges"}, "--pairs is for images"),
        ({"data": "ring", "jitter": 2}, "--jitter is for images"),
        ({"data": "mnist", "pairs": "side-by-side"}, "--pairs side-by-side is for image files"),
        ({"data": "mnist", "sources": "x"}, "--sources x is for image files"),
        ({"sources": "no/such"}, "--sources no/such does not exist"),
        ({"sources": ".", "pairs": "edges"}, "leave one out"),
        ({"pairs": "downscale:3"}, "8x8 pixels are not divisible by 3"),
    ],
)
def test_mistakes_are_one_line(fill, settings, message):
    path = fill({"1.png": 1})
    with pytest.raises(UserError, match=message) as refused:
        open_dataset(DataOptions(**({"data": str(path)} | settings)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("pairs", ["lines", "downscale", "downscale:1", "edges:2", ""])
def test_unknown_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match="downscale:4"):
        DataOptions(data="x", pairs=pairs)


def test_sources_of_other_names_are_refused(fill):
    path = fill({"targets/a.png": 1, "inputs/b.png": 2})
    with pytest.raises(UserError, match="has no file with a name of"):
        opened(path / "targets", sources=str(path / "inputs"))


@pytest.mark.parametrize("settings", [{}, {"pairs": "edges"}])
def test_packing_keeps_pairs(fill, tmp_path, settings):
    options = DataOptions(data=str(by_columns(fill)), **settings)
    expected = open_dataset(options)
    pack(options, tmp_path / "packed.zip")
    again = opened(tmp_path / "packed.zip")
    assert again.spec == expected.spec
    for split, images in expected.splits.items():
        assert torch.equal(again.splits[split].sources, images.sources)
    rows = zipfile.ZipFile(tmp_path / "packed.zip").read("metadata.jsonl").decode().splitlines()
    assert json.loads(rows[0])["source_file_name"] == "sources/train/0000000.png"


def test_loose_sources(fill):
    path = fill({"a.png": 1, "b.png": encode(noise(2))[:50], "c.png": encode(noise(3, channels=1))})
    options = DataOptions(data="x")
    found, kept, skipped = read_sources(str(path), (3, 8, 8), options)
    assert kept == ["a.png"]
    assert list(skipped) == ["b.png", "c.png"]
    assert skipped["c.png"].startswith("grey, but this run translates colour images")
    assert read_sources(str(path), (3, 8, 8), options, takes_grey=True)[1] == ["a.png", "c.png"]
    assert torch.equal(found[0], torch.from_numpy(noise(1)).permute(2, 0, 1))
    assert read_sources(str(path), (1, 4, 4), options, count=1)[0].shape == (1, 1, 4, 4)
    assert read_sources(str(path / "a.png"), (3, 8, 8), options)[1] == ["a.png"]
    with pytest.raises(UserError, match=r"no image that this run can use: c\.png \(grey, but"):
        read_sources(str(path / "c.png"), (3, 8, 8), options)
    with pytest.raises(UserError, match=r"no image that this run can use: b\.png"):
        read_sources(str(path / "b.png"), (3, 8, 8), options)
    with pytest.raises(UserError, match="does not exist"):
        read_sources(str(path / "d.png"), (3, 8, 8), options)


def test_two_sources_of_a_image_are_one_too_many(fill):
    root = fill(
        {
            "sources/a.png": 1,
            "sources/a.webp": encode(noise(2), "WEBP"),
            "targets/a.jpg": encode(noise(3), "JPEG"),
        }
    )
    with pytest.raises(UserError, match=r"has a\.png and a\.webp for a\.jpg: expected one of them"):
        opened(root / "targets", sources=str(root / "sources"))


def test_check_names_lone_files_and_what_training_refuses(fill):
    root = fill({f"targets/{n}.png": n for n in range(9)} | {f"sources/{n}.png": n for n in range(10)})
    report = check(DataOptions(data=str(root / "targets"), sources=str(root / "sources")))
    assert "1 sources have no image: 9.png" in report.warnings
    wide = {f"wide/{n}.png": encode(noise(n, 8, 16)) for n in range(9)} | {"wide/lone.png": 9}
    fill(wide)
    report = check(DataOptions(data=str(root / "wide"), pairs="side-by-side"))
    assert any(
        text.startswith("1 files have an unusual aspect ratio") and "lone.png" in text
        for text in report.warnings
    )
    for settings, message in (
        ({"pairs": "downscale:3"}, "not divisible by 3"),
        ({"pairs": "downscale:2", "jitter": 2}, "--jitter 2 does not go with"),
    ):
        options = DataOptions(data=str(root / "targets"), **settings)
        assert message in " ".join(check(options).problems)
        with pytest.raises(UserError, match=message):
            open_dataset(options)
