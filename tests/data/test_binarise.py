"""Binary images: fixed where they are to be fixed, fair everywhere."""

import numpy as np
import pytest
import torch

from ganforge.data.binarise import binarise, binarised_once
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.split import in_memory
from ganforge.errors import UserError


def test_white_has_the_probability_of_the_brightness() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).expand(20_000, 256)
    numbers = np.random.default_rng(0).random((20_000, 256), dtype=np.float32)
    drawn = binarise(pixels, torch.from_numpy(numbers))
    assert set(drawn.unique().tolist()) == {0, 255}
    share = (drawn == 255).float().mean(0)
    assert share[0] == 0
    assert share[255] == 1
    # Five standard errors of the worst of 256 binomials.
    assert float((share - torch.arange(256) / 255).abs().max()) < 5 * 0.5 / 20_000**0.5


def test_once_is_a_function_of_the_images() -> None:
    pixels = torch.randint(
        0, 256, (50, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    one, same = (binarised_once(in_memory(pixels.clone()), "grey").pixels for _ in range(2))
    other = binarised_once(in_memory(pixels.flip(0)), "grey").pixels
    assert one is not None
    assert same is not None
    assert other is not None
    assert torch.equal(one, same)
    assert not torch.equal(one, other.flip(0))


def test_static_and_dynamic() -> None:
    """Static images stay; dynamic ones change with the position, but not those that scores read."""
    plain, static, dynamic = (
        open_dataset(DataOptions.model_validate({"data": "mnist", "binarise": kind}))
        for kind in ("none", "static", "dynamic")
    )
    assert not plain.spec.binary
    assert static.spec.binary
    assert dynamic.spec.binary
    assert static.fingerprint == dynamic.fingerprint == plain.fingerprint
    rows = torch.arange(100)
    for split in ("train", "test"):
        assert torch.equal(static.splits[split].read(rows), dynamic.splits[split].read(rows))
        assert set(static.splits[split].read(rows).unique().tolist()) == {0, 255}
    assert torch.equal(dynamic.streamed.read(rows), plain.streamed.read(rows))
    assert static.streamed is static.splits["train"]
    assert static.splits["train"].labels is not None

    stream = Loader(dynamic.streamed, 60_000, seed=1, binarise=True)
    few = Loader(dynamic.streamed, 100, seed=1, binarise=True)
    assert set(few.batch_at(0).images.unique().tolist()) == {-1, 1}
    assert torch.equal(few.batch_at(300).images, few.batch_at(300).images)
    same = int((stream.indices_at(50_000) == stream.indices_at(0)[0]).nonzero()[0])
    later = Loader(dynamic.streamed, 1, seed=1, binarise=True).batch_at(50_000 + same).images
    first = Loader(dynamic.streamed, 1, seed=1, binarise=True).batch_at(0).images
    assert 0 < int((later != first).sum()) < 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": "emoji"}, "--channels grey"),
        ({"data": "ring"}, "2-D points"),
        ({"data": "mnist", "dequantise": True}, "leave one of them out"),
    ],
)
def test_what_cannot_be_binary_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        open_dataset(DataOptions.model_validate(fields | {"binarise": "static"}))
    assert "\n" not in str(refused.value)
