"""The documentation as a site: every link has its file; and what the check of the wheel trains."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

import ganforge
from ganforge.cli.demo import DEMO

ROOT = Path(__file__).resolve().parents[1]
TOOL = runpy.run_path(str(ROOT / "tools" / "stage_docs.py"))
stage, LinkError = TOOL["stage"], TOOL["LinkError"]


def repository(folder: Path, page: str) -> Path:
    """A repository with a README, one page in docs/ and some files that it can link to."""
    files = {
        "README.md": "# Home\n\n[page](docs/page.md) ![image](docs/image.png)\n",
        "docs/page.md": page,
        "docs/image.png": "pixels",
        "docs/papers/README.md": "# Papers\n",
        "src/code.py": '"""Code."""\n\nprint("[no](link)")\n',
        "results/README.md": "# Results\n\n[one](one.json)\n",
        "results/one.json": "{}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_links_inside_docs_stay_and_those_to_other_files_become_pages(tmp_path: Path) -> None:
    page = (
        "# Page\n\n[papers](papers/README.md#title) [folder](papers) [here](#page) [web](https://a.example/b)\n"
        "[code](../src/code.py) [results](../results) [sources](../src)\n"
    )
    out = tmp_path / "out"
    stage(repository(tmp_path / "repository", page), out)
    assert (out / "page.md").read_text("utf-8") == (
        "# Page\n\n[papers](papers/index.md#title) [folder](papers/index.md) [here](#page) "
        "[web](https://a.example/b)\n"
        "[code](repository/src/code.py.md) [results](repository/results/index.md) "
        "[sources](repository/src/index.md)\n"
    )
    assert (out / "index.md").read_text("utf-8") == "# Home\n\n[page](page.md) ![image](image.png)\n"
    assert (out / "image.png").read_text("utf-8") == "pixels"
    assert '\nprint("[no](link)")\n' in (out / "repository/src/code.py.md").read_text("utf-8")
    assert "- [code.py](code.py.md)" in (out / "repository/src/index.md").read_text("utf-8")
    assert (out / "repository/results/one.json.md").is_file()  # linked by a page that is itself only linked


def test_what_looks_like_a_link_in_code_is_none(tmp_path: Path) -> None:
    page = "# Page\n\n`[a](b)` and\n\n```python\ncall[0](c)\n```\n"
    out = tmp_path / "out"
    stage(repository(tmp_path / "repository", page), out)
    assert (out / "page.md").read_text("utf-8") == page


@pytest.mark.parametrize("target", ["nothing.md", "nothing.png", "../src/nothing.py", "../../outside.md"])
def test_a_link_without_its_file_is_named_with_its_line(tmp_path: Path, target: str) -> None:
    (tmp_path / "outside.md").write_text("# Outside\n", "utf-8")
    page = f"# Page\n\n[code](../src/code.py)\n[broken]({target})\n"
    with pytest.raises(LinkError, match=rf"^docs/page\.md:4: {re.escape(target)} "):
        stage(repository(tmp_path / "repository", page), tmp_path / "out")


def test_every_link_of_this_repository_has_its_file(tmp_path: Path) -> None:
    staged = stage(ROOT, tmp_path / "out")
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "docs/api.md",
        "docs/decisions/0001-system-and-update.md",
    } <= staged


def test_the_navigation_names_pages_that_exist(tmp_path: Path) -> None:
    """Zensical leaves out without a word what it does not find."""
    stage(ROOT, tmp_path / "out")
    named = re.findall(
        r"^ +- (?:\w+: )?([\w/]+(?:\.md|/))$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE
    )
    assert {"index.md", "api.md", "systems/"} <= set(named)
    assert not [name for name in named if not (tmp_path / "out" / name).exists()]


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}
    assert set(ganforge.__all__) - {"__version__"} <= shown


def test_the_wheel_is_checked_with_the_options_of_the_demo() -> None:
    script = (ROOT / "tools" / "check_wheel.sh").read_text("utf-8")
    *options, steps, _ = DEMO
    assert steps == "--steps"
    assert f"\nganforge train {shlex.join(options)} --steps 50\n" in script


def test_the_citation_has_the_version_of_the_package() -> None:
    lines = (ROOT / "CITATION.cff").read_text("utf-8").splitlines()
    assert f"version: {ganforge.__version__}" in lines
