"""The repository's Markdown pages: their code blocks, the commands in them, links and tables."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "benchmarks" / "README.md",
        ROOT / "examples" / "README.md",
    ]
)
PROSE = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""The pages about this version; the changes of an older one name its commands."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The contents of the fenced blocks of one language; "" is that of blocks that name none."""
    return [body for found, body in _FENCE.findall(read(page)) if found == language]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", read(page))


def spans(page: Path) -> list[str]:
    """The code spans of the prose, also those that a line break divides."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def words_of(line: str) -> list[list[str]]:
    """The commands of a line of shell, each as its words, without comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, "#"
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";&|"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [words for words in commands if words]


def shell_commands(block: str) -> list[list[str]]:
    """All commands of the lines of a block that call a program which the documents use."""
    lines = block.replace("\\\n", " ").splitlines()
    programs = ("ganforge ", "torchrun ", "python ", "make ", "pip ")
    return [words for line in lines if line.startswith(programs) for words in words_of(line)]


def program_words(words: list[str]) -> list[str] | None:
    """The words after `ganforge`, also where torchrun or python starts it; None for another program."""
    if words[0] == "ganforge":
        return words[1:]
    words = [word for word in words if word != "--"]
    if words[0] in ("torchrun", "python") and "-m" in words and words[words.index("-m") + 1] == "ganforge":
        return words[words.index("-m") + 2 :]
    return None


def table(page: Path, head: str) -> list[list[str]]:
    """The rows of the table whose header line starts with `head`, each as its cells."""
    lines = read(page).split(f"\n{head}", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))])
    return rows


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)
