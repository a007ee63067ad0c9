"""Captions as data: codes, those held out, the ones that a batch gets, and where they are found."""

import json

import pytest
import torch

from ganforge.data.batch import Batch
from ganforge.data.captions import (
    ALPHABET,
    LONGEST,
    NUM_FALLBACKS,
    SHORTEST,
    Texts,
    encode,
    held_out_captions,
    kept_captions,
    num_codes,
    plain,
    spec_of_captions,
)
from ganforge.data.dataset import batch_of, with_codes
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.split import in_memory
from ganforge.errors import UserError


def split_of(captions):
    return in_memory(torch.zeros(len(captions), 1, 2, 2, dtype=torch.uint8), captions=captions)


def decoded(codes, alphabet):
    return "".join(alphabet[code - 1] for code in codes.tolist() if 0 < code <= len(alphabet))


def test_codes_say_the_text():
    assert len(set(ALPHABET)) == len(ALPHABET)
    codes = encode(["A red  Apple!", ""], ALPHABET, 60)
    assert codes.shape == (2, 60)
    assert decoded(codes[0], ALPHABET) == "a red apple!"
    assert not codes[1].any()


@pytest.mark.parametrize("text", ["苹果", "😀 smile", "Ünïcode", "\x00\x07", "a" * 10_000, "\ud800"])
def test_any_text_has_codes(text):
    codes = encode([text], ALPHABET, LONGEST)
    assert codes.shape == (1, LONGEST)
    assert int(codes.min()) >= 0
    assert int(codes.max()) < num_codes(ALPHABET)
    assert torch.equal(codes, encode([text], ALPHABET, LONGEST))


def test_an_accent_falls_back_to_its_letter_and_others_to_shared_codes():
    assert torch.equal(encode(["café"], ALPHABET, 9), encode(["cafe"], ALPHABET, 9))
    code = int(encode(["苹"], ALPHABET, 9)[0, 0])
    assert len(ALPHABET) < code <= len(ALPHABET) + NUM_FALLBACKS


def test_the_alphabet_grows_with_the_captions():
    alphabet, length = spec_of_captions([["苹果 red"], ["果", "x" * 300]])
    assert alphabet == ALPHABET + "果苹"
    assert length == LONGEST
    assert spec_of_captions([["a"], ["b"]]) == (ALPHABET, SHORTEST)
    assert spec_of_captions([["a"], []]) == ("", 0)
    assert spec_of_captions(None) == ("", 0)


def test_held_out_captions_leave_every_image_one():
    captions = [[f"{row} one", f"{row} two", f"{row} three"][: 1 + row % 3] for row in range(900)]
    images = split_of(captions)
    held = held_out_captions(images.caption_lists)
    assert 30 < len(held) < 90  # a tenth of the 600 that can spare one
    kept = kept_captions("train", images.caption_lists)
    assert all(kept)
    for row, number in held:
        assert captions[row][number] not in kept[row]
        assert len(kept[row]) == len(captions[row]) - 1
    assert sum(map(len, kept)) == sum(map(len, captions)) - len(held)
    assert kept_captions("test", images.caption_lists) == captions


def test_every_caption_of_a_image_is_drawn():
    texts = Texts.of([torch.tensor([[1], [2], [3]]), torch.tensor([[4]])])
    rows = torch.tensor([0] * 300 + [1] * 10)
    batch = texts.put_into(Batch(torch.zeros(310, 1, 1, 1)), rows, torch.rand(310))
    assert batch.captions[:300].flatten().bincount().tolist() == pytest.approx([0, 100, 100, 100], abs=40)
    assert batch.captions[300:].eq(4).all()
    assert batch.embeddings is None


@pytest.mark.parametrize(("average", "expected"), [(1, 2.0), (2, 3.0), (3, 7 / 3), (9, 7 / 3)])
def test_embeddings_are_averaged(average, expected):
    values = [torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[5.0]])]
    texts = Texts.of(values, average)
    batch = texts.put_into(Batch(torch.zeros(2, 1, 1, 1)), torch.tensor([0, 1]), torch.tensor([0.5, 0.9]))
    assert batch.embeddings.flatten().tolist() == pytest.approx([expected, 5.0])


def test_batches_of_emoji_have_captions_of_their_images():
    dataset = with_codes(open_dataset(DataOptions(data="emoji", size=8)))
    spec, train = dataset.spec, dataset.splits["train"]
    assert "captions" in spec.offers
    stream = Loader(train, 32, seed=1)
    batch = stream.batch_at(64)
    kept = kept_captions("train", train.caption_lists)
    for row, codes in zip(stream.indices_at(64).tolist(), batch.captions, strict=True):
        assert decoded(codes, spec.caption_alphabet) in [plain(text) for text in kept[row]]
    assert torch.equal(batch.captions, stream.batch_at(64).captions)
    first = batch_of(train, torch.tensor([0])).captions[0]
    assert decoded(first, spec.caption_alphabet) == plain(kept[0][0])


def test_a_text_next_to_an_image_is_its_captions(fill, zipped):
    root = fill({"cat/a.png": 1, "cat/a.txt": "a cat\n\n the pet \n", "dog/b.png": 2, "dog/b.txt": "a dog"})
    for place in (root, zipped(root)):
        dataset = open_dataset(DataOptions(data=str(place)))
        assert dataset.splits["train"].captions == [["a cat", " the pet "], ["a dog"]]
        assert dataset.spec.class_names == ("cat", "dog")
        assert dataset.spec.caption_alphabet == ALPHABET


def test_one_image_without_a_caption_makes_a_set_without_captions(fill):
    root = fill({"a.png": 1, "a.txt": "one", "b.png": 2, "b.txt": "  \n", "notes.txt": "no image"})
    dataset = open_dataset(DataOptions(data=str(root)))
    assert "captions" not in dataset.spec.offers
    assert with_codes(dataset) is dataset


def test_a_broken_text_is_named(fill):
    root = fill({"a.png": 1, "a.txt": b"\xff\xfe\xfa"})
    with pytest.raises(UserError, match=r"a\.txt cannot be read as captions"):
        open_dataset(DataOptions(data=str(root)))


def test_empty_texts_in_metadata_are_no_captions(fill):
    rows = [
        {"file_name": "a.png", "texts": ["", " "], "text": "one"},
        {"file_name": "b.png", "texts": [7, "x"]},
    ]
    root = fill({"a.png": 1, "b.png": 2, "metadata.jsonl": "\n".join(map(json.dumps, rows))})
    dataset = open_dataset(DataOptions(data=str(root)))
    assert dataset.splits["train"].captions == [["one"], ["7", "x"]]
