import math

import pytest

from ganforge.reporting import charts


def test_curves_keep_spikes_when_they_are_thinned() -> None:
    curve = [(step, 0.5) for step in range(50_000)]
    curve[31_234] = (31_234, 0.9)
    thinned = charts._thin(curve)
    assert len(thinned) <= charts.MOST_POINTS
    assert (31_234, 0.9) in thinned
    assert thinned == sorted(thinned)


def test_an_outlier_does_not_flatten_a_curve_and_is_counted() -> None:
    curve = [(step, math.sin(step / 20)) for step in range(1000)]
    _, beyond = charts.curves_svg({"a": curve}, "a")
    assert beyond == 0
    curve[3] = (3, 1e6)
    svg, beyond = charts.curves_svg({"a": curve}, "a")
    assert beyond == 1
    heights = [float(place.split(",")[1]) for place in svg.split('points="')[1].split('"')[0].split()]
    assert max(heights) - min(heights) > 0.9 * (charts.CHART_HEIGHT - 36)
    assert min(heights) >= charts.MARGIN_TOP


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-3.0, -3.0], [1e-9, 2e-9], [1e12, 3e12], [0.0] * 500])
def test_any_finite_curve_can_be_drawn(values: list[float]) -> None:
    svg, beyond = charts.curves_svg({"a": list(enumerate(values))}, '<"&', rule=0.5, marks=[0, 1, 99])
    assert "nan" not in svg
    assert beyond == 0
    assert 'aria-label="&lt;&quot;&amp;"' in svg
    assert svg.count("<text") >= 2
