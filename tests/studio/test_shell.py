"""The shell of the studio in a real browser: every view opens, keys work, nothing comes from elsewhere."""

from collections.abc import Iterator
from typing import Any

import pytest
from studios import Studio, studio

VIEWS = ["", "#/play", "#/runs", "#/create", "#/learn", "#/new"]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("runs")) as started:
        yield started


@pytest.mark.parametrize("place", VIEWS)
def test_views_open(empty: Studio, page: Any, place: str) -> None:
    page.goto(empty.link(place))
    page.wait_for_selector("main .view h1")
    assert "token" not in page.url


def test_keys(empty: Studio, page: Any) -> None:
    page.goto(empty.link())
    page.wait_for_selector("main .view h1")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/#/runs")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")


def test_keys_of_a_view_are_its_own(empty: Studio, page: Any) -> None:
    """G steps the generator in the playground: R after it restarts there, and does not go to the runs."""
    page.goto(empty.link("#/play"))
    page.wait_for_selector("main .view canvas")
    page.wait_for_timeout(500)
    for key in "gr":
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert "#/play" in page.url
    page.keyboard.press("n")
    page.wait_for_url("**/#/new")


def test_a_question_does_not_outlive_its_view(empty: Studio, page: Any) -> None:
    page.goto(empty.link("#/runs"))
    page.wait_for_selector("main .view h1")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.evaluate("location.hash = '#/learn'")
    page.wait_for_selector("dialog[open]", state="detached")
