"""Curves over training steps, as the data that the page's script draws with uPlot."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

MOST_POINTS = 1000  # of one curve: more are invisible and make a page heavy
SMOOTH_FROM = 100  # points: shorter curves are drawn as logged
DIGITS = 6  # significant ones of a value

ROLES = {
    "D(real)": "real",
    "real images": "real",
    "D(fake)": "generated",
    "samples": "generated",
    "generator": "generator",
    "discriminator": "discriminator",
    "critic": "discriminator",
}
"""Names of curves whose colour is the same in every chart; `real` and `generated` as in scatter plots."""
NUM_COLOURS = 6  # besides those of the roles

Points = list[tuple[int, float]]


def chart_of(
    title: str,
    curves: Mapping[str, Points],
    colours: Mapping[str, str],
    fixed: tuple[float, float] | None = None,
    rule: float | None = None,
    marks: Iterable[int] = (),
) -> dict[str, Any]:
    """What a template and the script need of a chart.

    `curves`: name -> `(step, value)`, at least one, in order of steps, finite. `colours`: of each name, as of
    `colours_of`. `fixed`: the value axis, else chosen so that outliers do not flatten the rest. `rule`: a
    dashed horizontal line. `marks`: dotted vertical lines. `data` holds the steps, then of each curve its
    values at these steps, and the moving averages of long ones.
    """
    low, high = fixed or _range([value for points in curves.values() for _, value in points])
    lines: list[tuple[str, bool, Points]] = []
    for name, points in curves.items():
        smooth = _smooth(points)
        thin = _thin(points)
        lines.append((name, smooth is not None, thin))
        if smooth is not None:
            by_step = dict(smooth)
            lines.append((name, False, [(step, by_step[step]) for step, _ in thin]))
    steps = sorted({step for _, _, points in lines for step, _ in points})
    return {
        "title": title,
        "legend": [
            {"name": name, "colour": colours[name], "newest": points[-1][1]}
            for name, points in curves.items()
        ],
        "beyond": sum(not low <= value <= high for points in curves.values() for _, value in points),
        "data": {
            "steps": steps,
            "lines": [
                {"curve": list(curves).index(name), "faint": faint, "values": _aligned(points, steps)}
                for name, faint, points in lines
            ],
            "range": [low, high],
            "rule": rule,
            "marks": sorted(set(marks)),
        },
    }


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, the same wherever on a page it stands: that of its role, else the next free."""
    free = itertools.cycle(f"c{index}" for index in range(NUM_COLOURS))
    return {name: ROLES.get(name) or next(free) for name in dict.fromkeys(names)}


def _aligned(points: Points, steps: list[int]) -> list[float | None]:
    by_step = dict(points)
    return [float(f"{by_step[step]:.{DIGITS}g}") if step in by_step else None for step in steps]


def _range(values: list[float]) -> tuple[float, float]:
    """The axis: all values, except that one per cent of outliers must not flatten the curve."""
    ordered = sorted(values)
    tail = len(ordered) // 100
    near, far = ordered[tail], ordered[-1 - tail]
    low, high = max(ordered[0], near - (far - near)), min(ordered[-1], far + (far - near))
    if 0 <= low < high / 4:
        low = 0.0
    margin = (high - low) * 0.04 or abs(high) * 0.05 or 1.0
    return (low if low == 0.0 else low - margin), high + margin


def _smooth(points: Points) -> Points | None:
    """The moving average over a fortieth of the curve; None for short curves."""
    if len(points) < SMOOTH_FROM:
        return None
    half = len(points) // 80
    sums = list(itertools.accumulate((value for _, value in points), initial=0.0))
    smooth = []
    for index, (step, _) in enumerate(points):
        left, right = max(0, index - half), min(len(points), index + half + 1)
        smooth.append((step, (sums[right] - sums[left]) / (right - left)))
    return smooth


def _thin(points: Points) -> Points:
    """At most 1000 points: the lowest and highest of each stretch, so that spikes stay."""
    if len(points) <= MOST_POINTS:
        return points
    edges = [len(points) * index // (MOST_POINTS // 2) for index in range(MOST_POINTS // 2 + 1)]
    kept: Points = []
    for left, right in itertools.pairwise(edges):
        stretch = sorted(points[left:right], key=lambda point: point[1])
        kept += sorted({stretch[0], stretch[-1]})
    return kept
