"""The stored frames and stories of the playground show what its page says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganforge.studio.playground.stories import STORIES

ROOT = Path(__file__).parents[2]
FILE = ROOT / "benchmarks" / "playground.json"
STORED = json.loads(FILE.read_text(encoding="utf-8"))


def rows(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(row["failure"], row["cure"]) for row in STORED["stories"][name]["seeds"]]


def test_every_story_was_measured_for_its_steps() -> None:
    assert {name: story["steps"] for name, story in STORED["stories"].items()} == {
        story.name: story.steps for story in STORIES
    }
    assert all(len(rows(story.name)) == 3 for story in STORIES)


def test_the_page_has_the_stored_table() -> None:
    words = [sys.executable, ROOT / "benchmarks" / "playground.py", "--table", "--out", FILE]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "playground.md").read_text(encoding="utf-8")
    assert page.partition("<!-- table -->\n")[2].partition("<!-- end -->")[0].strip() == done.stdout.strip()


def test_mode_collapse_is_a_small_cloud_and_the_cure_finds_modes() -> None:
    for failure, cure in rows("mode_collapse"):
        assert failure["spread"] < 0.3
        assert failure["most_found"] <= 2
        assert cure["spread"] > 0.9
        assert cure["most_found"] >= 7


def test_the_gradient_vanishes_with_a_sure_d_and_not_with_the_other_loss() -> None:
    for failure, cure in rows("vanishing_gradient"):
        assert failure["fake_probability"] < 0.01
        assert failure["gradient_norm"] < cure["gradient_norm"] / 300
        assert failure["found"] == 0
        assert cure["found"] >= 1


def test_the_mean_circles_with_momentum_and_rests_without() -> None:
    for failure, cure in rows("oscillation"):
        assert failure["mean_off"] > 0.2
        assert cure["mean_off"] < 0.25 * failure["mean_off"]


def test_a_strong_d_keeps_all_points_on_one_mode_and_noise_frees_them() -> None:
    for failure, cure in rows("strong_discriminator"):
        assert failure["found"] <= 2
        assert failure["on_a_mode_percent"] > 90
        assert failure["real_probability"] > 0.9
        assert failure["fake_probability"] < 0.1
        assert cure["found"] >= 8


@pytest.mark.parametrize(("panels", "least"), [("one", 20), ("six", 5)])
def test_two_cores_are_enough_for_the_updates_and_the_page_is_light(panels: str, least: float) -> None:
    """By CPU time, which the load of a shared machine hardly changes; the rates are stored with the load."""
    for measured in STORED["browser"][panels]["rounds"]:
        server, browser = measured["server_cpu_milliseconds"], measured["browser_cpu_milliseconds"]
        assert server < 1000 / least
        assert server + browser < 2000 / least
        assert measured["page_kilobytes"] < 700
        if measured["load_average"] < 3:
            assert measured["frames_per_second"] >= least
