"""What every score says of how it was measured, when none is given, and features that cannot be scored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from command import draw_images
from torch import Tensor

import ganforge
from ganforge.data.batch import to_float, to_uint8
from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.evaluate import score_run
from ganforge.evaluation.features.cache import FeatureExtractor
from ganforge.evaluation.features.classifiers import available_classifiers, load_classifier
from ganforge.evaluation.features.inception import InceptionFeatures
from ganforge.evaluation.features.select import OwnFeatures
from ganforge.evaluation.features.untrained import PixelFeatures, RandomConvolutions
from ganforge.evaluation.folders import evaluate_images
from ganforge.evaluation.metrics import frechet
from ganforge.evaluation.score import Evaluated, Score
from ganforge.evaluation.scores.distribution import score_distribution
from ganforge.nn.networks.inception import InceptionV3
from ganforge.runs.trained import Trained, load

COUNT, SIDE = 120, 14
NO_FID = "no FID: it needs {} samples and as many real images"
HEADLINES = {"fid", "fid_infinity", "fid_floor", "fid_to_training", "fid_within_classes"}


@dataclass
class Projected:
    """A network of `feature_size` features, and what happens to them after."""

    feature_size: int
    then: Callable[[Tensor], Tensor] = lambda features: features
    description: str = "projections"
    identity: str = ""

    def features(self, images: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(images[0].numel(), self.feature_size, generator=generator)
        return self.then(images.flatten(1) @ directions)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("data") / "images", count=COUNT, side=SIDE)


@pytest.fixture(scope="module")
def noise(folder: Path) -> Dataset:
    return open_dataset(DataOptions(data=str(folder)))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of two steps on these images."""
    run = tmp_path_factory.mktemp("runs") / "run"
    ganforge.train("dcgan", str(folder), run=run, width=2, batch=8, steps=2, quiet=True, device="cpu")
    return load(run, device="cpu")


def random_images(count: int = COUNT) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)


def scores_of(network: FeatureExtractor, samples: Tensor, dataset: Dataset) -> dict[str, Score]:
    evaluated = Evaluated(dataset, samples, {"weights": "raw", "seed": 5}, extractor=network)
    found = score_distribution(evaluated)
    return {score.name: score for score in found}


def give(trained: Trained, samples: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "draw", lambda count, **_: samples[:count].split(50))


def test_every_score_of_features_says_how_it_was_measured(trained: Trained, noise: Dataset) -> None:
    network = RandomConvolutions(3, SIDE, SIDE)
    scores = score_run(trained, noise, num_samples=110, seed=5, weights="raw", extractor=network)
    of_features = [score for score in scores if "features" in score.protocol]
    assert {"kid", "precision", "recall", "density", "coverage"} <= {score.name for score in of_features}
    for score in of_features:
        protocol = score.protocol
        assert protocol["features"] == network.description, score.name
        assert (protocol["weights"], protocol["seed"], protocol["step"]) == ("raw", 5, 2), score.name
        assert protocol["generated"] == 110, score.name
        assert protocol["reference"].endswith("train (this data has no held-out split), 110 images")
    for score in scores:
        assert {"weights", "seed", "step"} <= set(score.protocol), score.name


def test_every_network_names_its_weights_size_resize_and_range() -> None:
    torch.manual_seed(0)
    digest = "ab" * 32
    for network in [load_classifier(name) for name in available_classifiers()]:
        for words in ("128 features", "weights SHA-256", "8 bit", "antialiased bilinear"):
            assert words in network.description
    inception = InceptionV3()
    for resize in ("legacy", "clean"):
        text = InceptionFeatures(inception, digest, resize).description
        for words in ("2048 features", digest[:12], "8 bit", f"{resize} resize to 299x299", "(pixel - 128)"):
            assert words in text
    assert "pixels in [-1, 1] at 14x14 (area average), 588 features" in PixelFeatures(3, 14, 14).description
    text = RandomConvolutions(3, SIDE, SIDE).description
    for words in ("seed 0", "224 features", "8 bit", "nothing was trained"):
        assert words in text
    own = OwnFeatures("torch.nn:Flatten", (3, SIDE, SIDE))
    for words in ("torch.nn:Flatten, 588 features", "weights SHA-256", "[-1, 1]", "8 bit"):
        assert words in own.description


