"""`docs/guarantees.md` says what the last attack counted, and names tests that there are."""

import json
import re

import pytest
from documents import ROOT, code_in, read, table

PAGE = ROOT / "docs" / "guarantees.md"
STORED = json.loads((ROOT / "benchmarks" / "trust.json").read_bytes())


@pytest.mark.parametrize("name", STORED["parts"])
def test_every_part_of_the_attack_is_quoted(name: str) -> None:
    part = STORED["parts"][name]
    (figure,) = [row[2] for row in table(PAGE, "| promise | held by |") if code_in(row[2])[:1] == [name]]
    assert figure == f"`{name}`: {shown(name, part)}"


def shown(name: str, part: dict[str, float]) -> str:
    """A part's counts as the page quotes them."""
    if name == "leaks":
        return f"{part['mb_per_1000_steps']:g} MB in 1,000 steps, over {part['steps']:,.0f}"
    return f"{part['good']:,} of {part['tried']:,}"


def test_the_tests_that_are_named_exist() -> None:
    names = set(re.findall(r"`(test_\w+\.py)`", read(PAGE)))
    assert len(names) > 5
    assert names <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_all_attempts_went_as_promised() -> None:
    assert {name: part["failures"] for name, part in STORED["parts"].items() if part["failures"]} == {}
