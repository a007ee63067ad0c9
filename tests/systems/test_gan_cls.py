"""GAN-CLS: its pairs and losses, that it draws what it is told, its commands and their mistakes."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioned import draw_captioned
from command import files_of, run
from PIL import Image
from torch import nn

import ganforge
from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.data.open import open_dataset
from ganforge.errors import UserError
from ganforge.export.package import write_shipped
from ganforge.files.provenance import read_provenance
from ganforge.nn.losses import mode_seeking_loss
from ganforge.systems.families.text_to_image import matching_loss, mismatched
from ganforge.systems.gan_cls import GANCLS
from ganforge.text.embeddings import describe, with_texts
from ganforge.training.update import OptimizerUpdate

SPEC = DataSpec(channels=3, height=8, width=8, num_images=60, embedding_size=6, class_names=("a", "b", "c"))
SMALL = {"width": 8, "discriminator_width": 8, "batch": 6, "latent_size": 4, "text_size": 5}


def build(spec: DataSpec = SPEC, **fields: object) -> GANCLS:
    torch.manual_seed(3)
    return GANCLS(GANCLS.Config(**(SMALL | fields)), spec).train()


def make_batch(count: int = 6) -> Batch:
    return Batch(
        2 * torch.rand(count, 3, 8, 8) - 1, torch.arange(count) % 3, embeddings=torch.randn(count, 6)
    )


def step(system: GANCLS, batch: Batch) -> dict[str, float]:
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    return {name: float(value) for name, value in system.train_step(batch, update).items()}


# Pairs


@pytest.mark.parametrize("with_labels", [False, True])
def test_a_mismatch_is_never_the_right_caption(with_labels: bool) -> None:
    embeddings = torch.tensor([[0.0], [0.0], [1.0], [2.0], [2.0], [3.0]])
    labels = torch.tensor([0, 0, 0, 1, 1, 1]) if with_labels else None
    seen = set()
    for _ in range(200):
        wrong, counts = mismatched(embeddings, labels)
        assert (wrong != embeddings).all()
        assert counts.tolist() == [1] * 6
        seen.update(zip(range(6), wrong.flatten().tolist(), strict=True))
    number = {0.0: 0, 1.0: 0, 2.0: 1, 3.0: 1}
    if with_labels:
        assert all(number[value] != (0 if row < 3 else 1) for row, value in seen)
    assert {value for row, value in seen if row == 0} == ({2.0, 3.0} if with_labels else {1.0, 2.0, 3.0})


def test_one_class_falls_back_to_other_captions_and_one_caption_to_nothing() -> None:
    wrong, counts = mismatched(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 0]))
    assert wrong.flatten().tolist() == [2, 1]
    assert counts.tolist() == [1, 1]
    assert mismatched(torch.ones(3, 2), None)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9])
def test_loss_of_an_undecided_discriminator_is_log_4(weight: float) -> None:
    zeros = torch.zeros(5)
    assert float(matching_loss(zeros, zeros, torch.ones(5), zeros, weight)) == pytest.approx(math.log(4))


def test_gradients_of_the_three_kinds() -> None:
    """d loss / d logit: -(1 - D) / n of real, w D / n of mismatched, (1 - w) D / n of generated pairs."""
    logits = [torch.tensor([-3.0, 0.0, 3.0], requires_grad=True) for _ in range(3)]
    counts = torch.tensor([1.0, 1.0, 0.0])
    matching_loss(logits[0], logits[1], counts, logits[2], 0.25).backward()
    probability = torch.sigmoid(torch.tensor([-3.0, 0.0, 3.0]))
    expected = (-(1 - probability) / 3, 0.25 * counts * probability / 3, 0.75 * probability / 3)
    for logit, gradient in zip(logits, expected, strict=True):
        assert logit.grad is not None
        assert torch.allclose(logit.grad, gradient, atol=1e-7)


# The step


def test_defaults_are_the_networks_of_the_released_code() -> None:
    spec = SPEC.model_copy(update={"height": 64, "width": 64, "embedding_size": 1024})
    system = GANCLS(GANCLS.Config(), spec)
    maps = system.discriminator.look(torch.zeros(2, 3, 64, 64))
    assert maps.shape == (2, 512, 4, 4)
    first = system.generator.layers[0]
    assert isinstance(first, nn.ConvTranspose2d)
    assert (first.in_channels, first.out_channels) == (100 + 128, 1024)


@pytest.mark.parametrize(("interpolate", "expected"), [(False, 6), (True, 9)])
def test_only_the_generator_is_told_means_of_captions(interpolate: bool, expected: int) -> None:
    system, batch = build(interpolate=interpolate), make_batch()
    assert batch.embeddings is not None
    told: list[torch.Tensor] = []
    judged: list[torch.Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, inputs: told.append(inputs[1]))
    system.discriminator.of_text.register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0]))
    step(system, batch)
    assert [len(rows) for rows in told] == [expected]
    assert [len(rows) for rows in judged] == [6, 6, 6, expected]  # right, wrong, fake; then the generator's
    assert torch.equal(judged[0], batch.embeddings)
    assert torch.equal(judged[2], batch.embeddings)
    if interpolate:
        assert torch.allclose(told[0][6:], (batch.embeddings[::2] + batch.embeddings[1::2]) / 2)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_wrong_captions_teach_by_their_weight(weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch()
    weights = []
    for wrong in (torch.full_like(batch.embeddings, 3.0), torch.randn_like(batch.embeddings)):
        monkeypatch.setattr(
            "ganforge.systems.gan_cls.mismatched", lambda *_, wrong=wrong: (wrong, torch.ones(len(wrong)))
        )
        system = build(mismatch_weight=weight)
        torch.manual_seed(1)
        step(system, batch)
        weights.append(torch.cat([p.detach().flatten() for p in system.discriminator.parameters()]))
    assert torch.equal(*weights) == (weight == 0)


def test_mode_seeking_loss_is_the_ratio_of_the_paper() -> None:
    images, others = torch.zeros(2, 3, 2, 2), torch.stack([torch.full((3, 2, 2), 0.5), torch.ones(3, 2, 2)])
    latents, other_latents = torch.zeros(2, 4), torch.tensor([[1.0] * 4, [3.0] * 4])
    loss = mode_seeking_loss(images, others, latents, other_latents)
    assert float(loss) == pytest.approx((1 / 0.5 + 3 / 1) / 2, rel=1e-4)
    assert float(mode_seeking_loss(images, images, latents, other_latents)) > 1e5


@pytest.mark.parametrize("interpolate", [False, True])
def test_mode_seeking_compares_two_images_of_a_caption(interpolate: bool) -> None:
    """With it alone, here a thousand times as strong as the rest, images of one caption differ more."""
    torch.manual_seed(0)
    batch = make_batch()

    def distance(system: GANCLS) -> float:
        assert batch.embeddings is not None
        one, other = (
            system.generator(system.draw_latents(6, torch.Generator().manual_seed(seed)), batch.embeddings)
            for seed in (1, 2)
        )
        return float((one - other).abs().mean().detach())

    distances = []
    for weight in (0.0, 1_000.0):
        torch.manual_seed(0)
        system = build(mode_seeking_weight=weight, interpolate=interpolate, learning_rate=0.002)
        for _ in range(20):
            metrics = step(system, batch)
        assert ("mode_seeking_loss" in metrics) == bool(weight)
        distances.append(distance(system))
    assert distances[1] > 1.3 * distances[0]


def test_logits_are_log_odds_only_without_mismatches() -> None:
    assert build(mismatch_weight=0.0).logits_are_log_odds
    assert not build().logits_are_log_odds


def test_packs_and_missing_captions_are_refused() -> None:
    with pytest.raises(ValueError, match="use --pack 1"):
        GANCLS.Config(pack=2)
    with pytest.raises(UserError, match="--text-encoder RUN"):
        build(SPEC.model_copy(update={"embedding_size": 0}))
    with pytest.raises(UserError, match="--text"):
        build().sample(2)
    with pytest.raises(UserError, match="1 captions for 2 samples"):
        build().sample(2, conditions(embeddings=torch.zeros(1, 6)))


# The commands


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    draw_captioned(folder / "shapes")
    encoder = {"batch": 16, "width": 8, "embedding_size": 16, "character_widths": (16, 16, 16)}
    small = {"batch": 16, "width": 16, "discriminator_width": 16, "halving_epochs": 1000}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        every: dict[str, Any] = {"size": 8, "quiet": True}
        ganforge.train(
            "text_encoder", "shapes", run="encoder", steps=400, learning_rate=0.002, **encoder, **every
        )
        every |= {"text_encoder": "encoder", "learning_rate": 0.001}
        ganforge.train("gan_cls", "shapes", run="gan", steps=800, **small, **every)
    (folder / "encoder").rename(folder / "moved")  # the run has its own
    return folder


def test_it_draws_the_colour_that_it_is_told(place: Path) -> None:
    out = place / "told.npz"
    texts = ("a red dot", "a green dot", "a blue dot")
    words = [word for text in texts for word in ("--text", text)]
    done = run("sample", "gan", *words, "--count", 12, "--seed", 1, "--out", out, cwd=place)
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        images, told = arrays["images"].astype(float), arrays["texts"]
    assert told.tolist() == [text for text in texts for _ in range(12)]
    ink = (255 - images).reshape(3, 12, -1, 3).mean((1, 2))  # what each text takes away from white
    assert [int(row.argmin()) for row in ink] == [0, 1, 2]


def test_the_discriminator_hears_a_wrong_caption(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    scores = {score.name: score for score in ganforge.evaluate("gan", num_samples=40)}
    assert scores["caption_ranking_accuracy"].value > 80  # 50 by guessing
    assert scores["caption_ranking_accuracy_held_out"].value > 80
    assert scores["caption_ranking_accuracy"].protocol["captions"] == "of shapes train, drawn by the seed"
    assert (place / "gan" / "neighbours.png").exists()


def test_the_same_seed_gives_the_same_bytes(place: Path) -> None:
    command = ("sample", "gan", "--text", "a red apple", "--seed", 1, "--count", 2, "--out")
    for name in ("one.png", "two.png"):
        assert run(*command, name, cwd=place).returncode == 0
    assert Image.open(place / "one.png").tobytes() == Image.open(place / "two.png").tobytes()
    assert read_provenance(place / "one.png")["text"] == "a red apple"


def test_a_file_of_any_texts_and_a_folder(place: Path) -> None:
    (place / "texts.txt").write_text("a red dot\n\n红色的点\n😀 \n" + "x" * 10_000, encoding="utf-8")
    done = run("sample", "gan", "--text-file", "texts.txt", "--out", "rows.png", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "32 samples, 4 prompts" in done.stdout
    done = run("sample", "gan", "--text-file", "texts.txt", "--count", 1, "--out", "each", cwd=place)
    assert done.returncode == 0, done.stderr
    assert len(list((place / "each").glob("*.png"))) == 4


def test_without_texts_it_is_told_captions_of_its_data(place: Path) -> None:
    drawn = run("sample", "gan", "--count", 1, "--seed", 3, "--out", "own.npz", cwd=place)
    assert drawn.returncode == 0, drawn.stderr
    with np.load(place / "own.npz") as arrays:
        texts = arrays["texts"].tolist()
    kept = [one for row in (place / "shapes" / "metadata.jsonl").read_text("utf-8").splitlines()
            for one in json.loads(row)["texts"] if json.loads(row)["split"] == "train"]  # fmt: skip
    assert len(texts) == 8
    assert set(texts) <= set(kept)
    (place / "shapes").rename(place / "away")
    try:
        refused = run("sample", "gan", cwd=place)
    finally:
        (place / "away").rename(place / "shapes")
    assert refused.returncode == 2
    assert 'add --text "a red apple"' in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["png", "gif", "webp"])
def test_from_one_sentence_to_another(place: Path, form: str) -> None:
    texts = ("--text", "a red dot", "--text", "a blue bar", "--interpolate", 5)
    done = run("sample", "gan", *texts, "--count", 2, "--out", f"way.{form}", cwd=place)
    assert done.returncode == 0, done.stderr
    with Image.open(place / f"way.{form}") as image:
        assert getattr(image, "n_frames", 1) == (1 if form == "png" else 8)  # there and back, the ends once


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--text", ""), "--text is empty"),
        (("--text", " \n"), "--text is empty"),
        (("--text", "a", "--interpolate", 5), "expected 2 steps or more and two texts"),
        (("--text", "a", "--labels", "dot"), "leave these out"),
        (("--text-file", "no.txt"), "expected a text file"),
        (("--text", "a", "--out", "a.bmp"), "expected a name ending in"),
    ],
)
def test_mistakes_are_one_line(place: Path, words: tuple[object, ...], message: str) -> None:
    done = run("sample", "gan", *words, cwd=place)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_training_without_an_encoder_leaves_nothing(place: Path) -> None:
    for words, message in (
        ((), "add --text-encoder RUN"),
        (("--text-encoder", "gan"), ""),  # a run that has its own encoder stands for it
        (("--text-encoder", "shapes"), "is not a run folder"),
    ):
        done = run(
            "train",
            "gan_cls",
            "--data",
            "shapes",
            "--size",
            8,
            *words,
            "--run",
            "new",
            "--dry-run",
            cwd=place,
        )
        assert done.returncode == (2 if message else 0), done.stderr
        assert message in done.stderr
        assert not (place / "new").exists()
    refused = run("train", "dcgan", "--data", "shapes", "--text-encoder", "moved", "--run", "new", cwd=place)
    assert "is for systems that take text" in refused.stderr
    wrong = run(
        "train",
        "gan_cls",
        "--data",
        "shapes",
        "--size",
        9,
        "--text-encoder",
        "moved",
        "--run",
        "new",
        cwd=place,
    )
    assert wrong.returncode == 2
    assert not (place / "new").exists()


def test_a_run_goes_on_with_its_own_encoder(place: Path) -> None:
    train = ("train", "gan_cls", "--data", "shapes", "--size", 8, "--text-encoder", "encoder", "--run", "gan")
    small = ("--width", 16, "--discriminator-width", 16, "--batch", 16, "--learning-rate", 0.001)
    done = run(*train, *small, "--halving-epochs", 1000, "--steps", 802, cwd=place)
    assert done.returncode == 0, done.stderr
    assert ganforge.load(place / "gan").step == 802


def test_a_shipped_run_draws_the_same_without_its_training(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `pretrained:NAME` is: the encoder inside, few bytes, nearly the same images."""
    package = place / "package"
    trained = ganforge.load(place / "gan")
    write_shipped(trained, package / "pretrained" / "small", "small")
    monkeypatch.setattr("ganforge.runs.pretrained.FOLDER", package / "pretrained")
    shipped = ganforge.load("pretrained:small")
    given = describe(shipped, ["a red dot"] * 4)
    own = trained.sample(4, seed=1, given=describe(trained, ["a red dot"] * 4))
    assert float((own - shipped.sample(4, seed=1, given=given)).abs().max()) < 0.05
    sizes = [
        sum(file.stat().st_size for file in run.path.glob("checkpoints/*/*"))
        for run in (trained.run, shipped.run)
    ]
    assert sizes[1] < 0.15 * sizes[0]
    assert trained.has_discriminator
    assert not shipped.has_discriminator
    with pytest.raises(UserError, match="no discriminator"):
        next(shipped.call("discriminate", [(own, given)]))
    texts = [file.read_text() for file in shipped.run.path.rglob("config.json")]
    assert len(texts) == 2
    assert not any(str(place) in text for text in texts)
    with pytest.raises(UserError, match="this version has small"):
        ganforge.load("pretrained:large")


