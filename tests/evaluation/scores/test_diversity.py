"""The perceptual path length where samples jump in a part of the latents."""

from pathlib import Path

import pytest

import ganforge
from ganforge.evaluation.evaluate import evaluate
from ganforge.evaluation.metrics import path_length
from ganforge.evaluation.scores import diversity


def test_the_path_length_of_cgan_does_not_depend_on_epsilon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dropout masks are thresholded latents: were they walked, the length would grow as 1 / epsilon."""
    monkeypatch.setattr(diversity, "NUM_PATHS", 50)
    units = {"generator_units": (20, 30, 40), "discriminator_units": (8, 9, 10)}
    trained = ganforge.train("cgan", "mnist", run=tmp_path / "r", steps=1, quiet=True, **units)
    lengths = []
    for epsilon in (1e-2, 1e-4):
        monkeypatch.setattr(path_length.path_length, "__kwdefaults__", {"epsilon": epsilon, "seed": 0})
        scores = {score.name: score for score in evaluate(trained.run.path, num_samples=100)}
        lengths.append(scores["perceptual_path_length"].value)
        assert scores["perceptual_path_length"].protocol["latents"].startswith("the first 100 numbers")
    assert lengths[1] == pytest.approx(lengths[0], rel=0.2)
