"""Links between the documents lead somewhere."""

import re
from pathlib import Path

import pytest
from documents import PAGES, ROOT, name_of, prose, read

LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the built site both make of the headings: lower case, spaces to hyphens,
    punctuation dropped. The site makes one hyphen of several, GitHub does not."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    on_github = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return {anchor for anchor in on_github if "--" not in anchor}


def broken(page: Path, text: str) -> list[str]:
    missing = []
    for target in LINK.findall(text):
        if re.match(r"https?://|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        outside = not path.is_relative_to(ROOT)
        if outside or not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(target)
    return missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    assert not broken(page, read(page))


def test_a_broken_link_is_seen() -> None:
    page = ROOT / "docs" / "runs.md"
    text = "[a](nowhere.md) [b](tour.md#no-such-heading) [c](#the-log) [d](tour.md#the-rooms) [e](../../x)"
    text += " [f](#warm-start---from)"
    assert broken(page, text) == ["nowhere.md", "tour.md#no-such-heading", "../../x", "#warm-start---from"]


def test_every_page_is_linked() -> None:
    """Each page of docs can be reached from the README."""
    reached, open_pages = set(), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = [(page.parent / target.partition("#")[0]).resolve() for target in LINK.findall(read(page))]
        open_pages += [target for target in targets if target.is_file()]
        open_pages += [child for target in targets if target.is_dir() for child in target.glob("*.md")]
    assert not {name_of(page) for page in PAGES} - {name_of(page) for page in reached}
