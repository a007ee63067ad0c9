"""Saved statistics of features: `.npz` files of mu and sigma, as pytorch-fid and EDM write and read them."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ganforge.data.dataset import Dataset
from ganforge.errors import UserError, printable
from ganforge.evaluation.features.cache import FeatureExtractor, real_features
from ganforge.evaluation.metrics.frechet import Moments, StoredMoments, frechet_distance
from ganforge.evaluation.score import Evaluated, Score
from ganforge.files.atomic import replace_file
from ganforge.files.reading import read_regular

MOST_FEATURES = 8_192
INCEPTION_SIZE = 2_048


def write_statistics(
    path: Path,
    dataset: Dataset,
    split: str,
    extractor: FeatureExtractor,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Write mu and sigma (divisor count - 1), float64, of the features of all images of a split.

    Returns the number of images; raises UserError where there is no such split, or too few images.
    """
    if split not in dataset.splits:
        raise UserError(f"--split {printable(split)}: this data has {', '.join(dataset.splits)}")
    features = real_features(extractor, dataset, split, say=say)
    moments = Moments.of(features)
    file = io.BytesIO()
    np.savez(file, mu=moments.mean.numpy(), sigma=moments.covariance.numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, file.getvalue())
    return len(features)


def read_statistics(path: Path) -> tuple[StoredMoments, str]:
    """The moments in a file, and its SHA-256; raises UserError where it is another file.

    Nothing in it is executed: `.pkl` files of StyleGAN are pickles, and are rejected.
    """
    shown = printable(str(path))
    expected = "expected an .npz with mu [n] and sigma [n, n], as pytorch-fid writes"
    try:
        content = read_regular(path)
    except OSError as error:
        raise UserError(f"--statistics {shown} cannot be read: {error.strerror or error}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            most = {"mu.npy": 8 * MOST_FEATURES, "sigma.npy": 8 * MOST_FEATURES**2}
            for name, size in most.items():
                if archive.getinfo(name).file_size > size + 1_000:
                    raise ValueError(f"{name} is larger than of {MOST_FEATURES} features")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            mean, covariance = (np.asarray(arrays[name], dtype=np.float64) for name in ("mu", "sigma"))
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or not len(mean):
            raise ValueError(f"mu {list(mean.shape)}, sigma {list(covariance.shape)}")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("NaN or infinity")
        if not np.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-8):
            raise ValueError("sigma is not symmetric")
    except (
        ValueError,
        KeyError,
        TypeError,
        OSError,
        EOFError,
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"--statistics {shown}: {printable(first)}: {expected}") from error
    moments = StoredMoments(torch.from_numpy(mean), torch.from_numpy(covariance))
    return moments, hashlib.sha256(content).hexdigest()


def score_statistics(evaluated: Evaluated, path: Path) -> list[Score]:
    """The FID of samples and of saved statistics, which must be of the same features."""
    moments, digest = read_statistics(path)
    count = len(evaluated.samples)
    if moments.dimension != evaluated.features.shape[1]:
        raise UserError(
            f"--statistics {printable(str(path))} are of {moments.dimension} features, --features has "
            f"{evaluated.features.shape[1]}: expected the same extractor"
        )
    if count < evaluated.fewest_for_fid:
        raise UserError(f"--num-samples {count}: FID needs {evaluated.fewest_for_fid} or more")
    assert evaluated.extractor is not None
    value = frechet_distance(moments, Moments.of(evaluated.features))
    protocol = evaluated.sample_protocol | {
        "features": evaluated.extractor.description,
        "generated": count,
        "reference": f"saved statistics {path.name}, SHA-256 {digest[:12]}",
    }
    return [
        Score(name="fid", value=value, protocol=protocol, note="whose features they are is not in the file")
    ]


def features_for(path: Path, features: str) -> str:
    """The extractor to compare with the statistics in `path`: of 2,048 features Inception, unless named."""
    if features != "auto":
        return features
    moments, _ = read_statistics(path)
    return "inception" if moments.dimension == INCEPTION_SIZE else features
