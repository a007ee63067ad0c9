"""Every `ganforge` command in the documents names a verb, a system and options that exist."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from documents import PROSE, blocks, name_of, program_words, shell_commands, spans

from ganforge.cli.main import VERBS, main
from ganforge.systems.discovery import available

GROUPS = ("analyze", "data", "explore", "export")
# What stands for any system in the documents.
PLACEHOLDERS = ("SYSTEM", "NAME", "plain_lsgan")
# What a training without a system begins with.
DATA = ("my_images", "DATA")
# Those of the program itself, of the scripts in benchmarks, and of torchrun.
OTHER_OPTIONS = {"--help", "--version", "--check", "--list", "--table", "--only", "--share", "--trust-code",
                 "--local-addr"}  # fmt: skip
ANY_VERB = frozenset({"--trust-code"})

OptionsOf = Callable[..., frozenset[str]]
_options: dict[tuple[str, ...], frozenset[str]] = {}


@pytest.fixture
def options_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> OptionsOf:
    """The options of a verb, as its help lists them; asking for no verb fails."""
    monkeypatch.setenv("COLUMNS", "200")

    def options(*words: str) -> frozenset[str]:
        if words not in _options:
            capsys.readouterr()
            try:
                code: object = main([*words, "--help"])
            except SystemExit as ended:  # tyro's way to end after its help
                code = ended.code
            shown = capsys.readouterr()
            if code:
                raise LookupError(shown.err.strip())
            heads = re.findall(r"(?:  |│ )((?:-\w, )?--[a-z][\w-]*(?:, --[\w-]+)*)", shown.out)
            named = {option for head in heads for option in re.findall(r"--[\w-]+", head)}
            _options[words] = frozenset(named | {"--help"})
        return _options[words]

    return options


def mistake_in(words: list[str], options_of: OptionsOf) -> str | None:
    """What is wrong with the command `ganforge WORDS`, or None."""
    given = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    path = [word for word in words[:2] if not word.startswith("-")]
    if not path or path == ["VERB"]:
        known = frozenset({"--help", "--version"})
    elif path[0] in ("train", "bench"):
        system = path[1] if len(path) > 1 else "SYSTEM"
        if system in available():
            known = options_of(path[0], system)
        elif system in (*PLACEHOLDERS, *DATA) or ":" in system:
            known = frozenset().union(*(options_of(path[0], name) for name in available()))
        else:
            return f"no system {system}"
    else:
        known = options_of(*(path if path[0] in GROUPS else path[:1]))
    known |= ANY_VERB
    return f"no option {', '.join(sorted(given - known))}" if given - known else None


def commands_of(page: Path) -> list[list[str]]:
    """The words after `ganforge` of all commands in blocks and in code spans."""
    texts = [*blocks(page, ""), *blocks(page, "sh"), *spans(page)]
    commands = [words for text in texts for words in shell_commands(text)]
    return [own for words in commands if (own := program_words(words)) is not None]


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_commands_exist(page: Path, options_of: OptionsOf) -> None:
    mistakes = []
    for words in commands_of(page):
        try:
            mistake = mistake_in(words, options_of)
        except LookupError as error:
            mistake = str(error)
        if mistake:
            mistakes.append(f"ganforge {' '.join(words)}: {mistake}")
    assert not mistakes, "\n".join(mistakes)


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_options_in_the_text_exist(page: Path, options_of: OptionsOf) -> None:
    """Options that stand alone in the text are those of some verb."""
    verbs = (
        "watch",
        "sample",
        "evaluate",
        "apply",
        "compare",
        "restyle",
        "import",
        "reproduce",
        "list",
        "serve",
        "studio",
    )
    groups = (
        *(tuple(verb.name.split()) for verb in VERBS if verb.name.startswith(("explore ", "export "))),
        ("analyze", "probe"),
        ("analyze", "outliers"),
        ("analyze", "classify"),
        ("data", "embed"),
        ("data", "check"),
    )
    known = frozenset().union(
        *(options_of(verb, name) for verb in ("train", "bench") for name in available()),
        *(options_of(verb) for verb in verbs),
        *(options_of(*words) for words in groups),
    )
    named = {
        option
        for span in spans(page)
        if span.startswith("--")
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
    }
    unknown = named - known - OTHER_OPTIONS
    assert not unknown


def test_the_check_sees_what_it_looks_for(options_of: OptionsOf) -> None:
    with pytest.raises(LookupError, match="trian"):
        mistake_in(["trian", "gan"], options_of)
    assert mistake_in(["train", "gann", "--data", "ring"], options_of) == "no system gann"
    assert mistake_in(["train", "gan", "--learning-rat", "1"], options_of) == "no option --learning-rat"
    assert mistake_in(["sample", "RUN", "--code", "0=-1..1", "--seed=1"], options_of) is None