def test_samples_are_scored_as_saved_files(
    trained: Trained, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than half a grey level, and what lies beyond black and white, changes no score of images."""
    images = to_float(random_images())
    beyond = torch.where(images.abs() == 1, 3 * images, images + 0.9 / 255)
    assert (beyond.abs() > 1).any()
    assert torch.equal(to_uint8(beyond), random_images())
    network, found = Projected(40), []
    for samples in (images, beyond):
        give(trained, samples, monkeypatch)
        scores = score_run(trained, noise, num_samples=110, extractor=network)
        found.append({score.name: score.value for score in scores if score.name != "sampling_speed"})
    assert {"kid", "coverage", "ms_ssim"} <= set(found[0])
    assert found[0] == found[1]


def test_too_few_samples_get_words_and_no_headline_number(noise: Dataset) -> None:
    scores = scores_of(Projected(2_048), random_images(60), noise)
    assert not HEADLINES & set(scores)
    assert scores["kid"].note.startswith(NO_FID.format(2_048))


def test_more_features_than_samples_get_none_either(noise: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frechet, "SMALLEST_FID_COUNT", 20)
    for size, allowed in ((30, True), (60, True), (61, False)):
        scores = scores_of(Projected(size), random_images(60), noise)
        assert bool(HEADLINES & set(scores)) == allowed, size
        assert (NO_FID.format(size) in scores["kid"].note) == (not allowed)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("count", [COUNT, 20])
def test_features_that_are_no_numbers_are_refused(noise: Dataset, count: int, bad: float) -> None:
    network = Projected(8, then=lambda features: features.index_fill(0, torch.tensor([3]), bad))
    with pytest.raises(UserError, match="NaN or infinity"):
        scores_of(network, random_images(count), noise)


def test_images_that_are_no_numbers_are_refused(
    trained: Trained, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = to_float(random_images())
    images[70, 1, 2, 3] = torch.nan
    give(trained, images, monkeypatch)
    with pytest.raises(UserError, match="samples hold NaN"):
        score_run(trained, noise, num_samples=110, extractor=Projected(8))


def test_own_features_must_be_as_many_of_every_image() -> None:
    own = OwnFeatures("torch.nn:Flatten", (3, SIDE, SIDE))
    with pytest.raises(UserError, match=r"gives 300 features, 588 before: expected as many"):
        own.features(torch.zeros(2, 3, 10, 10))


def test_fewer_samples_than_neighbours_leave_the_neighbourhoods_out(noise: Dataset) -> None:
    for count in (2, 5):  # k is 3 and 5
        assert set(scores_of(Projected(8), random_images(count), noise)) == {"kid"}


def test_other_images_are_scored_by_the_same_rules(trained: Trained, folder: Path, tmp_path: Path) -> None:
    path = trained.run.path
    found = evaluate_images(path, str(folder))
    scores = {score.name: score for score in found}
    assert scores["kid"].value < 0  # of a set and itself: pairs of copies count between the sides only
    assert scores["kid"].note.startswith("no FID: it needs 2048")
    assert "14x14 by cropping, Lanczos where larger" in scores["kid"].protocol["samples"]
    with pytest.raises(UserError):
        evaluate_images(path, str(tmp_path))  # no images
    (folder / "000.png").rename(tmp_path / "000.png")  # one image less than it was trained on
    with pytest.raises(UserError, match=r"is other data than .* training images then, "):
        evaluate_images(path, str(tmp_path))
    (tmp_path / "000.png").rename(folder / "000.png")
