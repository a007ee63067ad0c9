"""Reference classifiers: small shipped classifiers whose features feed the Fréchet and kernel distances.

One is a pair of files here, `NAME.safetensors` and its record `NAME.json`, written by
`python -m ganforge.evaluation.features.classifiers.train --data NAME --out NAME.safetensors`.
"""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from ganforge.data.batch import to_float, to_uint8
from ganforge.data.dataset import Dataset
from ganforge.data.open import source_fingerprint
from ganforge.errors import UserError, unknown_name
from ganforge.evaluation.features.classifiers.classifier import Classifier


class ReferenceClassifier:
    """A fixed classifier that turns images into features and logits.

    `feature_size`, `class_names`, `description`, the words to print next to any number that it made, and
    `identity`, which no other network has;
    `source_fingerprint` is that of the data it was trained on (`ganforge.data.dataset`).
    Works on the device of the images it is given.
    """

    batch_size = 250

    def __init__(self, name: str, network: Classifier, record: dict[str, Any]) -> None:
        self.name = name
        self.class_names: tuple[str, ...] = tuple(record["class_names"])
        self.channels: int = record["architecture"]["channels"]
        self.size: int = record["architecture"]["size"]
        self.feature_size: int = record["architecture"]["feature_size"]
        self.source_fingerprint: str = record["source_fingerprint"]
        self.identity = f"classifier {record['weights_sha256']}"
        self.description = (
            f"{name} classifier, {self.feature_size} features, "
            f"test accuracy {record['test_accuracy_percent']:.2f} %, "
            f"weights SHA-256 {record['weights_sha256'][:12]}; images rounded to 8 bit, "
            f"other sizes resized to {self.size}x{self.size} with antialiased bilinear interpolation"
        )
        self._network = network.eval().requires_grad_(False)
        self._exact: Classifier | None = None

    def features(self, images: Tensor) -> Tensor:
        """The features `[n, feature_size]`, float32, of `images` `[n, channels, height, width]` in [-1, 1].

        Raises `UserError` where the number of channels is another than the classifier's.
        """
        return self._run(self._network.features, images, self.feature_size)

    def exact_features(self, images: Tensor) -> Tensor:
        """The features in float64 of `images` float64 in [-1, 1], clamped but not rounded to 8 bit.

        For differences that are smaller than a grey level. Errors as of `features`.
        """
        self._check(images)
        if self._exact is None:
            self._exact = copy.deepcopy(self._network).double()
        images = images.clamp(-1, 1)
        with torch.no_grad():
            parts = images.split(self.batch_size)
            return torch.cat([self._exact.features(self._resize(part)) for part in parts])

    def smooth_features(self, images: Tensor) -> Tensor:
        """The features with gradients of `images` in [-1, 1], not rounded; errors as of `features`."""
        self._check(images)
        self._network.to(images.device)
        return self._network.features(self._resize(images.clamp(-1, 1)))

    def classify(self, images: Tensor) -> Tensor:
        """The logits `[n, number of classes]`, float32, of `images` in [-1, 1]; errors as of `features`."""
        return self._run(self._network, images, len(self.class_names))

    def logits(self, features: Tensor) -> Tensor:
        """The logits `[n, number of classes]` of images that have these `features` `[n, feature_size]`."""
        self._network.to(features.device)
        with full_precision(features.device):
            return self._network.logits(features)

    def _run(self, function: Callable[[Tensor], Tensor], images: Tensor, size: int) -> Tensor:
        self._check(images)
        self._network.to(images.device)
        if len(images) == 0:
            return torch.empty(0, size, device=images.device)
        with full_precision(images.device):
            return torch.cat(
                [function(self._prepare(chunk)) for chunk in torch.split(images, self.batch_size)]
            )

    def _check(self, images: Tensor) -> None:
        if images.dim() != 4 or images.shape[1] != self.channels:
            raise UserError(
                f"images {list(images.shape)} for the {self.name} classifier: expected "
                f"[n, {self.channels}, height, width]; for other data: "
                "python -m ganforge.evaluation.features.classifiers.train"
            )

    def _prepare(self, images: Tensor) -> Tensor:
        """The images as a saved PNG would give them back, at the classifier's size."""
        return self._resize(to_float(to_uint8(images)))

    def _resize(self, images: Tensor) -> Tensor:
        if images.shape[2:] != (self.size, self.size):
            images = F.interpolate(
                images, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return images


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No gradients, no autocast, no TF32: a classifier's numbers must not depend on how the run was set up.

    Sets each operation's own precision, and only that way: reading torch's older `allow_tf32` flags is an
    error wherever a program has used the newer ones.
    """
    backends: Any = torch.backends  # torch's stubs lack these settings
    settings = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision


def available_classifiers() -> tuple[str, ...]:
    """The names of the shipped classifiers, sorted."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


@cache
def _record(name: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return record


@cache
def load_classifier(name: str) -> ReferenceClassifier:
    """The shipped classifier `name`, read once; raises `UserError` for an unknown name."""
    if name not in available_classifiers():
        raise unknown_name("reference classifier", name, available_classifiers(), "(shipped classifiers)")
    record = _record(name)
    files = resources.files(__package__)
    weights = safetensors.torch.load(files.joinpath(f"{name}.safetensors").read_bytes())
    with torch.random.fork_rng(devices=[]):  # first weights, which are replaced
        network = Classifier(**record["architecture"], folded=True)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return ReferenceClassifier(name, network, record)


def classifier_of(dataset: Dataset) -> ReferenceClassifier | None:
    """The reference classifier of these data; None without one.

    Found by what is stored, at any path and in any size: a look-alike folder of digits has other statistics.
    """
    if dataset.spec.values != "pixels":
        return None
    if dataset.fingerprint not in _NAMES:
        _NAMES[dataset.fingerprint] = _name_by_content(dataset)
    name = _NAMES[dataset.fingerprint]
    return None if name is None else load_classifier(name)


_NAMES: dict[str, str | None] = {}
"""Of fingerprints of data: hashing what is stored takes a second, and is done once in a process."""


def _name_by_content(dataset: Dataset) -> str | None:
    size = dataset.spec.num_images, dataset.spec.channels
    names = []
    for name in available_classifiers():
        record = _record(name)
        if size == (record["num_training_images"], record["architecture"]["channels"]):
            names.append(name)
    source = source_fingerprint(dataset.located or dataset.options) if names else ""
    return next((name for name in names if _record(name)["source_fingerprint"] == source), None)