def test_folders_of_others_stay_as_they_are(place: Path) -> None:
    """A failed start takes away only what it brought, and an encoder is never written over another run."""
    runs = place / "runs"
    shutil.copytree(place / "moved", runs / "text_encoder")
    before = files_of(runs)
    for data in (("gan", "--data", "ring"), ("gan_cls", "--data", "shapes", "--text-encoder", "moved")):
        refused = run("train", *data, "--run", "runs", "--steps", 1, cwd=place)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert files_of(runs) == before
    gan = files_of(place / "gan")
    refused = run("data", "embed", "moved", "--data", "shapes", "--out", "gan", cwd=place)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--out gan holds something else: name a new folder" in refused.stderr
    assert files_of(place / "gan") == gan
    for _ in range(2):  # its own place it may write again
        assert run("data", "embed", "moved", "--data", "shapes", "--out", "kept", cwd=place).returncode == 0


def test_an_encoder_that_an_interrupted_start_left(place: Path) -> None:
    """It is never taken for the one that is asked for."""
    shutil.copytree(place / "gan" / "text_encoder", place / "left" / "text_encoder")
    command = "train gan_cls --data shapes --size 8 --text-encoder moved --run left --steps 1"
    refused = run(*command.split(), cwd=place)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "is not a run folder and not empty (text_encoder)" in refused.stderr


