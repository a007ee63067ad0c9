"""Active units: one variance over all held-out images, not a mean over parts of them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import ganforge
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.evaluation.score import Evaluated
from ganforge.evaluation.scores import self_reported
from ganforge.evaluation.scores.self_reported import score_active_units


def test_active_units_are_counted_over_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = ganforge.train(
        "vae", "mnist", run=tmp_path / "r", steps=1, hidden=[8], latent_size=3, quiet=True, nll_samples=0
    )

    def means(images: Tensor) -> Tensor:
        """Active, inactive, and one that varies between parts only, which a mean over parts would miss."""
        part = float(next(parts))
        return torch.stack(
            [10 * images.mean((1, 2, 3)), torch.zeros(len(images)), torch.full((len(images),), part)], 1
        )

    parts = iter(range(1000))
    monkeypatch.setattr(trained.system, "posterior_mean", means, raising=True)
    dataset = open_dataset(DataOptions(data="mnist"))
    evaluated = Evaluated(
        dataset, torch.empty(2500, 1, 28, 28), {"seed": 0, "weights": "ema"}, trained=trained
    )
    (score,) = score_active_units(evaluated)
    assert score.value == 2
    assert score.note == "of 3 latents"
    assert self_reported.ACTIVE == 0.01
    assert "2500" in score.protocol["reference"]
