"""A line search for the strong Wolfe conditions."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A step along the line: its length, and the function's value and slope there."""

    step: float
    value: float
    slope: float


def cubic_minimum(a: Point, b: Point) -> float:
    """Where the cubic through two values and slopes has its minimum; NaN if nowhere. Nocedal and Wright, eq. 3.59."""
    if a.step == b.step:
        return math.nan
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step)
    inside = d1 * d1 - a.slope * b.slope
    if not 0 <= inside < math.inf:
        return math.nan
    d2 = math.copysign(math.sqrt(inside), b.step - a.step)
    below = b.slope - a.slope + 2 * d2
    return b.step - (b.step - a.step) * (b.slope + d2 - d1) / below if below else math.nan


def _minimum(a: Point, b: Point, noise: float) -> float:
    """Where the function between two points has its minimum; by the slopes alone if noise hides which is lower."""
    if not abs(a.value - b.value) <= noise:  # or a value is not finite
        return cubic_minimum(a, b)
    bend = b.slope - a.slope
    convex = bend * (b.step - a.step) > 0
    return b.step - b.slope * (b.step - a.step) / bend if convex else math.nan


def _within(least: float, most: float, step: float) -> float:
    """The step, kept between two others, or their middle if it is no number."""
    return min(max(step, least), most) if math.isfinite(step) else (least + most) / 2


def strong_wolfe(
    evaluate: Callable[[float], Point | None],
    value: float,
    slope: float,
    first: float,
    *,
    decrease: float,
    curvature: float,
    noise: float = 0.0,
    most: int = 25,
) -> Point | None:
    """A step t with f(t) <= f(0) + decrease * t * f'(0) and |f'(t)| <= curvature * |f'(0)|, tried from ``first`` on.

    Nocedal and Wright 2006, algorithms 3.5 and 3.6, with cubic interpolation. A longer step is the cubic's minimum,
    kept from a hundredth of the last stretch beyond the last step up to 10 times that step; a step between two is kept
    a tenth of their distance from both. Where the cubic has no minimum, or a value is not finite, the middle of these
    bounds is taken. Values count as equal within ``noise``; between two of these, slopes say where the minimum is.

    Args:
        evaluate: f and f' at a step; None if the step is so short that nothing has moved.
        value, slope: f(0) and f'(0) < 0.
        most: evaluations.

    Returns: the step; after ``most`` evaluations, or where rounding ends the search, the lowest one that meets the
    first condition; None if none did, or if that one is not lower than the start by more than ``noise``. The last
    evaluation need not be that of the step returned.
    """
    start = low = previous = Point(0.0, value, slope)

    def too_high(point: Point, than: Point) -> bool:
        if not math.isfinite(point.value) or not math.isfinite(point.slope):
            return True
        bound = value + decrease * point.step * slope + noise
        return point.value > bound or (than is not start and point.value >= than.value + noise)

    # Algorithm 3.5: go on until a step is good or an interval must hold one.
    point, tries = evaluate(first) or Point(first, value, slope), 1
    while True:
        if too_high(point, previous):
            low, high = previous, point
            break
        if abs(point.slope) <= -curvature * slope:
            return point
        if point.slope >= 0:
            low, high = point, previous
            break
        if tries == most:
            return point
        least, farthest = point.step + 0.01 * (point.step - previous.step), 10 * point.step
        step = _within(least, farthest, _minimum(previous, point, noise))
        previous, point = point, evaluate(step) or Point(step, value, slope)
        tries += 1

    # Algorithm 3.6: narrow it; low is the best step that decreases f enough, and f falls from it towards high.
    while tries < most:
        near, far = sorted((low.step, high.step))
        margin = 0.1 * (far - near)
        step = _within(near + margin, far - margin, _minimum(low, high, noise))
        if not near < step < far:
            break
        found, tries = evaluate(step), tries + 1
        if found is None:
            break
        point = found
        if too_high(point, low):
            high = point
            continue
        if abs(point.slope) <= -curvature * slope:
            return point
        if point.slope * (high.step - low.step) >= 0:
            high = low
        low = point
    return None if low is start or value - low.value <= noise else low