def test_scores_on_a_schedule_are_told_captions(place: Path) -> None:
    command = ("train", "gan_cls", "--data", "shapes", "--size", 8, "--text-encoder", "moved")
    small = ("--width", 8, "--discriminator-width", 8, "--batch", 4, "--run", "judged", "--steps", 2)
    done = run(
        *command, *small, "--evaluate-every", 1, "--evaluate-samples", 20, "--keep-best", "kid", cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert (place / "judged" / "checkpoints" / "best").is_dir()
    encoder = (
        "train",
        "text_encoder",
        "--data",
        "shapes",
        "--run",
        "no",
        "--steps",
        2,
        "--evaluate-every",
        1,
    )
    refused = run(*encoder, cwd=place)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "text_encoder generates no images to score" in refused.stderr


def test_other_captions_are_other_data(place: Path) -> None:
    shutil.copytree(place / "shapes", place / "renamed")
    texts = place / "renamed" / "metadata.jsonl"
    texts.write_text(texts.read_text().replace("red", "blue"))
    config = ganforge.load(place / "gan").run.config
    changed = {"text_encoder": str(place / "gan")}
    asked = [
        with_texts(
            open_dataset(config.data.model_copy(update=changed | {"data": str(place / name)})), GANCLS.needs
        )
        for name in ("shapes", "renamed")
    ]
    assert asked[0].fingerprint == config.fingerprint
    assert asked[1].fingerprint != config.fingerprint
