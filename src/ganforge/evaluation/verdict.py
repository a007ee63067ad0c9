"""A verdict in words: what the scores of one evaluation say together."""

import math
from collections.abc import Mapping, Sequence

from ganforge.evaluation.score import Score
from ganforge.evaluation.scores.distribution import SMALLEST_COUNT

LANDMARKS = {
    "mnist classifier": {
        "real digits without the digit 1": 7.1,
        "real digits under noise of standard deviation 0.2": 26.8,
        "uniform noise": 178.1,
    },
    "fashion-mnist classifier": {
        "real clothes without trousers": 5.9,
        "real clothes under noise of standard deviation 0.2": 37.5,
        "uniform noise": 85.7,
    },
}
"""FID of images in place of 10,000 samples: `benchmarks/classifier_mnist.json`, `..._fashion_mnist.json`."""
LANDMARK_COUNT = 10_000
DEGREES = (
    (1.5, "hardly distinguishable from real images"),
    (5, "close to real images"),
    (25, "clearly distinguishable from real images"),
    (math.inf, "far from real images"),
)
"""The largest FID, as a multiple of the floor, of which each is said."""
CLOSE = 5
"""Degrees up to this one need the two-sample test's word too."""
RECOGNISED = 60
MEMORISED = 0.9


def verdict(scores: Sequence[Score]) -> str:
    """The quality of samples of images or points in a line of text; empty where no score allows one.

    FID is read against its floor and, for data whose reference classifier has them, against known damage;
    without a FID the accuracy of the two-sample test is read against chance. Of fewer than 100 images
    nothing is said but that.
    """
    names = {score.name: score for score in scores}
    text = _of_points(names) or _of_enlargements(names) or _of_distances(names) or _of_test(names)
    if text:
        return f"{text}{_warning(names)}."
    if "kid" not in names:
        return ""
    return (
        f"Too few images for a verdict: {_counted(names['kid'])}; precision, recall and two-sample tests "
        f"need {SMALLEST_COUNT} of each, FID 2,048."
    )


def _of_points(names: Mapping[str, Score]) -> str:
    if "high_quality" not in names or "modes" not in names:
        return ""
    modes, quality = names["modes"], names["high_quality"].value
    near = f"{quality:.3g} % of samples near one; of real data 98.9 % would be"
    return f"{modes.value:g} {modes.unit} modes, {near}"


def _of_enlargements(names: Mapping[str, Score]) -> str:
    if "psnr_y" not in names or "bicubic_psnr_y" not in names:
        return ""
    gain = names["psnr_y"].value - names["bicubic_psnr_y"].value
    return f"{abs(gain):.2g} dB {'better' if gain > 0 else 'worse'} than bicubic enlargement"


def _of_distances(names: Mapping[str, Score]) -> str:
    """FID against its floor and known damage."""
    fid, floor = names.get("fid"), names.get("fid_floor")
    if fid is None or floor is None or floor.value <= 0:
        return ""
    features = str(fid.protocol.get("features", "")).partition(",")[0]
    real = f"real data would score {floor.value:.2g}"
    known = {"real data": floor.value} | LANDMARKS.get(features, {})
    if len(known) > 1 and fid.protocol.get("generated") == LANDMARK_COUNT:
        if fid.value > 1.5 * max(known.values()):
            return f"FID {fid.value:.3g}, worse than uniform noise; {real}"
        nearest = min(known, key=lambda name: abs(math.log(max(fid.value, 1e-9) / known[name])))
        value = _unless_recognised(names) if nearest == "real data" else f" ({known[nearest]:g})"
        return f"FID {fid.value:.3g}, about as good as {nearest}{value}; {real}"
    degree, words = next(degree for degree in DEGREES if fid.value <= degree[0] * floor.value)
    doubt = _unless_recognised(names) if degree <= CLOSE else ""
    return f"FID {fid.value:.3g}, {words} by these features{doubt}; {real}"


def _unless_recognised(names: Mapping[str, Score]) -> str:
    """What a small FID hides, where the two-sample test finds it."""
    test = names.get("c2st_accuracy")
    if test is None or test.value < RECOGNISED:
        return ""
    return f", although a small classifier recognises {test.value:.3g} % of real and generated images"


def _of_test(names: Mapping[str, Score]) -> str:
    """How often a small classifier tells the samples from real images."""
    test = names.get("c2st_accuracy")
    if test is None:
        return ""
    chance = 100 * (1 / int(test.protocol["generated"])) ** 0.5
    far = "not distinguishable" if test.value < 50 + chance else "distinguishable"
    return (
        f"Samples are {far} from real images by these features: a small classifier is right in "
        f"{test.value:.3g} % of cases, of perfect samples in 50 ± {chance:.2g} % ({_counted(test)})"
    )


def _counted(score: Score) -> str:
    reference = str(score.protocol.get("reference", "")).rpartition(", ")[2]
    return f"{score.protocol.get('generated')} samples, {reference.removesuffix(' images')} real images"


def _warning(names: Mapping[str, Score]) -> str:
    """What makes good scores suspicious."""
    compared = names.get("fid") or names.get("c2st_accuracy") or names.get("kid")
    if compared is not None and "no held-out split" in str(compared.protocol.get("reference", "")):
        return "; the data have no held-out images, so copies of the training images would score best"
    ratio = names.get("memorisation_ratio")
    if ratio is not None and ratio.value + 3 * (ratio.plus_minus or 0) < MEMORISED:
        return "; but samples lie close to training images: look at neighbours.png"
    return ""
