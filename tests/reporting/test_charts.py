import math
import re
from pathlib import Path

import pytest

import ganforge
from ganforge.reporting import charts
from ganforge.reporting.grids import REFERENCE_COLOUR, SAMPLE_COLOUR


def test_curves_keep_spikes_when_they_are_thinned() -> None:
    curve = [(step, 0.5) for step in range(50_000)]
    curve[31_234] = (31_234, 0.9)
    thinned = charts._thin(curve)
    assert len(thinned) <= charts.MOST_POINTS
    assert (31_234, 0.9) in thinned
    assert thinned == sorted(thinned)


def test_an_outlier_does_not_flatten_a_curve_and_is_counted() -> None:
    curve = [(step, math.sin(step / 20)) for step in range(1000)]
    chart = charts.chart_of("a", {"a": curve}, {"a": "c0"})
    assert chart["beyond"] == 0
    before = chart["data"]["range"]
    curve[3] = (3, 1e6)
    chart = charts.chart_of("a", {"a": curve}, {"a": "c0"})
    assert chart["beyond"] == 1
    low, high = chart["data"]["range"]
    assert low == pytest.approx(before[0], abs=0.1)
    assert high < 4


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-3.0, -3.0], [1e-9, 2e-9], [1e12, 3e12], [0.0] * 500])
def test_any_finite_curve_can_be_drawn(values: list[float]) -> None:
    chart = charts.chart_of("a", {"a": list(enumerate(values))}, {"a": "c0"}, rule=0.5, marks=[1, 0, 1])
    data = chart["data"]
    low, high = data["range"]
    assert low < high
    assert chart["beyond"] == 0
    assert data["marks"] == [0, 1]
    assert data["steps"] == list(range(len(values)))
    assert [line["faint"] for line in data["lines"]] == ([True, False] if len(values) >= 100 else [False])
    for line in data["lines"]:
        assert line["values"] == pytest.approx(values)


def test_curves_of_different_steps_share_one_axis() -> None:
    chart = charts.chart_of("a", {"a": [(1, 0.1), (3, 0.3)], "b": [(2, 2.0)]}, {"a": "c0", "b": "c1"})
    assert chart["data"]["steps"] == [1, 2, 3]
    assert [line["values"] for line in chart["data"]["lines"]] == [[0.1, None, 0.3], [None, 2.0, None]]
    assert [line["curve"] for line in chart["data"]["lines"]] == [0, 1]


def test_a_colour_has_one_meaning() -> None:
    """Real and generated are coloured alike in all charts and in scatter plots; every name has one colour."""
    names = ["generator", "D(real)", "D(fake)", "samples", "real images", "encoder", "decoder", "encoder"]
    colours = charts.colours_of(names)
    assert colours["D(real)"] == colours["real images"] == "real"
    assert colours["D(fake)"] == colours["samples"] == "generated"
    assert colours["generator"] == "generator"
    assert (colours["encoder"], colours["decoder"]) == ("c0", "c1")
    style = (Path(ganforge.__file__).parent / "reporting/style.css").read_text("utf-8")
    light = style.partition("@media")[0]
    assert re.search(rf"--real: {REFERENCE_COLOUR};", light)
    assert re.search(rf"--generated: {SAMPLE_COLOUR};", light)
    for colour in set(charts.ROLES.values()) | {f"c{index}" for index in range(charts.NUM_COLOURS)}:
        assert style.count(f"--{colour}:") == 2  # light and dark
        assert f'[data-colour="{colour}"]' in style
