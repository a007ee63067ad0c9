"""Tar shards: packed, read in any order and by several processes, damaged, and from an object store."""

import http.server
import io
import json
import os
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import encode, noise

from ganforge.data import shards as shards_module
from ganforge.data.block_order import draw_blocks
from ganforge.data.dataset import Dataset
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack_shards import pack_shards, parse_bytes
from ganforge.data.sources import shards as sources
from ganforge.data.sources.shard_index import INDEX, parse_index
from ganforge.errors import UserError
from ganforge.files import remote

COUNT = 120


@pytest.fixture
def folder(fill: Callable[..., Path]) -> Path:
    rows = [
        {
            "file_name": f"{number:03}.png",
            "label": f"class {number % 3}",
            "texts": [f"number {number}", "a b"],
            "split": "test" if number % 4 == 0 else "train",
        }
        for number in range(COUNT)
    ]
    table = "\n".join(json.dumps(row) for row in rows)
    return fill({f"{n:03}.png": encode(noise(n, 8, 8)) for n in range(COUNT)} | {"metadata.jsonl": table})


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    assert pack_shards(DataOptions(data=str(folder)), tmp_path / "packed", 40_000) == (COUNT, 10)
    return tmp_path / "packed"


def opened(place: object, **options: object) -> Dataset:
    return open_dataset(DataOptions.model_validate({"data": f"wds:{place}"} | options))


def contents(dataset: Dataset) -> dict[str, Counter[tuple[bytes, str, tuple[str, ...]]]]:
    """What each split holds, in any order."""
    found = {}
    for split, images in dataset.splits.items():
        pixels = images.read(torch.arange(len(images))).numpy()
        labels = [""] * len(images) if images.labels is None else images.labels.tolist()
        names = [dataset.spec.class_names[label] if label != "" else "" for label in labels]
        captions = [tuple(texts) for texts in images.caption_lists]
        found[split] = Counter(zip((each.tobytes() for each in pixels), names, captions, strict=True))
    return found


def test_packed_shards_hold_the_same_images_labels_and_captions(folder: Path, packed: Path) -> None:
    expected = open_dataset(DataOptions(data=str(folder)))
    again = opened(packed)
    assert contents(again) == contents(expected)
    assert again.spec == expected.spec
    assert again.splits["train"].pixels is None
    assert sorted(path.name for path in packed.glob("train-*")) == [f"train-{n:06}.tar" for n in range(7)]
    assert again.splits["train"].name(0) == "train-000000.tar#0"
    other = pack_shards(DataOptions(data=f"wds:{packed}"), packed.parent / "again", 20_000)
    assert other[0] == COUNT
    assert contents(opened(packed.parent / "again")) == contents(expected)


def test_the_same_images_are_packed_to_the_same_bytes(folder: Path, packed: Path, tmp_path: Path) -> None:
    pack_shards(DataOptions(data=str(folder)), tmp_path / "twice", 40_000)
    for path in sorted(packed.iterdir()):
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()


def test_a_pattern_names_some_shards_and_needs_no_index(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packed / INDEX).unlink()
    some = opened(f"{packed}/train-{{000000..000002}}.tar")
    assert set(some.splits) == {"train"}
    assert 0 < len(some.splits["train"]) < 90
    assert len(opened(f"{packed}/train-*.tar").splits["train"]) == 90
    whole = opened(packed)
    monkeypatch.setattr(sources, "read_shard", None)  # shards that were read once are not read again
    assert contents(opened(packed)) == contents(whole)
    with open(packed / "train-000000.tar", "ab") as file:
        file.write(bytes(512))
    with pytest.raises(UserError, match="'NoneType' object is not callable"):
        opened(packed)


def tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_shards_of_other_programs(tmp_path: Path) -> None:
    images = [encode(noise(number, 8, 8)) for number in range(4)]
    tar(tmp_path / "a.tar", {"x/1.jpg.png": images[0], "x/1.cls": b"dog\n", "x/1.txt": b"one\n\ntwo\n",
                             "x/2.json": b'{"label": "cat", "caption": "three"}', "x/2.png": images[1],
                             "x/._3.png": b"", "x/4.json": b"not json", "x/4.cls": b"dog"})  # fmt: skip
    tar(tmp_path / "test-0.tar", {"1.png": images[2], "1.cls": b"cat", "2.png": images[3], "2.cls": b"owl"})
    found = opened(tmp_path)
    assert found.spec.class_names == ("cat", "dog", "owl")
    assert found.splits["train"].labels.tolist() == [1, 0]
    assert found.splits["train"].captions == [["one", "two"], ["three"]]
    assert found.splits["test"].labels.tolist() == [0, 2]
    assert found.splits["test"].captions is None


def test_shards_of_chance_are_read_or_refused_in_a_line(packed: Path) -> None:
    (packed / INDEX).unlink()
    path = packed / "train-000001.tar"
    whole, random = path.read_bytes(), np.random.default_rng(0)
    refused: list[str] = []
    for _ in range(60):
        damaged = np.frombuffer(whole, np.uint8).copy()
        for start in random.integers(0, len(damaged) - 200, size=6):
            damaged[start : start + 100] = random.integers(0, 256, size=100, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            opened(packed)
        except UserError as error:
            refused.append(str(error))
    assert refused
    assert not any("\n" in line for line in refused)


def test_a_label_that_is_no_name_is_none(tmp_path: Path) -> None:
    images = [encode(noise(number, 8, 8)) for number in range(2)]
    tar(
        tmp_path / "a.tar",
        {"1.png": images[0], "1.cls": b"9" * 5000, "2.png": images[1], "2.cls": b"8" * 5000},
    )
    assert opened(tmp_path).splits["train"].labels is None


def test_an_index_that_cannot_be_kept_is_made_again(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packed / INDEX).unlink()
    monkeypatch.setenv("GANFORGE_CACHE", str(packed / "classes.json"))  # a file, no folder
    assert contents(opened(packed)) == contents(opened(packed))


@pytest.mark.parametrize("batch", [1, 8, 24, 50])
def test_an_order_of_blocks_has_each_image_once(batch: int) -> None:
    starts = np.array([0, 3, 4, 10, 31, 33, 60, 61, 90])
    for position in (0, 90, 180):
        order = draw_blocks(np.random.default_rng(0), starts, batch, position)
        assert sorted(order) == list(range(90))
    assert list(draw_blocks(np.random.default_rng(1), starts, batch, 0)) != list(order)


def test_every_epoch_has_each_image_once_and_a_position_gives_the_same_batch(packed: Path) -> None:
    images = opened(packed).splits["train"]
    loader = Loader(images, 16, seed=3)
    indices = torch.cat([loader.indices_at(position) for position in range(0, 3 * 96, 16)])
    for epoch in range(3):
        assert sorted(indices[90 * epoch : 90 * (epoch + 1)].tolist()) == list(range(90))
    batches = Loader(images, 16, seed=3).iterate(0)
    for position in range(0, 160, 16):
        batch = next(batches)
        again = Loader(images, 16, seed=3).batch_at(position)
        assert torch.equal(batch.images, again.images)
        assert torch.equal(batch.labels, again.labels)
    batches.close()  # type: ignore[attr-defined]
    other = Loader(images, 16, seed=4).indices_at(0)
    assert not torch.equal(other, loader.indices_at(0))


def test_a_process_reads_the_blocks_of_its_lanes_alone(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "BLOCK_BYTES", 512)  # a block for each image
    images = opened(packed).splits["train"]
    whole = Loader(images, 8, seed=0)
    seen: list[set[int]] = []
    for rank in range(2):
        rows = torch.arange(4) + 4 * rank
        part = Loader(images, 8, seed=0, rows=rows)
        seen.append(set())
        for position in range(0, 80, 8):  # of one epoch
            assert torch.equal(part.batch_at(position).images, whole.batch_at(position).images[rows])
            seen[rank] |= set(whole.indices_at(position)[rows].tolist())
    assert not seen[0] & seen[1]


def test_missing_and_truncated_shards_are_named(packed: Path, tmp_path: Path) -> None:
    (packed / "train-000002.tar").rename(tmp_path / "away.tar")
    (packed / "train-000003.tar").write_bytes((packed / "train-000003.tar").read_bytes()[:2000])
    said = (
        r"2 of 10 shards .* train-000002.tar \(missing\); train-000003.tar \(2,000 bytes, expected .*5 % of"
    )
    with pytest.raises(UserError, match=said):
        opened(packed)


def test_a_few_missing_images_are_left_out_unless_that_is_refused(
    tmp_path: Path, fill: Callable[..., Path]
) -> None:
    place = fill({f"{n:03}.png": encode(noise(n, 4, 4)) for n in range(100)})
    pack_shards(DataOptions(data=str(place)), tmp_path / "packed", 6_000)
    last = sorted((tmp_path / "packed").glob("train-*"))[-1]
    lost = parse_index((tmp_path / "packed" / INDEX).read_bytes(), "it").counts[-1]
    assert 0 < lost <= 5
    last.unlink()
    found = opened(tmp_path / "packed")
    assert len(found.splits["train"]) == 100 - lost
    assert found.skipped == ((last.name, "missing"),)
    with pytest.raises(
        UserError, match=rf"{last.name} \(missing\); expected none, as --unreadable stop says"
    ):
        opened(tmp_path / "packed", unreadable="stop")


def test_a_shard_that_goes_away_in_training_is_named(packed: Path) -> None:
    images = opened(packed).splits["train"]
    for path in packed.glob("train-00000[0-3].tar"):
        path.unlink()
    with pytest.raises(UserError, match=r"the shard train-00000\d.tar is missing"):
        images.read(torch.arange(90))


def test_a_damaged_shard_without_an_index_is_named(packed: Path) -> None:
    (packed / INDEX).unlink()
    path = packed / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"the shard train-000001.tar of wds:.* is damaged or truncated"):
        opened(packed)


