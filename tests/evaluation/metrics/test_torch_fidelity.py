"""The same numbers as torch-fidelity's on given features, where it is installed: docs/metrics.md says how."""

import importlib
import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor

from ganforge.evaluation.metrics.classifier_score import classifier_score
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.evaluation.metrics.kernel import kernel_distance
from ganforge.evaluation.metrics.neighbours import Neighbourhoods, precision_recall

COUNT, DIMENSION = 400, 64


def theirs(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        pytest.importorskip("torch_fidelity")
        return importlib.import_module(f"torch_fidelity.{name}")


@pytest.fixture(scope="module")
def sides() -> tuple[Tensor, Tensor]:
    """Real and generated features: none below 0, correlated, float64 as torch-fidelity computes in theirs."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIMENSION, DIMENSION, generator=generator, dtype=torch.float64) / DIMENSION**0.5
    real, fake = torch.randn(2, COUNT, DIMENSION, generator=generator, dtype=torch.float64) @ mixing
    return real.relu(), (1.2 * fake + 0.1).relu()


def test_fid(sides: tuple[Tensor, Tensor]) -> None:
    module = theirs("metric_fid")
    statistics = [module.fid_features_to_statistics(side) for side in sides]
    expected = module.fid_statistics_to_metric(*statistics, verbose=False)[module.KEY_METRIC_FID]
    real, fake = (Moments.of(side) for side in sides)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-4)


def test_kid(sides: tuple[Tensor, Tensor]) -> None:
    """In subsets of everything, since theirs draws subsets with other random numbers; then near in those."""
    module = theirs("metric_kid")

    def both(subset_size: int, subsets: int) -> tuple[float, float]:
        found = module.kid_features_to_metric(
            *sides, kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=0, verbose=False
        )
        own = kernel_distance(*sides, num_subsets=subsets, subset_size=subset_size)
        return own.mean, found[module.KEY_METRIC_KID_MEAN]

    own, expected = both(COUNT, 1)
    assert own == pytest.approx(expected, rel=1e-4)
    own, expected = both(100, 200)
    assert own == pytest.approx(expected, rel=0.1)


def test_precision_and_recall(sides: tuple[Tensor, Tensor]) -> None:
    """Theirs counts a distance that equals the radius as inside; here there is none."""
    module = theirs("metric_prc")
    real, fake = sides
    found = module.prc_features_to_metric(fake, real, prc_neighborhood=3, verbose=False)
    shares = precision_recall(Neighbourhoods(real, fake), k=3)
    assert 0 < shares.precision < shares.recall < 1
    assert shares.precision == pytest.approx(found[module.KEY_METRIC_PRECISION], abs=1e-4)
    assert shares.recall == pytest.approx(found[module.KEY_METRIC_RECALL], abs=1e-4)


def test_inception_score(sides: tuple[Tensor, Tensor]) -> None:
    module = theirs("metric_isc")
    logits = 3 * sides[0]
    found = module.isc_features_to_metric(logits, splits=10, shuffle=False)
    score = classifier_score(logits)
    assert score.mean == pytest.approx(found[module.KEY_METRIC_ISC_MEAN], rel=1e-4)
    assert score.std == pytest.approx(found[module.KEY_METRIC_ISC_STD], rel=1e-4)
