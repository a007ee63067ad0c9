"""Which feature extractor: the data's reference classifier, Inception, one of the user's, or untrained."""

import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from ganforge.data.alpha import CHANNELS, on_background
from ganforge.data.batch import to_float, to_uint8
from ganforge.data.dataset import Dataset
from ganforge.errors import UserError
from ganforge.evaluation.features.cache import FeatureExtractor
from ganforge.evaluation.features.classifiers import available_classifiers, classifier_of, load_classifier
from ganforge.evaluation.features.inception import load_inception
from ganforge.evaluation.features.unknown import UnknownDataFeatures
from ganforge.evaluation.features.untrained import PixelFeatures, RandomConvolutions

CHOICES = ("auto", "pixels", "random", "inception", "inception-clean")
BATCH_SIZE = 100


@final
class OwnFeatures:
    """A callable of the user's as a feature extractor: images float `[n, c, h, w]` in [-1, 1] to `[n, d]`.

    A class is called once without arguments. The weights of a module are part of its identity; features of
    other callables are not cached. Images are rounded to 8 bit first.
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
            features = self._function(images)
        if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != len(images):
            shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise UserError(
                f"--features {self._name} gives {shape} for {len(images)} images: expected [{len(images)}, d]"
            )
        if features.shape[1] != (self.feature_size or features.shape[1]):
            raise UserError(
                f"--features {self._name} gives {features.shape[1]} features, {self.feature_size} before: "
                "expected as many of every image"
            )
        return features.float()


@final
class OnBackground:
    """An `extractor` of images in colour for images with alpha, which it sees on a `background`."""

    def __init__(self, extractor: FeatureExtractor, background: str) -> None:
        self._extractor, self._background = extractor, background
        self.feature_size = extractor.feature_size
        own = extractor.identity
        self.identity = own and f"{own} on {background}"
        self.description = f"{extractor.description}; transparent images on {background}"

    def features(self, images: Tensor) -> Tensor:
        """`[n, feature_size]` of `images` with alpha, or without."""
        if images.shape[1] == CHANNELS:
            images = on_background(images, self._background)
        return self._extractor.features(images)


def _imported(name: str) -> Callable[[Tensor], object]:
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:  # a console script does not look into the folder it is typed in
        sys.path.append(os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot import --features {name}: {error}") from error
    if isinstance(function, type):
        function = function()
    if not callable(function):
        raise UserError(f"--features {name} is {type(function).__name__}: expected a callable of images")
    return function


def smooth_features(name: str, channels: int) -> Callable[[Tensor], Tensor] | None:
    """Features with gradients of images in [-1, 1]: of the classifier of the data `name`, in colour of emoji.

    None where there is none.
    """
    known = name if name in available_classifiers() else "emoji"
    classifier = load_classifier(known)
    return classifier.smooth_features if classifier.channels == channels else None


def feature_extractor(name: str, dataset: Dataset, weights: Path | None = None) -> FeatureExtractor:
    """The extractor called `name`, for images of `dataset`.

    "auto" is the reference classifier of these data; of unknown data, what `features.unknown` has.

    "auto", "pixels", "random", "inception", "inception-clean" (with a file of `weights`, or downloaded), the
    name of a shipped classifier, or `package.module:callable`. Raises UserError for another name.
    """
    if dataset.spec.kind == "alpha":
        opaque = replace(dataset, spec=dataset.spec.model_copy(update={"channels": 3}))
        inner = feature_extractor(name, opaque, weights)
        return OnBackground(inner, dataset.options.background)
    if weights is not None and not name.startswith("inception"):
        raise UserError("--features-weights is for --features inception: leave it out")
    if name == "auto":
        return classifier_of(dataset) or UnknownDataFeatures(*dataset.spec.shape)
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
