"""Scores of enlarged images as papers report them, next to those of bicubic enlargement."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ganforge.data.bicubic import resize
from ganforge.data.dataset import repeated_rows
from ganforge.evaluation.metrics.similarity import (
    WINDOW_SIZE,
    luma,
    mean_gradient,
    psnr,
    ssim,
    without_border,
)
from ganforge.evaluation.score import Evaluated, Protocol, Score

CHUNK = 16
MOST_DECIBELS = 100.0


class Fidelity(NamedTuple):
    """Of each image, float64 `[count]`: dB, SSIM, and the mean gradient over that of the original.

    The latter is NaN where the original is of one colour.
    """

    psnr: Tensor
    ssim: Tensor
    sharpness: Tensor


def fidelity(images: Tensor, originals: Tensor, scale: int) -> Fidelity:
    """How near `images` uint8 `[count, 1 or 3, height, width]` are to `originals`.

    On the luma, without `scale` pixels at each border (Ledig et al. 2016, section 3.1); at most 100 dB.
    """
    made, real = (without_border(luma(pixels), scale) for pixels in (images, originals))
    gradient = mean_gradient(real)
    sharpness = mean_gradient(made) / torch.where(gradient > 0, gradient, torch.nan)
    likeness = ssim(made[:, None], real[:, None])
    return Fidelity(psnr(made, real).clamp(max=MOST_DECIBELS), likeness, sharpness)


def smallest_side(scale: int) -> int:
    """The shortest side of images that have a whole window of SSIM within their borders."""
    return WINDOW_SIZE + 2 * scale


def enlarge_bicubic(sources: Tensor, height: int, width: int) -> Tensor:
    """`sources` uint8 enlarged by MATLAB's bicubic resampling, uint8."""
    return resize(sources.double(), height, width).round().clamp(0, 255).to(torch.uint8)


def score_super_resolution(evaluated: Evaluated) -> list[Score]:
    """Scores of samples that are held-out sources enlarged, which take turns; then those of bicubic."""
    samples, dataset = evaluated.samples, evaluated.dataset
    if not evaluated.translated or not dataset.spec.enlarges:
        return []
    name, reference = evaluated.reference
    height, width = samples.shape[2:]
    assert reference.source_shape is not None
    scale = height // reference.source_shape[1]
    if min(height, width) < smallest_side(scale):
        return []
    parts_of: dict[str, list[Fidelity]] = {"": [], "bicubic_": []}
    turns = repeated_rows(reference, len(samples)).split(CHUNK)
    for part, rows in zip(samples.split(CHUNK), turns, strict=True):
        originals, sources = reference.read_pairs(rows)
        assert sources is not None
        parts_of[""].append(fidelity(part, originals, scale))
        parts_of["bicubic_"].append(fidelity(enlarge_bicubic(sources, height, width), originals, scale))
    plane = "the grey levels" if samples.shape[1] == 1 else "Y of BT.601, 16 to 235"
    rule = evaluated.sample_protocol | {
        "generated": len(samples),
        "reference": f"{dataset.options.data} {name}, the image of each source; 8-bit pixels",
        "on": f"{plane}, without {scale} pixels at each border; mean of images",
        "scale": scale,
    }
    return [
        score
        for prefix, parts in parts_of.items()
        for score in _scores(prefix, Fidelity(*map(torch.cat, zip(*parts, strict=True))), rule)
    ]


def _scores(prefix: str, values: Fidelity, protocol: Protocol) -> list[Score]:
    if prefix:
        protocol = protocol | {"weights": "none", "images": "enlarged by bicubic resampling"}
    gaussian = {"window": "Gaussian 11x11, standard deviation 1.5; whole windows"}
    gradient = {"measured": "mean gradient over that of the original; 1 is as sharp"}
    scores = [
        Score(name=f"{prefix}psnr_y", value=float(values.psnr.mean()), unit="dB", protocol=protocol),
        Score(name=f"{prefix}ssim_y", value=float(values.ssim.mean()), protocol=protocol | gaussian),
    ]
    sharpness = float(values.sharpness.nanmean())  # images of one colour do not count
    if not math.isnan(sharpness):
        scores.append(Score(name=f"{prefix}sharpness", value=sharpness, protocol=protocol | gradient))
    return scores
