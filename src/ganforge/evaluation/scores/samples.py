"""The images that are judged: drawn by one process, or shared out among those that torchrun has started."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.data.batch import Batch, as_images, to_uint8
from ganforge.data.dataset import Dataset
from ganforge.distributed import Shard
from ganforge.evaluation.features.cache import FeatureNetwork
from ganforge.evaluation.score import Protocol, finite
from ganforge.evaluation.scores.pixels import has_parzen
from ganforge.runs.trained import Trained


@dataclass(frozen=True)
class Drawn:
    """`count` samples: uint8 pixels; as drawn, where Parzen needs them so; features, where several made them.

    `seconds` is what drawing them took. Of several processes only number 0 has them all.
    """

    pixels: Tensor
    unrounded: Tensor | None
    features: Tensor | None
    seconds: float


def draw_images(
    trained: Trained,
    dataset: Dataset,
    count: int,
    given: Batch | None,
    protocol: Protocol,
    network: FeatureNetwork | None,
    share: Shard,
) -> Drawn:
    """`count` samples by the seed and weights of `protocol`; each process draws and looks at its own part.

    Raises UserError for NaN, and as `Trained.draw_share`.
    """
    begun, seed, weights = time.monotonic(), protocol["seed"], protocol["weights"]
    pixels = torch.zeros(count, *dataset.spec.shape, dtype=torch.uint8)
    # As drawn they take four times as much memory: kept only where they are needed.
    unrounded = torch.zeros(pixels.shape) if has_parzen(dataset) and given is None else None
    own = []
    for rows, part in trained.draw_share(count, share, seed=seed, weights=weights, given=given):
        pixels[rows] = to_uint8(finite(part, "samples"))
        if unrounded is not None:
            unrounded[rows] = part
        own.append(rows)
    seconds = time.monotonic() - begun
    features = None
    if network is not None and share.ranks > 1:
        features = torch.zeros(count, network.feature_size)
        for rows in own:
            features[rows] = network.features(as_images(pixels[rows])).float().cpu()
    for values in (pixels, unrounded, features):
        if values is not None:
            share.gather(values)
    return Drawn(pixels, unrounded, features, seconds)
