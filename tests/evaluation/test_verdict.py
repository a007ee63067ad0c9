"""The text after the scores: read against floors and known damage, and silent of what few images hide."""

from typing import Any

import pytest

from ganforge.evaluation.score import Score
from ganforge.evaluation.verdict import verdict

MNIST = "mnist classifier, 128 features, test accuracy 99.66 %"
HELD_OUT, TRAIN = "mnist test, 10000 images", "mine train (this data has no held-out split), 10000 images"


def scores(
    features: str = MNIST, reference: str = HELD_OUT, generated: int = 10_000, **values: float
) -> list[Score]:
    protocol: dict[str, Any] = {"features": features, "reference": reference, "generated": generated}
    return [Score(name=name, value=value, protocol=protocol) for name, value in values.items()]


@pytest.mark.parametrize(
    ("fid", "words"),
    [
        (0.12, "FID 0.12, about as good as real data; real data would score 0.11."),
        (6.1, "FID 6.1, about as good as real digits without the digit 1 (7.1); real data would score 0.11."),
        (20, "about as good as real digits under noise"),
        (150, "about as good as uniform noise (178.1)"),
        (400, "FID 400, worse than uniform noise"),
    ],
)
def test_fid_of_known_data_is_read_against_known_damage(fid: float, words: str) -> None:
    assert words in verdict(scores(fid=fid, fid_floor=0.11))


def test_other_numbers_of_samples_and_other_features_have_no_known_damage() -> None:
    for changes in ({"generated": 3_000}, {"features": "random convolutions of widths 32"}):
        text = verdict(scores(fid=6.1, fid_floor=0.5, **changes))  # type: ignore[arg-type]
        assert text.startswith("FID 6.1, clearly distinguishable from real images by these features; ")


def test_a_small_fid_does_not_hide_what_a_classifier_sees() -> None:
    text = verdict(scores("random convolutions", fid=0.5, fid_floor=0.5, c2st_accuracy=93.1))
    assert "although a small classifier recognises 93.1 %" in text
    assert "although" in verdict(scores(fid=0.11, fid_floor=0.11, c2st_accuracy=93.1))
    assert "although" not in verdict(scores(fid=0.11, fid_floor=0.11, c2st_accuracy=51))


def test_without_fid_the_two_sample_test_is_read_against_chance() -> None:
    far = verdict(scores(generated=400, kid=9.0, c2st_accuracy=88.2))
    assert far.startswith("Samples are distinguishable from real images by these features: ")
    assert "a small classifier is right in 88.2 %" in far
    assert "of perfect samples in 50 ± 5 % (400 samples, 10000 real images)." in far
    assert "Samples are not distinguishable from real images" in verdict(
        scores(generated=400, kid=0.1, c2st_accuracy=54)
    )


def test_few_images_get_no_verdict() -> None:
    text = verdict(scores(generated=20, reference="mine test, 20 images", kid=3.0))
    assert text.startswith("Too few images for a verdict: 20 samples, 20 real images; ")
    assert verdict(scores(sampling_speed=3)) == ""
    assert verdict([]) == ""


def test_what_makes_good_scores_suspicious_is_said() -> None:
    assert "copies of the training images would score best" in verdict(
        scores(reference=TRAIN, c2st_accuracy=50)
    )
    assert "look at neighbours.png" in verdict(scores(fid=0.1, fid_floor=0.1, memorisation_ratio=0.4))


def test_points_and_enlargements_have_their_own_words() -> None:
    modes = Score(name="modes", value=7, unit="of 8", protocol={})
    assert verdict([modes, *scores(high_quality=93.2)]) == (
        "7 of 8 modes, 93.2 % of samples near one; of real data 98.9 % would be."
    )
    assert verdict(scores(psnr_y=25.0, bicubic_psnr_y=23.8)) == "1.2 dB better than bicubic enlargement."
