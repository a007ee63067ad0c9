"""One word a thing: the field's words in code, help and docs, those of `docs/glossary.md`."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = {
    r"pictures?": "image",
    r"processors?": "CPU",
    r"sentences?": "prompt or caption",
    r"told": "conditioned on, given",
    r"asked": "requested",
    r"heed(s|ed|ing)?": "use, accept",
    r"hear(s|d|ing)?": "use, be conditioned on",
    r"listen(s|ed|ing)?": "use, be conditioned on",
    r"judg(e|es|ed|ing|ement|ements)": "reference classifier, score, evaluate",
    r"falls?": "decay",
    r"begins? (from|with the weights)": "start from, warm start",
    r"go(es|ing)? on|went on|gone on": "resume, continue",
    r"beside": "next to, compared with",
    r"(can ?not|can't) have|(is|are) not had": "must be, rejected",
    r"(label|category|neighbour) agreement|agreement of (labels|categories)": "class or category accuracy",
    r"(is|are) to be had": "available",
}
# Names that are not ours, and the glossary's own column of words not to use.
ALLOWED = re.compile(
    r"sentence[-_]transformers?|SentenceTransformer|`?\"?sentence:|sentence\.json|sentence-transformers"
    r"|platform\.processor|\" Processor\"|' Processor'"
    r"|captions_per_picture|\"pictures\": \"image\"|judge_confidence|new_picture_recall"
    r"|\(\"image\", \"img\", \"picture\"\)|picture` column"
)
FILES = [
    path
    for pattern in (
        "src/**/*.py",
        "src/**/*.html",
        "src/ganforge/*/*.json",
        "docs/**/*.md",
        "*.md",
        "benchmarks/*.py",
        "benchmarks/*.md",
        "examples/*",
    )
    for path in sorted(ROOT.glob(pattern))
    if path.name not in ("glossary.md", "CHANGELOG.md")
]


def found_in(text: str) -> list[str]:
    """Each word that is not the field's, with its line."""
    lines = ALLOWED.sub("", text).splitlines()
    return [
        f"{number}: {match.group(0)!r}, write {instead!r}: {line.strip()[:100]}"
        for word, instead in WORDS.items()
        for number, line in enumerate(lines, start=1)
        for match in re.finditer(rf"(?<![a-zA-Z])(?:{word})(?![a-zA-Z])", line, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_words_are_those_of_the_field(path: Path) -> None:
    assert not found_in(path.read_text(encoding="utf-8"))


def test_the_check_finds_what_it_looks_for() -> None:
    assert len(found_in("the judge heeds\nwhat a sentence_says beside a picture")) == 5
    assert not found_in("sentence-transformers, a judgmental heading, asking, waterfalls")
