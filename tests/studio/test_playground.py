"""The playground in a real browser: play, draw, step apart, save, open a link; and its endpoints."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from studios import Studio, studio

import ganforge
from ganforge.studio.playground.stories import STORIES

QUICK = {"generator_hidden": [16], "discriminator_hidden": [16], "batch": 32}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("runs")) as running:
        yield running


def step_of(page: Any) -> int:
    return int(page.get_attribute(".stage", "data-step") or 0)


def until(page: Any, condition: str, seconds: float = 60) -> None:
    """Wait for a condition in JavaScript; the page's own policy forbids playwright's way."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def wait_for_step(page: Any, least: int) -> None:
    until(page, f"Number(document.querySelector('.stage').dataset.step) >= {least}")


def weights_of(started: Studio, page: Any) -> str:
    key = page.get_attribute(".stage", "data-session")
    return str(started.client.get(f"/api/play/{key}/state").json()["fingerprint"])


def test_the_first_screen_trains_with_one_click(started: Studio, page: Any) -> None:
    page.goto(started.link("#/play"))
    page.wait_for_selector(".stage[data-frames]")
    assert step_of(page) == 0
    page.click("button.play")
    wait_for_step(page, 20)
    assert page.inner_text("button.play").strip() == "Pause"
    page.keyboard.press("Space")
    page.wait_for_selector(".stage[data-state=paused]")
    time.sleep(0.5)
    stopped = step_of(page)
    page.keyboard.press("s")
    wait_for_step(page, stopped + 1)
    assert step_of(page) == stopped + 1
    until(page, "document.querySelector('[role=status].visually-hidden').textContent.includes('modes')")


def test_draw_play_find_step_apart_save_and_load(started: Studio, page: Any) -> None:
    page.goto(started.link("#/play"))
    page.wait_for_selector(".stage[data-frames]")
    page.click("button[data-name=drawn]")
    canvas = page.locator("canvas.dabs")
    box = canvas.bounding_box()
    for x in (0.3, 0.7):  # a cluster with the pointer on either side
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.7 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + (x + 0.08) * box["width"], box["y"] + 0.7 * box["height"], steps=6)
        page.mouse.up()
    canvas.focus()
    for key in ["ArrowUp"] * 6 + ["Enter", "ArrowRight", "Enter"]:  # one by keyboard
        page.keyboard.press(key)
    page.click("dialog button[type=submit]")
    page.wait_for_selector("button[data-name=drawn][aria-pressed=true]")
    until(page, "document.querySelector('.numbers b').textContent === '0 of 3'")
    page.click("button.play")
    until(page, "document.querySelector('.numbers b').textContent.startsWith('3 of 3')")
    page.click("button.play")
    page.wait_for_selector(".stage[data-state=paused]")

    before, step = weights_of(started, page), step_of(page)
    page.click("button.of-d")
    wait_for_step(page, step + 1)
    page.keyboard.press("g")
    wait_for_step(page, step + 2)
    assert weights_of(started, page) != before

    page.click("text=Save as run")
    page.fill("#run-name", "mine")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("dialog :text('ganforge sample')")
    trained = ganforge.load(started.runs / "mine")
    assert trained.sample(3).shape == (3, 2, 1, 1)
    assert (started.runs / "mine" / "drawn.csv").is_file()
    assert trained.run.metrics("start")[0]["command"].startswith(
        "the playground of ganforge studio: #/play?s="
    )


def test_a_link_opens_at_the_same_weights(started: Studio, page: Any) -> None:
    page.goto(started.link("#/play?loss=lsgan,wgan&data=moons&seed=3"))
    page.wait_for_selector(".stage[data-count='2'][data-frames]")
    page.click("button.play")
    wait_for_step(page, 10)
    page.keyboard.press("Space")
    page.wait_for_selector(".stage[data-state=paused]")
    page.keyboard.press("d")
    until(page, "location.hash.includes('s=')")
    time.sleep(1)
    expected, step, address = weights_of(started, page), step_of(page), page.evaluate("location.hash")
    page.goto(started.link("#/runs"))
    page.wait_for_selector("main .view h1:text('Runs')")
    page.goto(started.link(address))
    page.wait_for_selector(".stage[data-frames]")
    wait_for_step(page, step)
    page.wait_for_selector(".stage[data-state=paused]")
    assert step_of(page) == step
    assert weights_of(started, page) == expected
    assert [card.inner_text() for card in page.query_selector_all(".panel .name")] == [
        "1 Least squares",
        "2 WGAN",
    ]


