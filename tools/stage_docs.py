"""Lay out the pages of the documentation site: README.md, docs/ and each file of the repository they link to.

    python tools/stage_docs.py build/docs

Links in the repository lead to files outside docs/: sources, results, CONTRIBUTING.md. A site has only its
own pages, so these files become pages of it, code as listings and folders as lists. A link or an image whose
file does not exist is an error that names page and line.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTINGS = {".py": "python", ".json": "json", ".toml": "toml", "": "text"}
# Code comes first, so that brackets in it are not taken for links.
LINK = re.compile(r"^```.*?^```|`[^`]*`|(?<=\]\()(?P<target>[^)\s]+)(?=\))", re.DOTALL | re.MULTILINE)


class LinkError(Exception):
    """One line for each link to a file that does not exist."""


def stage(root: Path, out: Path) -> set[str]:
    """Write the pages of the repository `root` into the folder `out`, and return the files they are made of.

    Raises LinkError where a link or an image has no file.
    """
    waiting = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    staged: set[str] = set()
    broken: list[str] = []
    while waiting:
        path = waiting.pop()
        source = path.relative_to(root).as_posix()
        if source in staged:
            continue
        staged.add(source)
        page = out / place(path, root)
        page.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() or path.suffix == ".md":
            text, links = relink(path, root, broken)
            page.write_text(text, "utf-8")
            waiting += links
        elif path.suffix in LISTINGS:
            page.write_text(listing(path, source), "utf-8")
        else:
            shutil.copyfile(path, page)
    if broken:
        raise LinkError("\n".join(broken))
    return staged


def place(path: Path, root: Path) -> Path:
    """Where the page of `path` lies in the site."""
    source = path.relative_to(root)
    if source.parts[0] == "docs" and len(source.parts) > 1:
        source = source.relative_to("docs")
    elif source != Path("README.md"):
        source = "repository" / source
    if path.is_dir():
        return source / "index.md"
    if path.name == "README.md":
        return source.with_name("index.md")
    return source.with_name(f"{source.name}.md") if path.suffix in LISTINGS else source


def relink(path: Path, root: Path, broken: list[str]) -> tuple[str, list[Path]]:
    """The Markdown of a page or a folder, its links as the site has them, and the files that it links to."""
    folder = path if path.is_dir() else path.parent
    text = "\n".join(contents(path)) if path.is_dir() else path.read_text("utf-8")
    linked: list[Path] = []

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or re.match(r"[a-z]+:|#", target):
            return match[0]
        name, hash_mark, anchor = target.partition("#")
        file = Path(os.path.normpath(folder / name))
        if (file / "README.md").is_file():
            file /= "README.md"
        if not file.exists() or not file.is_relative_to(root):
            line = text.count("\n", 0, match.start()) + 1
            broken.append(f"{path.relative_to(root)}:{line}: {name} does not exist")
            return target
        linked.append(file)
        return os.path.relpath(place(file, root), place(path, root).parent) + hash_mark + anchor

    return LINK.sub(link, text), linked


def contents(folder: Path) -> Iterator[str]:
    """A page that lists the files of `folder`, Markdown by its title."""
    yield f"# {folder.name}\n"
    for path in sorted(folder.iterdir()):
        if path.suffix == ".md":
            title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
            yield f"- [{title}]({path.name})"
        elif path.is_file() and path.suffix in LISTINGS:
            yield f"- [{path.name}]({path.name})"


def listing(path: Path, source: str) -> str:
    """A page that shows the text file `path`; the search passes over it."""
    fence = "`" * 6
    code = path.read_text("utf-8").rstrip("\n")
    unsearched = "---\nsearch:\n  exclude: true\n---\n"
    return f"{unsearched}\n# {source}\n\n{fence}{LISTINGS[path.suffix]}\n{code}\n{fence}\n"


def main() -> int:
    """Stage this repository into the folder named on the command line, which is emptied first."""
    out = Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)
    try:
        stage(ROOT, out)
    except LinkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
