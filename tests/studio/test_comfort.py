"""What holds for every view: no grave violation of accessibility, keyboard, phone width, no shift, small."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe import violations
from studios import Studio, page_of, studio
from views import VIEWS, open_view, small_runs

MOST_BYTES = 700_000
MOST_SHIFT = 0.1
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CONTROLS = """
() => {
  const kinds = "a[href], button, input, select, textarea, summary, [tabindex='0'], [contenteditable]";
  const groups = new Set();
  return [...document.querySelectorAll(kinds)].filter((each) => {
    if (each.disabled || each.closest("[inert]")) return false;
    if (!each.checkVisibility({ visibilityProperty: true })) return false;
    if (each.getAttribute("role") === "tab") return each.tabIndex >= 0; // arrow keys reach the others
    if (each.type !== "radio") return true;
    const known = groups.has(each.name); // Tab reaches one of a group, arrow keys the others
    groups.add(each.name);
    return !known;
  }).map((each, index) => {
    const same = each.type === "radio" ? document.getElementsByName(each.name) : [each];
    for (const one of same) one.dataset.control = String(index);
    return [each.dataset.control, each.outerHTML.slice(0, 120)];
  });
}"""
FOCUSED = """
() => {
  const each = document.activeElement, style = getComputedStyle(each);
  if (each === document.body) return null;
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const ring = outlined || style.boxShadow !== "none";
  return [each.dataset.control ?? "", ring, each.outerHTML.slice(0, 120)];
}"""
WIDER = """
() => [...document.querySelectorAll("main *")]
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
  .slice(0, 3).map((each) => each.outerHTML.slice(0, 150))
"""
WATCH_SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
each_view = pytest.mark.parametrize("view", VIEWS)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with runs to show."""
    with studio(small_runs(tmp_path_factory.mktemp("runs"))) as started:
        yield started


@each_view
def test_accessibility(full: Studio, page: Any, view: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    open_view(page, full.link(VIEWS[view]))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            page.wait_for_timeout(200)
            assert not violations(page), f"{view}, {scheme}, {size['width']} pixels wide"


@each_view
def test_no_sideways_scrolling_on_a_phone(full: Studio, page: Any, view: str) -> None:
    page.set_viewport_size(PHONE)
    open_view(page, full.link(VIEWS[view]))
    wide = page.evaluate("document.documentElement.scrollWidth")
    wider = page.evaluate(WIDER)
    assert wide <= PHONE["width"], wider


@each_view
def test_keyboard_reaches_every_control(full: Studio, page: Any, view: str) -> None:
    open_view(page, full.link(VIEWS[view]))
    page.evaluate("document.activeElement.blur()")
    controls = dict(page.evaluate(CONTROLS))
    reached, unmarked = set[str](), list[str]()
    for _ in range(2 * len(controls) + 20):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:  # between the end of the page and its start
            continue
        key, ring, html = focused
        if not ring:
            unmarked.append(html)
        reached.add(key)
        if controls.keys() <= reached:
            break
    missed = [html for key, html in controls.items() if key not in reached]
    assert len(controls) > 5
    assert not missed, f"Tab does not reach {missed}"
    assert not unmarked, f"focus is not visible on {unmarked}"


@each_view
def test_nothing_shifts(full: Studio, chromium: Any, view: str) -> None:
    for size in (DESKTOP, PHONE):
        with page_of(chromium, viewport=size) as page:
            page.add_init_script(WATCH_SHIFTS)
            open_view(page, full.link(VIEWS[view]), 2)
            shifts = page.evaluate("window.shifts")
            assert shifts < MOST_SHIFT, f"{view} at {size['width']} pixels"


@each_view
def test_weight(full: Studio, chromium: Any, view: str) -> None:
    """What the browser receives until the view is there, by kind."""
    with page_of(chromium) as page:
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        names, sizes = dict[str, str](), dict[str, int]()
        network.on(
            "Network.responseReceived",
            lambda event: names.update({event["requestId"]: event["response"]["url"]}),
        )
        network.on(
            "Network.loadingFinished",
            lambda event: sizes.update({event["requestId"]: int(event["encodedDataLength"])}),
        )
        open_view(page, full.link(VIEWS[view]))
        weights = sorted(((size, names.get(key, "")) for key, size in sizes.items()), reverse=True)
        assert 40_000 < sum(sizes.values()) < MOST_BYTES, weights[:8]


def test_theme_is_kept(full: Studio, page: Any) -> None:
    open_view(page, full.link())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 251, 250)"
    page.get_by_role("button", name="Change between light and dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    page.reload()
    page.wait_for_selector("main h1")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


def test_skip_link(full: Studio, page: Any) -> None:
    open_view(page, full.link("#/learn"))
    page.get_by_role("link", name="Skip to the content").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("main:focus")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    assert page.locator("main h1").inner_text() == "Learn"
    assert page.url.endswith("#/learn"), "the address still leads to the view"


def test_checks_see_what_they_look_for(full: Studio, page: Any) -> None:
    open_view(page, full.link())
    page.evaluate(
        """() => {
          const trap = document.createElement("div");
          trap.innerHTML = "<input><img src=data:,><button tabindex=-1>no</button>";
          trap.style.width = "3200px";
          document.querySelector("main h1").after(trap);
        }"""
    )
    found = " ".join(violations(page))
    assert "image-alt" in found
    assert "label" in found
    assert page.evaluate("document.documentElement.scrollWidth") > 3000
    controls = dict(page.evaluate(CONTROLS))
    assert any("tabindex" in html for html in controls.values())
