"""Features of images, with their labels, in one file for classifiers of any library."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganforge.data.dataset import Dataset, some_rows
from ganforge.errors import UserError
from ganforge.evaluation.score import batches, finite
from ganforge.files.atomic import replace_file
from ganforge.files.provenance import check_replaceable
from ganforge.runs.trained import Trained, Weights


def write_features(
    extract: Callable[[Tensor], Tensor],
    dataset: Dataset,
    out: Path,
    limit: int | None = None,
    about: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Write SPLIT_features float32 `[count, n]` and, of labelled data, SPLIT_labels of every split to `out`.

    `extract` gives features of images in [-1, 1]; of each split `limit` images are taken; `about` is their
    origin. Returns the shapes. Raises UserError where `out` is no .npz, or a file that this package has not
    written, without `overwrite`.
    """
    if out.suffix != ".npz":
        raise UserError(f"--out {out}: expected a name that ends in .npz")
    check_replaceable(out, overwrite)
    arrays: dict[str, np.ndarray] = {}
    for split, images in dataset.splits.items():
        parts = [extract(batch.images) for batch in batches(images, limit)]
        features = finite(torch.cat(parts), "features")
        arrays[f"{split}_features"] = features.numpy().astype(np.float32)
        if images.labels is not None:
            arrays[f"{split}_labels"] = images.labels[some_rows(images, limit)].numpy()
    if dataset.spec.class_names:
        arrays["class_names"] = np.array(dataset.spec.class_names)
    out.parent.mkdir(parents=True, exist_ok=True)
    origin = {"run": "", "step": "0"} | dict(about or {})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, about=np.array(json.dumps(origin)), **arrays)
    replace_file(out, buffer.getvalue())
    return {name: array.shape for name, array in arrays.items() if name.endswith("_features")}


def pixels(images: Tensor) -> Tensor:
    """The features that every other kind has to beat: the pixels themselves."""
    return images.flatten(1)


def features_of_run(trained: Trained, images: Tensor, weights: Weights = "ema") -> Tensor:
    """Features `[count, n]` of `images` in [-1, 1] by a run; raises UserError where its system has none."""
    features: Tensor = next(trained.call("features", [images], weights=weights))
    return features
