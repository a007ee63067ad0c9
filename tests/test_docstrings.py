"""Docstrings name only things that exist."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "ganforge"
FILES = sorted(ROOT.rglob("*.py"))
BACKTICKED = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"ganforge(?:\.\w+)+")
SNAKE_CASE = re.compile(r"_?[a-z][a-z0-9]+(?:_[a-z0-9]+)+")
FOREIGN = {"allow_tf32"}  # of torch


def docstrings(tree: ast.Module) -> Iterator[str]:
    """The docstrings of a module, its classes and functions, and those below fields and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def identifiers(tree: ast.Module) -> Iterator[str]:
    """Every name in the code of a module, and every string that could be one."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name))
            ):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(name=name):
                yield name
            case ast.Constant(value=str(text)):
                yield from re.findall(r"\w+", text) if "\n" not in text else ()
    yield from (path.stem for path in FILES)


def resolves(dotted: str) -> bool:
    """Whether `dotted` is a module, or an attribute of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            value = getattr(value, name, None)
        return value is not None
    return False


@pytest.fixture(scope="module")
def known() -> set[str]:
    names: set[str] = set()
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):  # a docstring is no proof that a name exists
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = 0
        names |= set(identifiers(tree))
    return names | FOREIGN


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_names_in_backticks_exist(path: Path, known: set[str]) -> None:
    texts = " ".join(docstrings(ast.parse(path.read_text(encoding="utf-8"))))
    named = BACKTICKED.findall(texts)
    assert not [name for name in named if DOTTED.fullmatch(name) and not resolves(name)]
    assert not [name for name in named if SNAKE_CASE.fullmatch(name) and name not in known]


def test_the_check_finds_what_it_looks_for(known: set[str]) -> None:
    assert resolves("ganforge.nn.losses.generator_loss")
    assert not resolves("ganforge.nn.losses.generator_non_saturating")
    assert not resolves("ganforge.losses")
    assert "generator_loss" in known
    assert "generator_non_saturating" not in known
