import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
import torch
from drawn import noise
from PIL import Image

from ganforge.data.check import check
from ganforge.data.decode import fit
from ganforge.data.open import fit_arrays, open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.arrays import parse_idx, read_cifar10, read_idx_set
from ganforge.errors import UserError


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def grey(count, side=4):
    return np.arange(count * side * side, dtype=np.uint64).astype(np.uint8).reshape(count, side, side)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(5, 4, 3), (7,), (0, 2, 2)])
def test_idx_round_trip(pack, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(parse_idx(pack(idx(array)), len(shape), "x"), array)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b",
        idx(grey(3))[:-1],
        idx(grey(3)) + b"x",
        gzip.compress(idx(grey(3)), mtime=0)[:-9],
        gzip.compress(idx(grey(3)), mtime=0)[:-5] + b"12345",
        b"\0\0\x0d\3" + idx(grey(3))[4:],
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31),
        idx(np.zeros(4, np.uint8)),
    ],
)
def test_a_damaged_idx_file_is_refused(data):
    with pytest.raises(UserError, match="is not an IDX file"):
        parse_idx(data, 3, "x")


def test_sixty_thousand_images_give_a_validation_split():
    names = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"}
    content = {
        "train-images-idx3-ubyte": idx(grey(60_000, 2)),
        "train-labels-idx1-ubyte": idx((np.arange(60_000) % 7).astype(np.uint8)),
    }
    found = read_idx_set(names, content.__getitem__, "x")
    assert {split: len(pixels) for split, pixels in found.pixels.items()} == {
        "train": 50_000,
        "validation": 10_000,
    }
    assert found.labels["validation"][0] == 50_000 % 7
    assert found.class_names == tuple("0123456")
    assert np.array_equal(found.pixels["validation"][..., 0], grey(60_000, 2)[50_000:])


def test_a_folder_of_idx_files_opens_without_labels_too(tmp_path):
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(grey(10)))
    dataset = open_dataset(DataOptions(data=str(tmp_path)))
    assert list(dataset.splits) == ["train"]
    assert dataset.splits["train"].labels is None
    assert np.array_equal(dataset.splits["train"].pixels[:, 0].numpy(), grey(10))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(np.zeros(9, np.uint8)))
    with pytest.raises(UserError, match="has 9 labels"):
        open_dataset(DataOptions(data=str(tmp_path)))


def test_the_built_in_digits_are_split_like_the_gan_paper():
    dataset = open_dataset(DataOptions(data="mnist"))
    assert {split: len(images) for split, images in dataset.splits.items()} == {
        "train": 50_000,
        "validation": 10_000,
        "test": 10_000,
    }
    assert dataset.spec.shape == (1, 28, 28)
    assert dataset.spec.class_names == tuple("0123456789")
    assert dataset.splits["train"].labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.splits["train"].labels.dtype == torch.int64


def test_fashion_mnist_opens_by_path(shared):
    dataset = open_dataset(DataOptions(data=str(shared / "fashion-mnist")))
    assert len(dataset.splits["train"]) == 50_000
    assert dataset.splits["train"].labels[:4].tolist() == [9, 0, 0, 3]


@pytest.mark.parametrize(("depth", "channels"), [(1, "auto"), (1, "color"), (3, "auto"), (3, "grey")])
@pytest.mark.parametrize("size", [5, 8, 13])
def test_arrays_are_fitted_as_single_images_are(depth, channels, size):
    options = DataOptions(data="x", size=size, channels=channels)
    pixels = np.stack([noise(number) for number in range(6)])[..., :depth]
    fitted = fit_arrays(pixels, options)
    mode = "L" if fitted.shape[1] == 1 else "RGB"
    for array, result in zip(pixels, fitted, strict=True):
        image = Image.fromarray(array[..., 0] if depth == 1 else array).convert(mode)
        expected = np.asarray(fit(image, size, size, options))
        assert np.array_equal(result.permute(1, 2, 0).numpy().reshape(expected.shape), expected)


def cifar_archive(path, rows=4, classes=b"cat\ndog\n"):
    files = {f"data_batch_{number}.bin": rows for number in range(1, 6)} | {"test_batch.bin": rows}
    with tarfile.open(path, "w:gz") as archive:
        for name, count in files.items():
            records = np.random.default_rng(len(name)).integers(0, 256, (count, 3073), dtype=np.uint8)
            records[:, 0] = np.arange(count) % 2
            add(archive, name, records.tobytes())
        add(archive, "batches.meta.txt", classes)


def add(archive, name, content):
    member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def test_cifar_binary_files_are_planes_behind_a_label(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    cifar_archive(path)
    found = read_cifar10(path)
    assert {split: pixels.shape for split, pixels in found.pixels.items()} == {
        "train": (20, 32, 32, 3),
        "test": (4, 32, 32, 3),
    }
    assert found.class_names == ("cat", "dog")
    assert found.labels["train"][:3].tolist() == [0, 1, 0]
    first = np.random.default_rng(len("test_batch.bin")).integers(0, 256, (4, 3073), dtype=np.uint8)[0, 1:]
    assert np.array_equal(found.pixels["test"][0].transpose(2, 0, 1).ravel(), first)
    assert open_dataset(DataOptions(data=str(path))).spec.shape == (3, 32, 32)


def test_a_damaged_cifar_archive_is_refused(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    cifar_archive(path, classes=b"cat\n")
    with pytest.raises(UserError, match="no class name"):
        read_cifar10(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="not CIFAR-10"):
        read_cifar10(path)


def test_idx_files_of_empty_images_are_refused(tmp_path):
    head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (10, 0, 0))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(head)
    with pytest.raises(UserError, match="images of 0x0 pixels"):
        open_dataset(DataOptions(data=str(tmp_path)))
    assert "0x0" in check(DataOptions(data=str(tmp_path))).problems[0]
