"""Saved statistics: equal both ways to an independent reader and writer of pytorch-fid's files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import ganforge
from ganforge.cli.main import main
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.evaluation.saved_statistics import features_for, read_statistics

COUNT = 2_100


def pytorch_fid_reads(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """As `compute_statistics_of_path` of pytorch-fid 0.3.0."""
    with np.load(path) as f:
        return f["mu"][:], f["sigma"][:]


def pytorch_fid_writes(path: Path, activations: np.ndarray) -> None:
    """As `calculate_activation_statistics` and `save_fid_stats`."""
    np.savez_compressed(path, mu=np.mean(activations, axis=0), sigma=np.cov(activations, rowvar=False))


def pytorch_fid_distance(mu1, sigma1, mu2, sigma2) -> float:
    """As `calculate_frechet_distance`, whose matrix root has this trace."""
    difference = mu1 - mu2
    root = np.sqrt(np.linalg.eigvals(sigma1.dot(sigma2)).astype(complex)).sum().real
    return float(difference.dot(difference) + np.trace(sigma1) + np.trace(sigma2) - 2 * root)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statistics")
    ganforge.train("dcgan", "mnist", run=folder / "run", steps=2, batch=8, width=4, device="cpu", quiet=True)
    return folder / "run"


def test_both_ways_equal_pytorch_fid(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mnist.npz"
    assert main(["data", "statistics", "mnist", str(out), "--split", "test", "--features", "mnist"]) == 0
    assert "10,000 images" in capfd.readouterr().out
    test = open_dataset(DataOptions(data="mnist")).splits["test"]
    classifier = load_classifier("mnist")
    real = classifier.features(test.read(torch.arange(len(test))).float() / 127.5 - 1).double().numpy()
    mu, sigma = pytorch_fid_reads(out)
    assert mu.dtype == sigma.dtype == np.float64
    np.testing.assert_allclose(mu, real.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(sigma, np.cov(real, rowvar=False), rtol=1e-5, atol=1e-6)

    theirs = tmp_path / "theirs.npz"
    pytorch_fid_writes(theirs, real)
    options = {"num_samples": COUNT, "features": "mnist"}
    scores = [ganforge.evaluate(run, statistics=path, **options)[0] for path in (out, theirs)]
    samples = ganforge.load(run).sample(COUNT).as_subclass(torch.Tensor)
    rounded = samples.clamp(-1, 1).add(1).mul(127.5).round().div(127.5).sub(1)
    fake = classifier.features(rounded).double().numpy()
    expected = pytorch_fid_distance(
        real.mean(0), np.cov(real, rowvar=False), fake.mean(0), np.cov(fake, rowvar=False)
    )
    for score in scores:
        assert score.name == "fid"
        assert score.value == pytest.approx(expected, rel=1e-4)
    assert "saved statistics theirs.npz, SHA-256" in scores[1].protocol["reference"]
    # As the same images without a file.
    moments = Moments.of(torch.from_numpy(real)), Moments.of(torch.from_numpy(fake))
    assert scores[0].value == pytest.approx(frechet_distance(*moments), rel=1e-5)


def test_2048_features_are_those_of_inception(tmp_path: Path) -> None:
    np.savez(tmp_path / "edm.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    assert features_for(tmp_path / "edm.npz", "auto") == "inception"
    assert features_for(tmp_path / "edm.npz", "random") == "random"
    np.savez(tmp_path / "other.npz", mu=np.zeros(4, np.float32), sigma=np.eye(4, dtype=np.float32))
    assert features_for(tmp_path / "other.npz", "auto") == "auto"


def test_bad_files_are_one_line(run: Path, tmp_path: Path) -> None:
    eye = np.eye(4)
    bad = {
        "shape": {"mu": np.zeros(3), "sigma": eye},
        "nan": {"mu": np.full(4, np.nan), "sigma": eye},
        "lopsided": {"mu": np.zeros(4), "sigma": np.triu(np.ones((4, 4)))},
        "missing": {"mean": np.zeros(4), "sigma": eye},
        "objects": {"mu": np.array([None] * 4), "sigma": eye},
    }
    for name, arrays in bad.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / "stylegan.pkl").write_bytes(pickle.dumps({"mu": 1}))
    (tmp_path / "empty.npz").write_bytes(b"")
    for path in [*tmp_path.iterdir(), tmp_path / "absent.npz"]:
        with pytest.raises(UserError) as caught:
            read_statistics(path)
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "good.npz", mu=np.zeros(4), sigma=eye)
    with pytest.raises(UserError, match="are of 4 features, --features has 128"):
        ganforge.evaluate(run, statistics=tmp_path / "good.npz", num_samples=20)
    np.savez(tmp_path / "size.npz", mu=np.zeros(128), sigma=np.eye(128))
    with pytest.raises(UserError, match="FID needs 2048 or more"):
        ganforge.evaluate(run, statistics=tmp_path / "size.npz", num_samples=20)