@pytest.mark.parametrize("change", ["version", "outside", "short", "label", "nothing", "negative", "climbs"])
def test_an_index_that_contradicts_itself_is_refused(packed: Path, change: str) -> None:
    index = parse_index((packed / INDEX).read_bytes(), "it")
    content = index.to_bytes()
    if change == "version":
        content = content.replace(b'version\\": 1', b'version\\": 7')
    elif change == "climbs":
        content = content.replace(b"train-000001.tar", b"../in-000001.tar")
    elif change == "nothing":
        content = b"nothing"
    else:
        arrays = {
            "outside": ("offsets", index.offsets + 10**6),
            "negative": ("offsets", index.offsets - 10**6),
            "short": ("sizes", index.sizes[:-1]),
            "label": ("labels", index.labels + 2),
        }
        name, array = arrays[change]
        object.__setattr__(index, name, array)
        content = index.to_bytes()
    (packed / INDEX).write_bytes(content)
    with pytest.raises(UserError, match="is no index of shards") as error:
        opened(packed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("a\0b", {}, "does not exist: expected a folder of shards"),
        ("packed/x-{0.." + "9" * 5000 + "}.tar", {}, "holds no shards"),
        ("nowhere", {}, "does not exist: expected a folder of shards"),
        ("pipe:cat x.tar", {}, "would run a program"),
        ("ftp://host/x", {}, "expected a path, or a URL of s3"),
        ("s3://a::file://b", {}, "expected a path, or a URL of s3"),
        (".", {}, "holds no shards"),
        ("packed/x-{5..2}.tar", {}, "a first number not above the last"),
        ("packed", {"balance_classes": True}, "--balance-classes does not go with"),
        ("packed", {"range": "data"}, "--range data does not go with"),
        ("packed", {"pairs": "side-by-side"}, "--pairs side-by-side does not go with"),
    ],
)  # fmt: skip
def test_bad_places_and_options(
    packed: Path, monkeypatch: pytest.MonkeyPatch, place: str, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(packed.parent)
    with pytest.raises(UserError, match=message) as error:
        opened(place, **options)
    assert "\n" not in str(error.value)


def test_sizes_of_shards() -> None:
    assert parse_bytes("256MB") == 256_000_000
    assert parse_bytes("3kb") == 3000
    for text in ("", "256", "0MB", "-1MB", "1.5GB", "1TB"):
        with pytest.raises(UserError, match="expected a size such as 256MB"):
            parse_bytes(text)


def test_what_shards_cannot_hold_is_refused(folder: Path, packed: Path, tmp_path: Path) -> None:
    for data, out, message in (
        (DataOptions(data=str(folder)), packed, "exists already"),
        (DataOptions(data=str(folder)), tmp_path / "no/where", "mkdir -p"),
        (DataOptions(data="ring"), tmp_path / "new", "holds 2-D points"),
        (DataOptions(data=str(folder), pairs="edges"), tmp_path / "new", "shards hold no pairs"),
    ):
        with pytest.raises(UserError, match=message):
            pack_shards(data, out, 10**6)
        assert not (tmp_path / "new").exists()


def test_sources_are_derived_from_images_of_shards(packed: Path) -> None:
    images = opened(packed, pairs="grey").splits["train"]
    pixels, derived = images.read_pairs(torch.arange(3))
    assert derived is not None
    assert derived.shape == (3, 1, *pixels.shape[2:])
    assert images.block_starts is not None


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server of this machine, and the environment that leads there."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        remote._system.cache_clear()
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        name = f"images-{port}"
        s3fs.S3FileSystem().mkdir(name)
        yield f"s3://{name}"
    finally:
        server.stop()
        remote._system.cache_clear()


def upload(folder: Path, bucket: str) -> None:
    import s3fs

    s3fs.S3FileSystem().put(str(folder), f"{bucket}/packed", recursive=True)


@pytest.mark.slow
def test_an_object_store_gives_the_batches_of_a_folder(
    packed: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(packed, bucket)
    here, there = opened(packed), opened(f"{bucket}/packed")
    assert there.fingerprint == here.fingerprint
    monkeypatch.setattr(shards_module, "CACHE_BYTES", 30_000)  # some blocks are fetched more than once
    for position in range(0, 192, 16):
        one, other = (Loader(each.splits["train"], 16, seed=0).batch_at(position) for each in (here, there))
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    import s3fs

    system = s3fs.S3FileSystem()
    system.rm(f"{bucket}/packed/{INDEX}")
    assert contents(opened(f"{bucket}/packed")) == contents(here)
    fresh = opened(f"{bucket}/packed").splits["train"]
    system.rm(f"{bucket}/packed/train-000001.tar")
    with pytest.raises(UserError, match=r"the shard train-000001.tar is missing"):
        fresh.read(torch.arange(90))
    with pytest.raises(UserError, match=r"s3://images-\d+/nothing does not exist"):
        opened(f"{bucket}/nothing")


class WithParts(http.server.SimpleHTTPRequestHandler):
    """Lists folders, and sends parts of files, unless that is switched off."""

    sends_parts = True

    def log_message(self, *_: object) -> None:
        return

    def send_head(self) -> io.BytesIO | None:
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not wanted or not self.sends_parts or not path.is_file():
            return super().send_head()  # type: ignore[return-value]
        start, end = map(int, wanted.removeprefix("bytes=").split("-"))
        part = path.read_bytes()[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        return io.BytesIO(part)


@pytest.mark.slow
def test_a_web_server_gives_the_images_of_a_folder(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    handler = partial(WithParts, directory=str(packed.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            place = f"http://127.0.0.1:{server.server_address[1]}/packed"
            assert contents(opened(place)) == contents(opened(packed))
            monkeypatch.setattr(WithParts, "sends_parts", False)
            with pytest.raises(UserError, match="its server sends whole files only") as no:
                opened(place)
            assert "\n" not in str(no.value)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_named_in_a_line(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(remote, "PAUSES", (0.01,))
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    remote._system.cache_clear()
    with pytest.raises(
        UserError, match=r"s3://images-\d+/packed could not be read \(.*check address, network"
    ) as no:
        opened(f"{bucket}/packed")
    assert "\n" not in str(no.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(no.value)
