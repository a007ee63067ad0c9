"""A prompt is answered with the training captions that share its words, and with what no caption has."""

from pathlib import Path

import pytest

from ganforge.cli.main import main
from ganforge.generation.nearest_captions import MOST_PROMPTS, KnownCaptions, describe_prompts
from ganforge.runs.data import captions_of
from ganforge.runs.folder import Run

CAPTIONS = [
    "red apple",
    "green apple",
    "red apple",
    "fruit emoji of red apple",
    "dog face",
    "a cat with a bow",
]


@pytest.mark.parametrize(
    ("prompt", "line"),
    [
        ("Red  APPLE", '"Red  APPLE" is a training caption'),
        ("a red apple", '"a red apple": closest: "red apple", "fruit emoji of red apple"'),
        ("an apple", '"an apple": closest: "red apple", "green apple"'),
        ("apples", '"apples": closest: "red apple", "green apple"'),
        ("the cats", '"the cats": closest: "a cat with a bow"'),
        ("purple apple", '"purple apple": no training caption is near; closest: "red apple", "green apple"; '
         'no caption has "purple"'),
        ("pizza", '"pizza": no training caption has any of these words: samples will not show it'),
        ("sad grey dog on ice", '"sad grey dog on ice": no training caption is near; closest: "dog face"; no '
         'caption has "sad", "grey" or "ice"'),
        ("!", '"!": no training caption has any of these words: samples will not show it'),
        ("a\x1b[31m", '"a\\x1b[31m": no training caption has any of these words: samples will not show it'),
    ],
)  # fmt: skip
def test_lines(prompt: str, line: str) -> None:
    assert KnownCaptions(CAPTIONS).describe(prompt) == line


def test_many_prompts_are_counted() -> None:
    lines = describe_prompts(CAPTIONS, ["dog"] * (MOST_PROMPTS + 1))
    assert len(lines) == MOST_PROMPTS + 1
    assert lines[-1] == "and 1 more prompt"
    assert describe_prompts([], ["dog"]) == []


def test_words_that_most_captions_have_count_little() -> None:
    known = KnownCaptions([f"emoji of {name}" for name in ("cat", "dog", "cow", "pig", "hen")])
    assert "no training caption is near" in known.describe("emoji of a whale")
    assert 'closest: "emoji of cow"' in known.describe("a cow in Texas emoji")


def test_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "samples.png"
    command = ["sample", "pretrained:gan-cls-emoji", "--count", "1", "--out", str(out)]
    assert main([*command, "--text", "a red apple", "--text", "xqzzv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 samples, 2 prompts")
    assert lines[1].startswith('"a red apple": closest: "red apple"')
    assert lines[2] == '"xqzzv": no training caption has any of these words: samples will not show it'
    assert captions_of(Run.open(Path("pretrained:gan-cls-emoji")), data=str(tmp_path / "gone")) == []
