"""A browser for the tests of this folder."""

from collections.abc import Iterator
from typing import Any

import pytest
from studios import browser, page_of


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    with page_of(chromium) as opened:
        yield opened
