"""Curves over training steps as inline SVG."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from html import escape

CHART_WIDTH, CHART_HEIGHT = 480, 240
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 46, 20, 10, 26
NUM_COLOURS = 8
MOST_POINTS = 1000  # of one curve: more are invisible and make a page heavy
SMOOTH_FROM = 100  # points: shorter curves are drawn as logged

Points = list[tuple[int, float]]


def curves_svg(
    curves: Mapping[str, Points],
    label: str,
    fixed: tuple[float, float] | None = None,
    rule: float | None = None,
    marks: Iterable[int] = (),
) -> tuple[str, int]:
    """An inline SVG of curves over steps, and how many points lie beyond its axis.

    `curves`: name -> `(step, value)`, at least one, in order of steps, finite. `fixed`: the value axis, else
    chosen so that outliers do not flatten the rest. `rule`: a dashed horizontal line. `marks`: dotted
    vertical lines. Colours come from the page's style sheet (classes `s0` to `s7`), so that they follow light
    and dark.
    """
    low, high = fixed or _range([value for points in curves.values() for _, value in points])
    steps = [step for points in curves.values() for step, _ in points]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    right, floor = CHART_WIDTH - MARGIN_RIGHT, CHART_HEIGHT - MARGIN_BOTTOM

    def x(step: float) -> float:
        return MARGIN_LEFT + (step - first) / (last - first) * (right - MARGIN_LEFT)

    def y(value: float) -> float:
        return floor - (min(max(value, low), high) - low) / (high - low) * (floor - MARGIN_TOP)

    parts = []
    for tick in _ticks(low, high, 5):
        parts.append(_line("grid", MARGIN_LEFT, y(tick), right, y(tick)))
        parts.append(f'<text class="y" x="{MARGIN_LEFT - 7}" y="{y(tick) + 4:.1f}">{_short(tick)}</text>')
    for tick in _ticks(first, last, 6):
        parts.append(f'<text x="{x(tick):.1f}" y="{floor + 18}">{_short(tick)}</text>')
    parts.append(_line("axis", MARGIN_LEFT, floor, right, floor))
    parts += [_line("mark", x(m), MARGIN_TOP, x(m), floor) for m in sorted(set(marks)) if first < m < last]
    if rule is not None:
        parts.append(_line("rule", MARGIN_LEFT, y(rule), right, y(rule)))
    for index, points in enumerate(curves.values()):
        smooth = _smooth(points)
        for layer, line in [("", points)] if smooth is None else [(" raw", points), ("", smooth)]:
            places = [f"{x(step):.1f},{y(value):.1f}" for step, value in _thin(line)]
            places += places if len(places) == 1 else []  # a dot, by the round line cap
            parts.append(f'<polyline class="s{index % NUM_COLOURS}{layer}" points="{" ".join(places)}"/>')
    head = f'<svg viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" role="img" aria-label="{escape(label)}">'
    beyond = sum(not low <= value <= high for points in curves.values() for _, value in points)
    return f"{head}{''.join(parts)}</svg>", beyond


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


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


def _ticks(low: float, high: float, most: int) -> Iterator[float]:
    """Round numbers in [low, high], at most about `most`."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    spacing = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    for index in range(math.ceil(low / spacing), math.floor(high / spacing + 1e-9) + 1):
        yield index * spacing


def _short(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):.6g}{suffix}"
    return f"{value:.6g}"


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
