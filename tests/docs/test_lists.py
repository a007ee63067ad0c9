"""Lists in the documents that repeat code equal it."""

import ast
import re
import signal
from pathlib import Path

import pytest
from documents import ROOT, code_in, read, spans, table
from rooms import ROOMS

import ganforge
from ganforge.cli.main import main
from ganforge.runs.options import FREE_TO_CHANGE, TrainOptions
from ganforge.system import LatentSystem, System
from ganforge.systems.discovery import available

PACKAGE = Path(ganforge.__file__).parent
TOUR, RUNS = ROOT / "docs" / "tour.md", ROOT / "docs" / "runs.md"


@pytest.mark.parametrize("page", [TOUR, ROOT / "CONTRIBUTING.md"], ids=["tour", "contributing"])
def test_rooms(page: Path) -> None:
    """All entries of the package, in the order in which they may be imported."""
    rooms = [
        name.removesuffix("/").removesuffix(".py")
        for row in table(page, "| room | contents |")
        for name in code_in(row[0])
    ]
    entries = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert set(rooms) == entries
    order = [name for names in ROOMS for name in names]
    imported = [name for name in rooms if name not in ("__init__", "__main__")]
    assert imported == [name for name in order if name in imported]


def test_options_that_may_change() -> None:
    (paragraph,) = re.findall(r"may change when a run is continued:\n\n(.+?)\n\n", read(RUNS), re.DOTALL)
    options = set(re.findall(r"`--([a-z-]+)`", paragraph))
    code = {name.rpartition(".")[2].replace("_", "-") for name in FREE_TO_CHANGE}
    assert "the version of ganforge" in paragraph
    assert options == code - {"ganforge", "start-from"} | {"from"}


def test_run_options() -> None:
    rows = {code_in(name)[0]: default for name, default, _ in table(RUNS, "| option | default | meaning |")}
    fields = TrainOptions.model_fields.items()
    code = {f"--{name.replace('_', '-')}": str(field.default) for name, field in fields}
    assert rows == {"--run": "runs/SYSTEM-DATA"} | code


def test_kinds_of_log_lines() -> None:
    kinds = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                kinds |= {
                    ast.literal_eval(value)
                    for key, value in pairs
                    if isinstance(key, ast.Constant)
                    and key.value == "kind"
                    and isinstance(value, ast.Constant)
                }
    rows = table(RUNS, "| kind | written | contents |")
    assert {code_in(row[0])[0] for row in rows} == kinds
    numbers = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert f"has {numbers[len(kinds)]} kinds of lines" in read(RUNS)


def test_exit_codes() -> None:
    codes = {0, 128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGUSR1}
    for path in (PACKAGE / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Tuple):
                names = ast.unparse(node.targets[0]).strip("()").split(", ")
                if all(name.startswith("EXIT_") for name in names):
                    values = ast.literal_eval(node.value)
                    codes |= set(values) if isinstance(values, tuple) else {values}
    rows = table(RUNS, "| code | meaning |")
    assert {int(code) for row in rows for code in row[0].split(",")} == codes


def test_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb of `ganforge --help` is shown in a guide or on a system's page."""
    assert main(["--help"]) == 0
    verbs = set(re.findall(r"^  ([a-z]+)\b", capsys.readouterr().out, re.MULTILINE)) - {"ganforge"}
    assert {"train", "sample", "evaluate"} < verbs
    text = "\n".join(read(page) for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    assert not {verb for verb in verbs if not re.search(rf"\bganforge {verb}\b", text)}


def test_members_of_a_system() -> None:
    """The tour names every member of `System`, and no other."""
    code = {
        name
        for kind in (System, LatentSystem)
        for name in {**vars(kind), **vars(kind).get("__annotations__", {})}
        if not name.startswith("_")
    }
    rows = table(TOUR, "| member | meaning |")
    tour = read(TOUR)
    others = table_after(tour, "The rest has defaults:")
    named = {re.split(r"\(", span)[0] for row in rows + others for span in code_in(row[0])}
    latent = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", tour.split("\nA `LatentSystem`")[1].split("\n\n")[0]))
    assert named | (latent - {"LatentSystem"}) == code


def table_after(text: str, sentence: str) -> list[list[str]]:
    rows = text.split(sentence)[1].strip().splitlines()[2:]
    end = next(index for index, row in enumerate(rows) if not row.startswith("|"))
    return [row.strip("|").split("|") for row in rows[:end]]


def test_protocols() -> None:
    """The tour's table of capabilities: every runtime-checkable Protocol of `system.py` with its methods."""
    code = {}
    for node in ast.parse(read(PACKAGE / "system.py")).body:
        if isinstance(node, ast.ClassDef) and any("runtime" in ast.unparse(d) for d in node.decorator_list):
            code[node.name] = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    rows = table(TOUR, "| Protocol | methods | used by |")
    assert {code_in(name)[0]: set(code_in(methods)) for name, methods, _ in rows} == code


def test_systems() -> None:
    rows = table(ROOT / "docs" / "systems" / "README.md", "| system | paper | data |")
    assert sorted(name for row in rows for name in re.findall(r"\[(\w+)\]\(", row[0])) == available()
    assert sorted(
        page.stem for page in (ROOT / "docs" / "systems").glob("*.md") if page.stem != "README"
    ) == (available())
    assert f"All {len(available())} with their papers" in read(ROOT / "README.md")


def test_classes_of_the_glossary_exist() -> None:
    names = {
        span for span in spans(ROOT / "docs" / "glossary.md") if re.fullmatch(r"[A-Z][A-Za-z]+[a-z]", span)
    }
    assert {"System", "Batch", "Split"} <= names
    code = {
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.ClassDef)
    }
    assert not names - code
