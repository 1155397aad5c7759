"""Bad arguments of schedules."""

import math
import re

import pytest

from minnet.schedules import (
    Constant,
    Cosine,
    Cyclical,
    Exponential,
    ExpRange,
    InverseSqrt,
    InverseTime,
    Join,
    Linear,
    Mirrored,
    Noam,
    Offset,
    OneCycle,
    Piecewise,
    PiecewiseLinear,
    Polynomial,
    Product,
    Repeat,
    Scaled,
    Staircase,
    Step,
    Sum,
    Trapezoid,
    Triangular,
    Triangular2,
    WarmRestarts,
    Warmup,
)

# Bad arguments -----------------------------------------------------------------------------------------------------

OK = Constant(0.1)
BAD = [
    (lambda: Constant(-0.1), "Constant: expected value of at least 0; got -0.1"),
    (lambda: Constant(math.nan), "Constant: expected value to be finite; got nan"),
    (lambda: Constant(math.inf), "Constant: expected value to be finite; got inf"),
    (lambda: Constant("0.1"), "Constant: expected value to be a number; got '0.1'"),
    (lambda: Constant(None), "Constant: expected value to be a number; got None"),
    (lambda: Step(-1.0, 10), "Step: expected start of at least 0; got -1.0"),
    (lambda: Step(0.1, 0), "Step: expected every above 0; got 0"),
    (lambda: Piecewise([10], [0.1]), "Piecewise: expected one more value than boundaries; got 1 and 1"),
    (lambda: Piecewise([10, 10], [1, 2, 3]), "Piecewise: expected increasing boundaries; got (10, 10)"),
    (lambda: Piecewise([20, 10], [1, 2, 3]), "Piecewise: expected increasing boundaries; got (20, 10)"),
    (lambda: Piecewise([0], [1, 2]), "Piecewise: expected each boundary above 0; got 0"),
    (lambda: Piecewise([10], [1, -2]), "Piecewise: expected each value of at least 0; got -2"),
    (lambda: Exponential(0.1, -0.1), "Exponential: expected rate of at least 0; got -0.1"),
    (lambda: InverseTime(0.1, -0.1), "InverseTime: expected rate of at least 0; got -0.1"),
    (lambda: InverseTime(-0.1, 0.1), "InverseTime: expected start of at least 0; got -0.1"),
    (lambda: Linear(-0.1, 0.1, 5), "Linear: expected start of at least 0; got -0.1"),
    (lambda: Linear(0.1, -0.1, 5), "Linear: expected end of at least 0; got -0.1"),
    (lambda: Linear(0.1, 0.0, 0), "Linear: expected steps above 0; got 0"),
    (lambda: Polynomial(0.1, 0.0, -5), "Polynomial: expected steps above 0; got -5"),
    (lambda: Polynomial(0.1, 0.0, 5, 0.0), "Polynomial: expected power above 0; got 0.0"),
    (lambda: Cosine(0.1, 0), "Cosine: expected steps above 0; got 0"),
    (lambda: Cosine(0.1, 5, 0.2), "Cosine: expected floor of at most start; got 0.2 and 0.1"),
    (lambda: Cosine(0.1, 5, -0.2), "Cosine: expected floor of at least 0; got -0.2"),
    (lambda: WarmRestarts(0.1, 0), "WarmRestarts: expected period above 0; got 0"),
    (lambda: WarmRestarts(0.1, 5, lengthen=0.5), "WarmRestarts: expected lengthen of at least 1; got 0.5"),
    (lambda: WarmRestarts(0.1, 5, floor=0.2), "WarmRestarts: expected floor of at most start; got 0.2 and 0.1"),
    (lambda: Triangular(0.2, 0.1, 5), "Triangular: expected low of at most high; got 0.2 and 0.1"),
    (lambda: Triangular2(0.1, 0.2, 0), "Triangular2: expected half_cycle above 0; got 0"),
    (lambda: ExpRange(-0.1, 0.2, 5), "ExpRange: expected low of at least 0; got -0.1"),
    (lambda: ExpRange(0.1, 0.2, 5, 1.1), "ExpRange: expected 0 < gamma <= 1; got 1.1"),
    (lambda: ExpRange(0.1, 0.2, 5, 0.0), "ExpRange: expected 0 < gamma <= 1; got 0.0"),
    (lambda: Warmup(-1, OK), "Warmup: expected steps of at least 0; got -1"),
    (lambda: Warmup(5, 0.1), "Warmup: expected a schedule; got 0.1"),
    (lambda: Join([]), "Join: expected at least one schedule; got none"),
    (lambda: Join([OK, OK]), "Join: expected (schedule, steps) for all but the last part; got Constant(value=0.1)"),
    (lambda: Join([(0.1, 5), OK]), "Join: expected a schedule; got 0.1"),
    (lambda: Join([(OK, 0), OK]), "Join: expected steps of each part above 0; got 0"),
    (lambda: Join([(OK, -5), OK]), "Join: expected steps of each part above 0; got -5"),
    (lambda: Join([(OK, math.inf), OK]), "Join: expected steps of each part to be finite; got inf"),
    (lambda: Piecewise(10, [1, 2]), "Piecewise: expected boundaries as a list of numbers; got 10"),
    (lambda: Piecewise([10], "12"), "Piecewise: expected values as a list of numbers; got '12'"),
    (lambda: Join(3), "Join: expected a list of schedules; got 3"),
    (
        lambda: PiecewiseLinear([1, 2], [1.0]),
        "PiecewiseLinear: expected at least one time and as many values; got 2 times and 1 values",
    ),
    (
        lambda: PiecewiseLinear([], []),
        "PiecewiseLinear: expected at least one time and as many values; got 0 times and 0 values",
    ),
    (lambda: PiecewiseLinear([2, 1], [1, 2]), "PiecewiseLinear: expected increasing times; got (2, 1)"),
    (lambda: PiecewiseLinear([-1], [1]), "PiecewiseLinear: expected each time of at least 0; got -1"),
    (lambda: PiecewiseLinear([1], [math.nan]), "PiecewiseLinear: expected each value to be finite; got nan"),
    (lambda: InverseSqrt(-1.0, 4), "InverseSqrt: expected peak of at least 0; got -1.0"),
    (lambda: InverseSqrt(1.0, 0), "InverseSqrt: expected warmup above 0; got 0"),
    (lambda: Noam(0), "Noam: expected width above 0; got 0"),
    (lambda: Noam(512, -1), "Noam: expected warmup of at least 0; got -1"),
    (lambda: Noam(512, factor=-1.0), "Noam: expected factor above 0; got -1.0"),
    (lambda: OneCycle(-0.1, 10), "OneCycle: expected peak of at least 0; got -0.1"),
    (lambda: OneCycle(0.1, 0), "OneCycle: expected steps above 0; got 0"),
    (lambda: OneCycle(0.1, 10, rise=1.0), "OneCycle: expected 0 <= rise < 1; got 1.0"),
    (lambda: OneCycle(0.1, 10, div=0.5), "OneCycle: expected div of at least 1; got 0.5"),
    (lambda: OneCycle(0.1, 10, final_div=0), "OneCycle: expected final_div of at least 1; got 0"),
    (lambda: OneCycle(0.1, 10, final_div=24), "OneCycle: expected final_div of at least div; got 24 and 25.0"),
    (lambda: OneCycle(0.1, 10, phases=4), "OneCycle: expected 2 or 3 phases; got 4"),
    (
        lambda: OneCycle(0.1, 10, rise=0.6, phases=3),
        "OneCycle: expected rise of at most one half with 3 phases; got 0.6",
    ),
    (
        lambda: OneCycle(0.1, 10, shape="cos"),
        "OneCycle: expected shape to be one of 'linear', 'cosine', '1-sqrt'; got 'cos'",
    ),
    (lambda: OneCycle(0.1, 10).mirrored(0.95, 0.85), "Mirrored: expected low of at most high; got 0.95 and 0.85"),
    (
        lambda: Mirrored(OK, 0.1, 0.2),
        "Mirrored: expected a schedule that knows its height; got Constant(value=0.1)",
    ),
    (lambda: Trapezoid(0.1, -1, 2, 3), "Trapezoid: expected warmup of at least 0; got -1"),
    (lambda: Trapezoid(0.1, 1, -2, 3), "Trapezoid: expected stable of at least 0; got -2"),
    (lambda: Trapezoid(0.1, 1, 2, 0), "Trapezoid: expected decay above 0; got 0"),
    (lambda: Trapezoid(0.1, 1, 2, 3, 0.2), "Trapezoid: expected floor of at most peak; got 0.2 and 0.1"),
    (
        lambda: Trapezoid(0.1, 1, 2, 3, shape=None),
        "Trapezoid: expected shape to be one of 'linear', 'cosine', '1-sqrt'; got None",
    ),
    (lambda: Cyclical(0.1, 0.2, 5, 0.5), "Cyclical: expected scale to be a function; got 0.5"),
    (lambda: Cyclical(0.1, 0.2, 5, abs, "step"), "Cyclical: expected by to be 'cycle' or 'iteration'; got 'step'"),
    (lambda: Cyclical(0.1, 0.2, 0, abs), "Cyclical: expected half_cycle above 0; got 0"),
    (lambda: Repeat(0.1), "Repeat: expected a schedule; got 0.1"),
    (
        lambda: Repeat(OK),
        "Repeat: expected steps for a schedule without a length of its own; got Constant(value=0.1)",
    ),
    (lambda: Repeat(OK, 0), "Repeat: expected steps above 0; got 0"),
    (lambda: Repeat(OK, math.inf), "Repeat: expected steps to be finite; got inf"),
    (lambda: Repeat(OK, 5, 0), "Repeat: expected times of at least 1; got 0"),
    (lambda: Repeat(OK, 5, 1.5), "Repeat: expected times to be a whole number; got 1.5"),
    (lambda: OK.offset(math.nan), "Offset: expected steps to be finite; got nan"),
    (lambda: Offset(0.1, 5), "Offset: expected a schedule; got 0.1"),
    (lambda: OK + -0.1, "Constant: expected value of at least 0; got -0.1"),
    (lambda: OK + "1", "Constant: expected value to be a number; got '1'"),
    (lambda: Product(OK, 0.1), "Product: expected a schedule; got 0.1"),
    (lambda: Sum(0.1, OK), "Sum: expected a schedule; got 0.1"),
    (lambda: OK.staircase(0), "Staircase: expected every above 0; got 0"),
    (lambda: Staircase(0.1, 5), "Staircase: expected a schedule; got 0.1"),
    (lambda: OK * -1, "Scaled: expected factor of at least 0; got -1"),
    (lambda: OK * "2", "Scaled: expected factor to be a number; got '2'"),
    (lambda: Scaled(0.1, 2), "Scaled: expected a schedule; got 0.1"),
]


@pytest.mark.parametrize(("build", "said"), BAD, ids=[said for _, said in BAD])
def test_constructor_says_who_what_and_which_value_it_refuses(build, said):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(said)}$"):
        build()


@pytest.mark.parametrize("factor", [-0.5, 0.0, 1.1, math.nan])
def test_factors_that_vanish_or_grow_without_bound_are_refused(factor):
    # Above 1 a rate would overflow at some step, and a schedule has a finite rate for every step.
    with pytest.raises(ValueError, match=rf"^Step: expected .*\bfactor\b.*; got {factor}$"):
        Step(0.1, 10, factor)
    with pytest.raises(ValueError, match=rf"^WarmRestarts: expected .*\bdecay\b.*; got {factor}$"):
        WarmRestarts(0.1, 10, decay=factor)
