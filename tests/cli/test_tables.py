"""The table of scores: what all share and the judging networks are said once."""

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
                  protocol=shared | {"features": "the judge", "subsets": "3 of 4"}),
            Score(name="class_accuracy", value=90, unit="%", protocol=shared | {"classifier": "the judge"}),
            Score(name="worst_class_accuracy", value=0, unit="%", note="class 3",
                  protocol=shared | {"classifier": "the judge", "generated": 7}),
        ]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "1.5 ± 0.25 x 10^-3" in said
    assert "subsets: 3 of 4" in said
    assert "generated: 7; class 3" in said
    assert said.count("seed: 5; step: 20") == said.count("seed") == 1
    assert said.count("features: the judge") == said.count("classifier: the judge") == 1


def test_what_most_share_is_said_once_and_who_lacks_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shared, judge = {"seed": 5, "captions": "of emoji train"}, {"classifier": "the judge"}
    print_scores(
        [
            Score(name="kid", value=1, protocol=shared | judge | {"generated": 9}),
            Score(name="category_accuracy", value=2, unit="%", protocol=shared | judge | {"generated": 8}),
            Score(name="category_accuracy_real", value=3, unit="%", protocol=judge | {"images": 7}),
        ]
    )
    said = capsys.readouterr().out
    assert said.count("of emoji train") == said.count("seed: 5") == 1
    assert "generated: 9" in said
    assert "generated: 8" in said
    assert "images: 7; no seed, captions" in said
    assert said.count("the judge") == 1
