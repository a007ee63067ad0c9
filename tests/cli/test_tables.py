"""The table of scores: what all share and the networks are stated once; one screen without --verbose."""

import pytest

from ganforge.cli.tables import print_scores
from ganforge.evaluation.score import Score


def test_what_is_shared_is_said_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shared = {"seed": 5, "step": 20}
    print_scores(
        [
            Score(name="kid", value=1.5, unit="x 10^-3", plus_minus=0.25,
                  protocol=shared | {"features": "the network", "subsets": "3 of 4"}),
            Score(name="class_accuracy", value=90, unit="%", protocol=shared | {"classifier": "the network"}),
            Score(name="worst_class_accuracy", value=0, unit="%", note="class 3",
                  protocol=shared | {"classifier": "the network", "generated": 7}),
        ]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "1.5 ± 0.25 x 10^-3" in said
    assert "subsets: 3 of 4" in said
    assert "generated: 7; class 3" in said
    assert said.count("seed: 5; step: 20") == said.count("seed") == 1
    assert said.count("features, classifier: the network") == said.count("the network") == 1


def test_what_most_share_is_said_once_and_who_lacks_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shared, network = {"seed": 5, "captions": "of emoji train"}, {"classifier": "the network"}
    print_scores(
        [
            Score(name="kid", value=1, protocol=shared | network | {"generated": 9}),
            Score(name="category_accuracy", value=2, unit="%", protocol=shared | network | {"generated": 8}),
            Score(name="category_accuracy_real", value=3, unit="%", protocol=network | {"images": 7}),
        ]
    )
    said = capsys.readouterr().out
    assert said.count("of emoji train") == said.count("seed: 5") == 1
    assert "generated: 9" in said
    assert "generated: 8" in said
    assert "images: 7; no seed, captions" in said
    assert said.count("the network") == 1


def scores_of_a_run() -> list[Score]:
    """As of a conditional GAN on MNIST with 10,000 samples, with protocols of their usual length."""
    network = (
        "mnist classifier, 128 features, test accuracy 99.66 %, weights SHA-256 0a5845bd430b; images rounded "
        "to 8 bit, other sizes resized to 28x28 with antialiased bilinear interpolation"
    )
    drawn = {"weights": "ema", "seed": 0, "step": 6000, "labels": "those of mnist test, shuffled by the seed"}
    compared = drawn | {"generated": 10_000, "reference": "mnist test, 10000 images"}
    of_features = compared | {"features": network}
    names = ["sampling_speed", "fid", "fid_floor", "fid_infinity", "kid", "precision", "recall", "density",
             "coverage", "one_nn_accuracy", "c2st_accuracy", "memorisation_ratio", "ms_ssim"]  # fmt: skip
    scores = [Score(name=name, value=3.25, protocol=of_features | {"k": name[:2]}) for name in names]
    accuracy = drawn | {"generated": 10_000, "classifier": network}
    return [
        *scores,
        Score(name="class_accuracy", value=95, unit="%", protocol=accuracy),
        Score(name="worst_class_accuracy", value=81, unit="%", protocol=accuracy, note="class 9"),
        Score(name="parzen_log_likelihood", value=225, plus_minus=2, unit="nats", protocol=drawn),
    ]


def test_one_screen_shows_the_five_scores_that_matter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_scores(scores_of_a_run(), verbose=False)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert len(lines) <= 23  # two more say where the scores are stored
    assert max(map(len, lines)) <= 80
    for name in ("class_accuracy", "fid", "kid", "precision", "recall"):
        assert sum(line.startswith(f"│ {name} ") for line in lines) == 1, name
    assert "ms_ssim" not in printed
    assert "fid_floor: 3.25" in printed
    assert "worst_class_accuracy: 81 % (class 9)" in printed
    assert "seed: 0" in printed
    assert "weights SHA-256" in printed
    assert "11 more scores" in printed
    assert "--verbose" in printed


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["kid", "nll", "nll_bits_per_dim", "fid"], ["nll_bits_per_dim", "nll", "fid", "kid"]),
        (["kid", "bicubic_psnr_y", "ssim_y", "psnr_y"], ["psnr_y", "ssim_y", "kid"]),
        (
            ["kid", "caption_ranking_accuracy", "fid_to_training"],
            ["caption_ranking_accuracy", "fid_to_training"],
        ),
        (["surprise"], ["surprise"]),
    ],
)
def test_scores_of_special_systems_come_first(
    names: list[str], first: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_scores([Score(name=name, value=1, protocol={"seed": 0}) for name in names], verbose=False)
    rows = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert rows[: len(first)] == first
