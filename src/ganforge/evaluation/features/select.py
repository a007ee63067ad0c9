"""Which network judges: the data's own judge, Inception, one of the user's, or a floor."""

import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from ganforge.data.batch import to_float, to_uint8
from ganforge.data.dataset import Dataset
from ganforge.errors import UserError
from ganforge.evaluation.features.cache import FeatureNetwork
from ganforge.evaluation.features.classifiers import available_classifiers, classifier_of, load_classifier
from ganforge.evaluation.features.inception import load_inception
from ganforge.evaluation.features.untrained import PixelFeatures, RandomConvolutions

CHOICES = ("auto", "pixels", "random", "inception", "inception-clean")
BATCH_SIZE = 100


@final
class OwnFeatures:
    """A callable of the user's as a feature network: images float `[n, c, h, w]` in [-1, 1] to `[n, d]`.

    A class is called once without arguments. Of a module the weights are part of its identity; features of
    other callables are not kept in the cache. Images are rounded to 8 bit before.
    """

    def __init__(self, name: str, shape: tuple[int, int, int]) -> None:
        self._function = _imported(name)
        digest = hashlib.sha256()
        if isinstance(self._function, nn.Module):
            self._function.eval().requires_grad_(False)
            for key, tensor in sorted(self._function.state_dict().items()):
                digest.update(key.encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        is_module = isinstance(self._function, nn.Module)
        self.identity = f"own {name} {digest.hexdigest()}" if is_module else ""
        self._name = name
        self.feature_size = 0  # as wide as its first answer
        self.feature_size = self._of(torch.zeros(2, *shape)).shape[1]
        weights = f", weights SHA-256 {digest.hexdigest()[:12]}" if is_module else ""
        self.description = (
            f"{name}, {self.feature_size} features{weights}; images in [-1, 1] rounded to 8 bit"
        )

    def features(self, images: Tensor) -> Tensor:
        """`[n, feature_size]` of `images`; raises UserError where the callable gives anything else."""
        parts = to_float(to_uint8(images)).split(BATCH_SIZE)
        return torch.cat([self._of(part) for part in parts])

    def _of(self, images: Tensor) -> Tensor:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = self._function(images)
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(images):
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(
                f"--features {self._name} gives {shape} for {len(images)} images: expected [{len(images)}, d]"
            )
        if found.shape[1] != (self.feature_size or found.shape[1]):
            raise UserError(
                f"--features {self._name} gives {found.shape[1]} features, and {self.feature_size} before: "
                "expected as many of every image"
            )
        return found.float()


def _imported(name: str) -> Callable[[Tensor], object]:
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:  # a console script does not look into the folder it is typed in
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot import --features {name}: {error}") from error
    if isinstance(found, type):
        found = found()
    if not callable(found):
        raise UserError(f"--features {name} is {type(found).__name__}: expected a callable of images")
    return found


def feature_network(name: str, dataset: Dataset, weights: Path | None = None) -> FeatureNetwork | None:
    """The network called `name`, for images of `dataset`; None for "auto" where the data has no judge.

    "auto", "pixels", "random", "inception", "inception-clean" (with a file of `weights`, or downloaded), the
    name of a shipped judge, or `package.module:callable`. Raises UserError for another name.
    """
    if weights is not None and not name.startswith("inception"):
        raise UserError("--features-weights is for --features inception: leave it out")
    if name == "auto":
        found = classifier_of(dataset)
        return None if found is None else found[0]
    if name == "pixels":
        return PixelFeatures(*dataset.spec.shape)
    if name == "random":
        return RandomConvolutions(*dataset.spec.shape)
    if name in ("inception", "inception-clean"):
        return load_inception(weights, "clean" if name.endswith("clean") else "legacy")
    if name in available_classifiers():
        return load_classifier(name)
    if ":" in name:
        return OwnFeatures(name, dataset.spec.shape)
    known = ", ".join((*CHOICES, *available_classifiers()))
    raise UserError(f"--features {name}: expected {known} or package.module:callable")
