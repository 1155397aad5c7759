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
    """Minimum of the cubic through two values and slopes; NaN if there is none. Nocedal and Wright, eq. 3.59."""
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
    """Estimate the minimum between two points; from the slopes alone if noise hides which value is lower."""
    if not abs(a.value - b.value) <= noise:  # or a value is not finite
        return cubic_minimum(a, b)
    bend = b.slope - a.slope
    convex = bend * (b.step - a.step) > 0
    return b.step - b.slope * (b.step - a.step) / bend if convex else math.nan


def _within(least: float, most: float, step: float) -> float:
    """Return the step, clipped to lie between two others; their middle if it is not finite."""
    return min(max(step, least), most) if math.isfinite(step) else (least + most) / 2


@dataclass
class _Search:
    """A search along a line: f and f', the start, the conditions, and the number of evaluations so far."""

    evaluate: Callable[[float], Point | None]
    start: Point
    decrease: float
    curvature: float
    noise: float
    most: int
    tries: int = 0

    def at(self, step: float) -> Point | None:
        self.tries += 1
        return self.evaluate(step)

    def is_too_high(self, point: Point, than: Point) -> bool:
        """Whether f has not decreased enough at a point, or not below another point."""
        if not math.isfinite(point.value) or not math.isfinite(point.slope):
            return True
        bound = self.start.value + self.decrease * point.step * self.start.slope + self.noise
        return point.value > bound or (than is not self.start and point.value >= than.value + self.noise)

    def is_flat(self, point: Point) -> bool:
        """Whether a point meets the condition on the slope."""
        return abs(point.slope) <= -self.curvature * self.start.slope

    def bracket(self, first: float) -> tuple[Point, Point | None]:
        """Algorithm 3.5: take longer steps until one is good or an interval must contain a good one.

        Returns:
            (low, high): ends of the interval, or a step and None if the search ends with this step.
        """
        value, slope = self.start.value, self.start.slope
        previous, point = self.start, self.at(first) or Point(first, value, slope)
        while True:
            if self.is_too_high(point, previous):
                return previous, point
            if self.is_flat(point):
                return point, None
            if point.slope >= 0:
                return point, previous
            if self.tries == self.most:
                return point, None
            least, farthest = point.step + 0.01 * (point.step - previous.step), 10 * point.step
            step = _within(least, farthest, _minimum(previous, point, self.noise))
            previous, point = point, self.at(step) or Point(step, value, slope)

    def zoom(self, low: Point, high: Point) -> Point | None:
        """Algorithm 3.6: narrow an interval.

        ``low`` is the best step with enough decrease, and f falls from it towards ``high``.
        """
        while self.tries < self.most:
            near, far = sorted((low.step, high.step))
            margin = 0.1 * (far - near)
            step = _within(near + margin, far - margin, _minimum(low, high, self.noise))
            if not near < step < far:
                break
            point = self.at(step)
            if point is None:
                break
            if self.is_too_high(point, low):
                high = point
                continue
            if self.is_flat(point):
                return point
            if point.slope * (high.step - low.step) >= 0:
                high = low
            low = point
        return None if low is self.start or self.start.value - low.value <= self.noise else low


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
    """Find a step t with f(t) <= f(0) + decrease * t * f'(0) and |f'(t)| <= curvature * |f'(0)|.

    Nocedal and Wright 2006, algorithms 3.5 and 3.6, with cubic interpolation. A longer step is the minimum of the
    cubic, at least a hundredth of the last stretch beyond the last step and at most 10 times that step. A step between
    two others is at least a tenth of their distance from both. If the cubic has no minimum, or a value is not finite,
    the middle of these bounds is taken. Values count as equal within ``noise``; between two equal values, the slopes
    decide where the minimum is.

    Args:
        evaluate: returns f and f' at a step, or None if the step is so short that no parameter changed.
        value, slope: f(0) and f'(0) < 0.
        first: the first step to try.
        decrease, curvature: constants of the two conditions.
        noise: difference within which values count as equal.
        most: largest number of evaluations.

    Returns:
        The step. After ``most`` evaluations, or if rounding ends the search, the lowest step that meets the first
        condition; None if there is none, or if it is not lower than the start by more than ``noise``. The last
        evaluation need not be at the step that is returned.
    """
    search = _Search(evaluate, Point(0.0, value, slope), decrease, curvature, noise, most)
    low, high = search.bracket(first)
    return low if high is None else search.zoom(low, high)
