"""The verbs as they are declared: usage, help, options, and the names of earlier versions."""

import re

import pytest

import ganforge
from ganforge.cli.arguments import options_of
from ganforge.cli.main import GROUPS, VERBS, Verb, main
from ganforge.cli.names import read_names

LINES, COLUMNS = 24, 80
TOP = ["train", "resume", "sweep", "watch", "sample", "evaluate", "compare", "apply", "restyle", "info",
       "explore", "analyze", "data",
       "import", "bench", "studio", "serve", "export", "reproduce", "list", "demo", "completion"]  # fmt: skip
MEMBERS = {
    "explore": [
        "interpolate",
        "walk",
        "arithmetic",
        "traverse",
        "directions",
        "project",
        "neighbours",
        "reconstructions",
        "completions",
        "manifold",
    ],
    "analyze": ["features", "probe", "outliers", "classify", "psnr"],
    "data": ["check", "pack", "embed", "statistics"],
    "export": ["onnx", "torch", "hub", "package", "log"],
}


def help_of(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """What `--help` prints after `words`, with exit code 0 and nothing on the other stream."""
    try:
        code: object = main([*words, "--help"])
    except SystemExit as ended:  # how tyro ends after help
        code = ended.code
    assert code in (0, None)
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out


def test_verbs_are_frozen() -> None:
    """A verb is a promise: to change this list is to break someone's script."""
    assert list(dict.fromkeys(verb.name.split()[0] for verb in VERBS)) == TOP
    assert {
        group: [verb.name.split()[1] for verb in VERBS if verb.name.startswith(f"{group} ")]
        for group in GROUPS
    } == MEMBERS


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"ganforge {ganforge.__version__}\n"


def test_usage_fits_one_screen_and_names_every_verb(capfd: pytest.CaptureFixture[str]) -> None:
    usage = help_of([], capfd)
    lines = usage.splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    for name in TOP:
        (line,) = [line for line in lines if re.match(rf"  {name}\b", line)]
        assert line.endswith(" ...") or all(member in line for member in MEMBERS.get(name, ()))
    assert main([]) == 2
    assert capfd.readouterr().out == usage


@pytest.mark.parametrize("group", GROUPS)
def test_group_help_lists_its_verbs(capfd: pytest.CaptureFixture[str], group: str) -> None:
    lines = help_of([group], capfd).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    for member in MEMBERS[group]:
        assert sum(line.startswith(f"  {group} {member} ") for line in lines) == 1


def options_in(text: str) -> set[str]:
    """Options that a help text explains: each at the start of a line of its box."""
    return set(re.findall(r"^│ (--[a-z][a-z0-9-]*)", text, re.MULTILINE))


@pytest.mark.parametrize(
    "verb", [verb for verb in VERBS if isinstance(verb.load(), type)], ids=lambda verb: verb.name
)
def test_help_of_each_verb_names_its_options(capfd: pytest.CaptureFixture[str], verb: Verb) -> None:
    name, target = verb.name, verb.load()
    assert target.__doc__
    text = help_of(name.split(), capfd)
    assert "None" not in text
    assert f"usage: ganforge {name}" in text
    assert options_in(text) == set(options_of(target))


@pytest.mark.parametrize("verb", ["train", "bench"])
def test_help_before_a_system(capfd: pytest.CaptureFixture[str], verb: str) -> None:
    text = help_of([verb], capfd)
    assert all(name in text for name in read_names().systems)
    assert "--data" in text


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["train", "dcgan"], "--width"),
        (["train", "gan", "--data", "gaussian"], "--generator-hidden"),
        (["bench", "dcgan"], "--rounds"),
    ],
)
def test_help_with_a_system(capfd: pytest.CaptureFixture[str], words: list[str], option: str) -> None:
    options = options_in(help_of(words, capfd))
    names = read_names().options
    assert option in options
    assert options == {*names[words[0]], *names[f"train {words[1]}"]}


@pytest.mark.parametrize(
    ("old", "new"),
    [(member, f"{group} {member}") for group in ("analyze", "data") for member in MEMBERS[group]],
)
def test_a_verb_without_its_group_is_suggested_with_it(
    capfd: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    """`ganforge features`, as version 0.1 had it."""
    assert main([old, "runs/a"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: unknown verb")
    assert new in line


def test_help_of_a_system_has_no_none(capfd: pytest.CaptureFixture[str]) -> None:
    text = help_of(["train", "gan"], capfd)
    assert "None" not in text
    assert "--size INT|STR " in text
    assert "The run folder; default: runs/SYSTEM-DATA." in " ".join(text.replace("│", " ").split())
