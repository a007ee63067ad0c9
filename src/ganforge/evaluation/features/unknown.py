"""Features of images of unknown data: those of a shipped classifier, offline, for any number of channels."""

from typing import final

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.evaluation.features.classifiers import load_classifier

CLASSIFIER = "emoji"
"""Trained on colour images; `benchmarks/extractors.json` has it next to untrained features."""


@final
class UnknownDataFeatures:
    """The emoji classifier's features of images of any data, whose classes it does not know.

    They order damage of images it has never seen better than untrained features (`benchmarks/extractors.py`).
    Grey images have three equal channels; a fourth channel, or a second one after grey, is alpha and gets
    features of its own. Images are resized to 32x32, whatever their shape.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._shape = channels, height, width
        self._classifier = load_classifier(CLASSIFIER)
        planes = 1 + (channels in (2, 4))
        self.feature_size = planes * self._classifier.feature_size
        self.identity = f"{self._classifier.identity} of unknown data, {channels} channels"
        _, _, details = self._classifier.description.partition("features, ")
        _, _, details = details.partition(" %, ")
        self.description = (
            f"{CLASSIFIER} classifier on unknown data, {self.feature_size} features, {details}; "
            "for large differences"
        )

    def features(self, images: Tensor) -> Tensor:
        """`[n, feature_size]` of `images` in [-1, 1] of this shape; raises UserError for another."""
        if images.dim() != 4 or tuple(images.shape[1:]) != self._shape:
            raise UserError(f"images {list(images.shape)}: expected [n, {', '.join(map(str, self._shape))}]")
        colours = 3 if images.shape[1] >= 3 else 1
        planes = [part for part in (images[:, :colours], images[:, colours:]) if part.shape[1]]
        parts = [self._classifier.features(plane.expand(-1, 3, -1, -1)) for plane in planes]
        return torch.cat(parts, 1)
