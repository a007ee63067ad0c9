"""A network as one Python file that needs torch and safetensors only: its classes, and how it was built.

The file holds the definitions of `ganforge.nn` that the network uses, found by following names, without
methods that nothing calls, and an expression with the arguments of the network's own constructors.
"""

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any

from torch import nn

from ganforge.errors import UserError

ROOM = "ganforge.nn"
ALWAYS = {"forward", "backward"}
"""Methods that torch calls."""
LITERALS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Definition:
    """A class, function or constant at the top of a module of `ganforge.nn`."""

    module: str
    name: str


@dataclass(frozen=True)
class Source:
    """A module of `ganforge.nn`: its lines, its definitions, and where its other names come from."""

    lines: list[str]
    definitions: dict[str, ast.stmt]
    imports: dict[str, tuple[str, str | None]]
    """Name -> the module that it is from and the name there, None for the module itself."""


@cache
def _read(module: str) -> Source:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, tuple[str, str | None]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            definitions |= dict.fromkeys(names, node)
        elif isinstance(node, ast.ImportFrom):
            imports |= {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
    return Source(text.splitlines(), definitions, imports)


class _Collector:
    """The definitions that some classes need, each after those that it needs itself."""

    def __init__(self, used: set[str]) -> None:
        self.used = used
        self.kept: dict[Definition, list[ast.AST]] = {}
        self.imports: set[tuple[str, str, str | None]] = set()
        self._begun: set[Definition] = set()

    def add(self, definition: Definition) -> None:
        """Keep a definition and what it needs."""
        if definition in self._begun:
            return
        self._begun.add(definition)
        source = _read(definition.module)
        node = source.definitions[definition.name]
        left_out = self._unused(node)
        for name in _names_in(node, left_out):
            if name in source.definitions:
                self.add(Definition(definition.module, name))
            elif name in source.imports:
                module, member = source.imports[name]
                if module.startswith(ROOM):
                    assert member == name, "modules of ganforge.nn rename nothing that they import"
                    self.add(Definition(module, name))
                else:
                    self.imports.add((module, name, member))
        self.kept[definition] = left_out

    def _unused(self, node: ast.stmt) -> list[ast.AST]:
        """The methods of a class that nothing calls."""
        if not isinstance(node, ast.ClassDef):
            return []
        methods = (part for part in node.body if isinstance(part, ast.FunctionDef))
        return [m for m in methods if not (m.name in self.used | ALWAYS or m.name.startswith("__"))]

    def calls(self) -> set[str]:
        """Names of the methods that the kept code calls, and of the properties that it reads."""
        found: set[str] = set()
        for definition, left_out in self.kept.items():
            node = _read(definition.module).definitions[definition.name]
            nodes = list(_walk(node, left_out))
            called = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
            attributes = [n for n in nodes if isinstance(n, ast.Attribute)]
            found |= {n.attr for n in attributes if id(n) in called}
            found |= {n.attr for n in attributes} & self._properties()
        return found

    def _properties(self) -> set[str]:
        nodes = (_read(d.module).definitions[d.name] for d in self.kept)
        members = (part for node in nodes if isinstance(node, ast.ClassDef) for part in node.body)
        return {part.name for part in members if isinstance(part, ast.FunctionDef) and part.decorator_list}


def _walk(node: ast.AST, left_out: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """`node` and all below it, except `left_out`."""
    skipped = {id(part) for part in left_out}
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if id(part) not in skipped:
            yield part
            waiting.extend(ast.iter_child_nodes(part))


def _names_in(node: ast.AST, left_out: Iterable[ast.AST]) -> list[str]:
    return sorted({part.id for part in _walk(node, left_out) if isinstance(part, ast.Name)})


def definitions_of(classes: Iterable[type]) -> str:
    """The source of `classes` of `ganforge.nn` and of all that they need, with the imports of others."""
    roots = [Definition(kind.__module__, kind.__name__) for kind in classes]
    used: set[str] = set()
    while True:
        collector = _Collector(used)
        for root in roots:
            collector.add(root)
        if (calls := collector.calls()) <= used:
            break
        used |= calls
    names = [definition.name for definition in collector.kept]
    assert len(set(names)) == len(names), f"two definitions of one name: {sorted(names)}"
    parts = [_imports(collector.imports)]
    written: set[tuple[str, int]] = set()
    for definition, left_out in collector.kept.items():
        node = _read(definition.module).definitions[definition.name]
        if (definition.module, node.lineno) not in written:  # one statement may define two names
            written.add((definition.module, node.lineno))
            parts.append(_text(definition, node, left_out))
    return "\n\n".join(parts)


def _imports(found: set[tuple[str, str, str | None]]) -> str:
    plain = sorted(f"import {module}" for module, _, member in found if member is None)
    members: dict[str, list[str]] = {}
    for module, name, member in sorted(found, key=str):
        if member is not None:
            members.setdefault(module, []).append(name if member == name else f"{member} as {name}")
    return "\n".join(
        [*plain, *(f"from {module} import {', '.join(names)}" for module, names in members.items())]
    )


def _text(definition: Definition, node: ast.stmt, left_out: list[ast.AST]) -> str:
    """The lines of a definition, with the comment before it, without the methods `left_out`."""
    lines = _read(definition.module).lines
    first, last = _first_line(node), node.end_lineno or node.lineno
    while lines[first - 2].startswith("#"):
        first -= 1
    gone: set[int] = set()
    for method in left_out:
        assert isinstance(method, ast.FunctionDef)
        gone |= set(range(_first_line(method) - 1, (method.end_lineno or 0) + 1))  # and the empty line before
    return "\n".join(lines[number - 1] for number in range(first, last + 1) if number not in gone)


def _first_line(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def classes_of(module: nn.Module) -> set[type]:
    """The classes of `ganforge.nn` in `module`; raises UserError where others are not torch's own."""
    kinds = {type(part) for part in module.modules()}
    own = {kind for kind in kinds if kind.__module__.startswith(f"{ROOM}.")}
    foreign = [kind for kind in kinds - own if not kind.__module__.startswith("torch.")]
    if foreign or type(module) not in own:
        kind = foreign[0] if foreign else type(module)
        raise UserError(
            f"{kind.__module__}.{kind.__qualname__} is not of ganforge.nn: export it as onnx or hub"
        )
    return own


@contextmanager
def recorded(classes: Iterable[type]) -> Iterator[None]:
    """Within this context modules of `classes` remember the arguments that they are built with."""
    originals = {kind: kind.__dict__["__init__"] for kind in classes if "__init__" in kind.__dict__}
    try:
        for kind, original in originals.items():
            kind.__init__ = _remembering(original)  # type: ignore[misc]
        yield
    finally:
        for kind, original in originals.items():
            kind.__init__ = original  # type: ignore[misc]


def _remembering(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def build(module: nn.Module, *positional: Any, **named: Any) -> None:
        module.__dict__.setdefault("built_with", (positional, named))
        original(module, *positional, **named)

    return build


def expression_of(value: object) -> str:
    """The expression of `value`: a literal, a sequence, or a module that was built while `recorded`."""
    if isinstance(value, LITERALS):
        return repr(value)
    if isinstance(value, list | tuple):
        inner = ", ".join(map(expression_of, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    assert isinstance(value, nn.Module), f"an argument of {type(value)}"
    positional, named = value.__dict__["built_with"]
    arguments = [expression_of(part) for part in positional]
    arguments += [f"{name}={expression_of(part)}" for name, part in named.items()]
    return f"{type(value).__name__}({', '.join(arguments)})"


def check_independent(text: str) -> None:
    """Assert that the file `text` imports the standard library, torch and safetensors only."""
    for node in ast.walk(ast.parse(text)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            assert module.split(".")[0] in sys.stdlib_module_names | {"torch", "safetensors"}, module
