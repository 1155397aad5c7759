"""The line search for the strong Wolfe conditions."""

import math

import numpy as np
import pytest

from minnet.optim.rules.line_search import Point, cubic_minimum, strong_wolfe

# The line search ---------------------------------------------------------------------------------------------

# More and Thuente 1994, equations 5.1 to 5.4, with the constants of their tables.
LINES = {
    "5.1": (lambda a: -a / (a * a + 2), 1e-3, 1e-1),
    "5.2": (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, 1e-1, 1e-1),
    "quartic": (lambda a: (a - 3) ** 4 - a, 1e-4, 0.9),
    "wave": (lambda a: 0.05 * a * a - np.sin(a), 1e-4, 0.1),
}


@pytest.mark.parametrize("first", [1e-3, 1e-1, 1.0, 1e1, 1e3])
@pytest.mark.parametrize(("function", "decrease", "curvature"), LINES.values(), ids=LINES)
def test_the_line_search_ends_at_a_strong_wolfe_point(function, decrease, curvature, first):
    seen = []

    def evaluate(step):
        h = 1e-5 * max(step, 1e-2)
        slope = (8 * (function(step + h) - function(step - h)) - function(step + 2 * h) + function(step - 2 * h)) / (
            12 * h
        )
        seen.append(step)
        return Point(step, function(step), slope)

    start = evaluate(0.0)
    # In 5.2 the slope at 0 is so small that the values near the minimum, -2.6, differ by their rounding alone.
    found = strong_wolfe(
        evaluate, start.value, start.slope, first, decrease=decrease, curvature=curvature, noise=1e-14, most=40
    )
    assert found.value <= start.value + decrease * found.step * start.slope + 1e-14
    assert abs(found.slope) <= curvature * abs(start.slope)
    assert found.step == seen[-1]
    assert len(seen) <= 21
    assert seen[1] == first


def test_a_search_ends_after_as_many_evaluations_as_it_may():
    for most in (1, 2, 7):
        seen = []

        def fall(step, seen=seen):
            seen.append(step)
            return Point(step, -step, -1.0)  # for ever

        found = strong_wolfe(fall, 0.0, -1.0, 1.0, decrease=1e-4, curvature=0.9, most=most)
        assert found.step == seen[-1]
        assert len(seen) == most
        seen.clear()

        def rise(step, seen=seen):
            seen.append(step)
            return Point(step, step, 1.0)

        assert strong_wolfe(rise, 0.0, -1.0, 1.0, decrease=1e-4, curvature=0.9, most=most) is None
        assert len(seen) == most


def test_the_cubics_minimum_is_that_of_the_cubic():
    rng = np.random.default_rng(0)
    for _ in range(50):
        cubic = np.polynomial.Polynomial(rng.standard_normal(4))
        minima = [r.real for r in cubic.deriv().roots() if abs(r.imag) < 1e-12 and cubic.deriv(2)(r.real) > 0]
        a, b = (Point(step, cubic(step), cubic.deriv()(step)) for step in rng.standard_normal(2))
        for found in (cubic_minimum(a, b), cubic_minimum(b, a)):
            if minima:
                assert found == pytest.approx(minima[0], rel=1e-6, abs=1e-6)
            else:
                assert math.isnan(found)
