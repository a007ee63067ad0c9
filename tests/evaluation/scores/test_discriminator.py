"""The discriminator's own scores: with batch norm by the statistics of batches as in training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganforge
from ganforge.data.dataset import Dataset, batch_of, held_out, some_rows
from ganforge.data.split import Split
from ganforge.evaluation.score import Evaluated, Score
from ganforge.evaluation.scores.self_reported import score_discriminator
from ganforge.runs.trained import Trained, load
from ganforge.text.embeddings import data_of

BATCH = 16


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A DCGAN that real and generated images drive apart, so that the mixed running statistics matter."""
    run = tmp_path_factory.mktemp("discriminator") / "run"
    options: dict[str, Any] = {"steps": 40, "batch": BATCH, "width": 4, "learning_rate": 2e-3}
    ganforge.train(
        "dcgan", "mnist", run=run, quiet=True, device="cpu", precision="fp32", log_every=5, **options
    )
    return load(run, device="cpu")


@pytest.fixture(scope="module")
def dataset(trained: Trained) -> Dataset:
    return data_of(trained.run)


def evaluated(trained: Trained, dataset: Dataset, count: int) -> Evaluated:
    samples = ((trained.sample(count, seed=1) + 1) * 127.5).round().to(torch.uint8)
    return Evaluated(dataset, samples, {"weights": "ema", "seed": 1, "step": trained.step}, trained=trained)


def values(scores: list[Score]) -> list[float]:
    return [score.value for score in scores]


def by_hand(trained: Trained, images: Tensor, mode: bool) -> float:
    """The mean of D over batches of the training's size, in their order after the fixed shuffle."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    discriminator = load(trained.run.path, device="cpu").raw.get_submodule("discriminator").train(mode)
    with torch.no_grad():
        batches = images[order][: len(images) // BATCH * BATCH].split(BATCH)
        return float(torch.cat([discriminator(batch) for batch in batches]).sigmoid().double().mean())


def test_it_is_the_mean_over_batches_as_in_training(trained: Trained, dataset: Dataset) -> None:
    count = 10 * BATCH + 5
    subject = evaluated(trained, dataset, count)
    before = {name: tensor.clone() for name, tensor in trained.raw.state_dict().items()}
    scores = score_discriminator(subject)
    reference = held_out(dataset)[1]
    real = batch_of(reference, some_rows(reference, count)).images
    fake = subject.samples.float() / 127.5 - 1
    expected = [by_hand(trained, images, True) for images in (real, fake)]
    assert values(scores) == pytest.approx(expected, abs=1e-5)
    running = [by_hand(trained, images, False) for images in (real, fake)]
    assert max(abs(a - b) for a, b in zip(expected, running, strict=True)) > 1e-3
    assert [score.protocol["data"] for score in scores] == ["mnist test, 160", "160 samples"]
    assert "statistics of each batch of 16" in scores[0].protocol["mode"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.raw.state_dict().items())
    assert not any(module.training for module in trained.raw.modules())


def test_images_that_lie_class_by_class_are_mixed(trained: Trained, dataset: Dataset) -> None:
    """A batch of one class would be normed away: the score of a sorted split is that of a mixed one."""
    reference = held_out(dataset)[1]
    assert reference.labels is not None
    assert reference.pixels is not None
    rows = torch.randperm(len(reference), generator=torch.Generator().manual_seed(5))[: 20 * BATCH]
    in_classes = rows[reference.labels[rows].argsort()]
    real = []
    for chosen in (rows, in_classes):
        pixels = reference.pixels[chosen]
        split = Split(reference.shape, pixels.__getitem__, len(pixels), labels=reference.labels[chosen])
        other = replace(dataset, splits={"train": dataset.splits["train"], "test": split})
        real.append(score_discriminator(evaluated(trained, other, 20 * BATCH))[0].value)
    assert real[0] == pytest.approx(real[1], abs=0.01)


def test_fewer_images_than_a_batch_have_no_score(trained: Trained, dataset: Dataset) -> None:
    assert score_discriminator(evaluated(trained, dataset, BATCH - 1)) == []
    assert len(score_discriminator(evaluated(trained, dataset, BATCH))) == 2


def test_without_batch_norm_every_image_counts_alone(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 1, "batch": 8, "quiet": True, "device": "cpu"}
    ganforge.train("gan", "ring", run=tmp_path / "run", **options)
    trained = load(tmp_path / "run", device="cpu")
    samples = trained.sample(5)
    protocol = {"weights": "ema", "seed": 0, "step": 1}
    scores = score_discriminator(Evaluated(data_of(trained.run), samples, protocol, trained=trained))
    with torch.no_grad():
        expected = float(trained.system.discriminate(samples).sigmoid().mean())  # type: ignore[operator]
    assert scores[1].value == pytest.approx(expected, abs=1e-6)
    assert scores[1].protocol["data"] == "5 samples"
    assert scores[1].protocol["mode"] == "evaluation (running statistics, no dropout)"