def test_settings_by_keyboard_at_phone_width(started: Studio, page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(started.link("#/play"))
    page.wait_for_selector(".stage[data-frames]")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    slider = page.locator("input[type=range]").first
    slider.focus()
    before = page.input_value("input[type=range] >> nth=0")
    page.keyboard.press("ArrowRight")
    assert page.input_value("input[type=range] >> nth=0") != before
    page.select_option("#another", "wgan_gp")
    page.wait_for_selector(".stage[data-count='2']")
    page.keyboard.press("2")
    page.wait_for_selector(".panel.chosen .name:text('WGAN-GP')")
    page.click("[aria-label='Generator: one hidden layer more']")
    page.wait_for_selector("[aria-label='Generator: units of hidden layer 3']")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_setting_that_is_answered_late_changes_nothing_else(started: Studio, page: Any) -> None:
    page.goto(started.link("#/play"))
    page.wait_for_selector(".stage[data-frames]")
    fields: list[Any] = []
    opening: list[Any] = []
    page.route("**/fields", lambda route: fields.append(route))
    page.locator("input[type=range]").first.focus()
    with page.expect_request("**/fields"):
        page.keyboard.press("ArrowRight")
    page.route("**/api/play", lambda route: opening.append(route))
    with page.expect_request("**/api/play"):
        page.select_option("#another", "wgan_gp")
    fields[0].fulfill(json={"step": 0})  # before the panels that were requested after it are there
    page.wait_for_timeout(300)
    opening[0].continue_()
    page.wait_for_selector(".panel.chosen .name:text('WGAN-GP')")


@pytest.mark.parametrize("story", [story.name for story in STORIES])
def test_stories_play_side_by_side(started: Studio, page: Any, story: str) -> None:
    page.goto(started.link(f"#/play?story={story}"))
    page.wait_for_selector(".stage[data-count='2'][data-frames]")
    assert page.locator(".tale h2").all_inner_texts() == ["1 The failure", "2 The cure"]
    assert page.locator(".tale a").count() == 2
    page.click("button.play")
    wait_for_step(page, 5)
    page.click("[data-speed=slow]")
    page.click("button[data-story=free]")
    page.wait_for_selector(".stage[data-count='1']")
    page.wait_for_selector("#notice button:text('Undo')")
    page.click("#notice button:text('Undo')")
    page.wait_for_selector(".stage[data-count='2']")
    wait_for_step(page, 5)


def test_slow_motion_shows_each_update(started: Studio, page: Any) -> None:
    page.goto(started.link("#/play"))
    page.wait_for_selector(".stage[data-frames]")
    page.click("[data-speed=slow]")
    page.click("button.play")
    # Each is shown for a moment only: looked for at every frame of the browser.
    for shown in ("D was updated", "G was updated"):
        page.wait_for_function(
            "(text) => document.querySelector('.flow figcaption')?.textContent.includes(text)", arg=shown
        )


def test_endpoints_refuse_in_one_line_and_close(started: Studio) -> None:
    client = started.client
    assert client.post("/api/play", json={"data": "mnist"}).status_code == 422
    assert client.post("/api/play", json={"panels": [{"loss": "wgan"}] * 7}).status_code == 422
    assert client.post("/api/play", json={"panels": [{"loss": "nothing"}]}).status_code == 422
    opened = client.post("/api/play", json={"shared": QUICK}).json()
    key = opened["id"]
    moved = client.post(f"/api/play/{key}/step", json={"only": "generator", "count": 2}).json()
    assert moved["step"] == 2
    assert moved["settings"]["events"] == [{"at": 0, "only": "generator", "count": 2}]
    assert client.post(f"/api/play/{key}/step", json={"count": 101}).status_code == 422
    answer = client.post(f"/api/play/{key}/fields", json={"panel": 0, "fields": {"pack": 2}})
    assert answer.status_code == 422
    assert "restart" in answer.json()["error"]
    assert client.post(f"/api/play/{key}/save", json={"name": "../x"}).status_code == 422
    assert client.delete(f"/api/play/{key}").status_code == 200
    assert client.get(f"/api/play/{key}/state").status_code == 404
