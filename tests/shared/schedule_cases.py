"""Schedules with tables of values worked out by hand."""

import math

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
    Noam,
    OneCycle,
    Piecewise,
    PiecewiseLinear,
    Polynomial,
    Repeat,
    Step,
    Trapezoid,
    Triangular,
    Triangular2,
    WarmRestarts,
    Warmup,
)

LATE = 10**9
ROOT = math.sqrt(0.5)  # cos(pi / 4)

# (schedule, {step: rate}): the first step, boundaries and both their neighbours, the end and far beyond it.
TABLES = {
    "constant": (Constant(0.1), {0: 0.1, 1: 0.1, LATE: 0.1}),
    "step": (Step(0.8, 10, 0.1), {0: 0.8, 9: 0.8, 10: 0.08, 11: 0.08, 19: 0.08, 20: 0.008, 30: 0.0008}),
    "step, halving": (Step(1.0, 7), {6: 1.0, 7: 0.5, 13: 0.5, 14: 0.25, 70: 1 / 1024, LATE: 0.0}),
    "step between steps": (Step(1.0, 2.5), {0: 1.0, 2: 1.0, 3: 0.5, 4: 0.5, 5: 0.25, 7: 0.25, 8: 0.125}),
    "piecewise": (
        Piecewise([10, 25], [0.1, 0.01, 0.5]),
        {0: 0.1, 9: 0.1, 10: 0.01, 11: 0.01, 24: 0.01, 25: 0.5, LATE: 0.5},
    ),
    "piecewise in one piece": (Piecewise([], [0.3]), {0: 0.3, LATE: 0.3}),
    "exponential": (
        Exponential(0.1, 0.05),
        {0: 0.1, 1: 0.0951229424500714, 20: 0.036787944117144235, 200: 4.5399929762484854e-06, LATE: 0.0},
    ),
    "inverse time": (InverseTime(0.1, 0.01), {0: 0.1, 1: 0.1 / 1.01, 100: 0.05, 900: 0.01, 99_900: 0.0001}),
    "linear down": (Linear(0.1, 0.02, 8), {0: 0.1, 1: 0.09, 4: 0.06, 7: 0.03, 8: 0.02, 9: 0.02, LATE: 0.02}),
    "linear up": (Linear(0.0, 0.4, 4), {0: 0.0, 1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.4, LATE: 0.4}),
    "square": (
        Polynomial(0.1, 0.02, 10, power=2),
        {0: 0.1, 1: 0.02 + 0.08 * 0.81, 5: 0.04, 9: 0.0208, 10: 0.02, 11: 0.02, LATE: 0.02},
    ),
    "square root": (Polynomial(0.3, 0.0, 9, power=0.5), {0: 0.3, 5: 0.2, 8: 0.1, 9: 0.0, LATE: 0.0}),
    "cosine": (
        Cosine(0.1, 6),
        {0: 0.1, 1: 0.09330127018922194, 2: 0.075, 3: 0.05, 4: 0.025, 5: 0.00669872981077807, 6: 0.0, LATE: 0.0},
    ),
    "cosine to a floor": (Cosine(0.1, 6, floor=0.02), {0: 0.1, 2: 0.08, 3: 0.06, 4: 0.04, 6: 0.02, 7: 0.02}),
    "warm restarts": (
        WarmRestarts(1.0, 4),
        {0: 1.0, 1: (1 + ROOT) / 2, 2: 0.5, 3: (1 - ROOT) / 2, 4: 1.0, 6: 0.5, 8: 1.0, 4 * LATE + 2: 0.5},
    ),
    # Cycles of 4, 8, 16 steps; the tops stand 0.8, 0.4, 0.2, 0.1 above the floor.
    "warm restarts, longer and lower": (
        WarmRestarts(1.0, 4, lengthen=2, decay=0.5, floor=0.2),
        {
            0: 1.0,
            2: 0.6,
            3: 0.2 + 0.4 * (1 - ROOT),
            4: 0.6,
            8: 0.4,
            10: 0.2 + 0.2 * (1 - ROOT),
            12: 0.4,
            20: 0.3,
            28: 0.3,
        },
    ),
    "triangular": (
        Triangular(0.1, 0.7, 3),
        {0: 0.1, 1: 0.3, 2: 0.5, 3: 0.7, 4: 0.5, 5: 0.3, 6: 0.1, 7: 0.3, 9: 0.7, 12: 0.1, 6 * LATE + 3: 0.7},
    ),
    "triangular2": (
        Triangular2(0.1, 0.7, 3),
        {0: 0.1, 1: 0.3, 3: 0.7, 5: 0.3, 6: 0.1, 7: 0.2, 9: 0.4, 12: 0.1, 15: 0.25, 18: 0.1, LATE: 0.1},
    ),
    "exp range": (
        ExpRange(0.1, 0.7, 3, gamma=0.5),
        {0: 0.1, 1: 0.1 + 0.2 / 2, 2: 0.1 + 0.4 / 4, 3: 0.1 + 0.6 / 8, 4: 0.1 + 0.4 / 16, 6: 0.1, 9: 0.1 + 0.6 / 512},
    ),
    "warm-up": (Warmup(4, Constant(0.1)), {0: 0.02, 1: 0.04, 2: 0.06, 3: 0.08, 4: 0.1, 5: 0.1, LATE: 0.1}),
    "warm-up to a cosine": (
        Warmup(4, Cosine(0.1, 6)),
        {0: 0.02, 3: 0.08, 4: 0.1, 5: 0.09330127018922194, 7: 0.05, 10: 0.0},
    ),
    "no warm-up": (Warmup(0, Cosine(0.1, 6)), {0: 0.1, 2: 0.075, 6: 0.0, 7: 0.0}),
    "warm-up of an increase": (
        Warmup(3, Linear(0.4, 1.0, 3)),
        {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.6, 6: 1.0, 7: 1.0},
    ),
    "join": (
        Join([(Constant(0.1), 3), (Linear(0.2, 0.0, 4), 2), Cosine(0.4, 4)]),
        {0: 0.1, 2: 0.1, 3: 0.2, 4: 0.15, 5: 0.4, 7: 0.2, 9: 0.0, LATE: 0.0},
    ),
    "join whose last part has a length": (
        Join([(Constant(0.1), 3), (Linear(0.5, 0.1, 4), 2)]),
        {2: 0.1, 3: 0.5, 4: 0.4, 5: 0.3, 6: 0.2, 7: 0.1, LATE: 0.1},
    ),
    "join of one": (Join([Step(1.0, 3)]), {0: 1.0, 2: 1.0, 3: 0.5, 6: 0.25}),
    "scaled": (0.5 * Linear(0.1, 0.02, 8), {0: 0.05, 4: 0.03, 8: 0.01, 9: 0.01}),
    "scaled twice": (Step(0.8, 2) * 0.5 * 0.5, {0: 0.2, 1: 0.2, 2: 0.1, 4: 0.05}),
    "scaled to nothing": (0 * Constant(0.1), {0: 0.0, LATE: 0.0}),
    "warm-up of a join": (
        Warmup(3, Join([(Constant(0.4), 2), (Step(0.2, 2), 4), Constant(0.01)])),
        {0: 0.1, 2: 0.3, 3: 0.4, 4: 0.4, 5: 0.2, 6: 0.2, 7: 0.1, 8: 0.1, 9: 0.01, LATE: 0.01},
    ),
    "join of a warm-up and a scaled join": (
        Join([(Warmup(2, Constant(0.3)), 4), 10 * Join([(Constant(0.01), 2), Linear(0.04, 0.0, 4)])]),
        {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.3, 4: 0.1, 5: 0.1, 6: 0.4, 7: 0.3, 10: 0.0, LATE: 0.0},
    ),
    "join with whole cycles": (
        Join([(WarmRestarts(1.0, 4), 8), (Triangular(0.0, 1.0, 2), 4), Constant(0.5)]),
        {0: 1.0, 4: 1.0, 7: (1 - ROOT) / 2, 8: 0.0, 9: 0.5, 10: 1.0, 11: 0.5, 12: 0.5, LATE: 0.5},
    ),
    "step in epochs": (Step(0.8, 2).in_epochs(5), {0: 0.8, 9: 0.8, 10: 0.4, 19: 0.4, 20: 0.2}),
    "linear in epochs": (Linear(0.1, 0.0, 2).in_epochs(5), {0: 0.1, 1: 0.09, 5: 0.05, 9: 0.01, 10: 0.0, 11: 0.0}),
    "linear in epochs, as a staircase": (
        Linear(0.1, 0.0, 2).in_epochs(5, staircase=True),
        {0: 0.1, 4: 0.1, 5: 0.05, 9: 0.05, 10: 0.0, LATE: 0.0},
    ),
    "straight lines": (
        PiecewiseLinear([2, 4, 8], [0.4, 0.8, 0.0]),
        {0: 0.4, 1: 0.4, 2: 0.4, 3: 0.6, 4: 0.8, 5: 0.6, 7: 0.2, 8: 0.0, LATE: 0.0},
    ),
    "straight lines through one point": (PiecewiseLinear([3], [0.4]), {0: 0.4, 3: 0.4, 4: 0.4}),
    # n / 4 up to n = 4, then 2 / sqrt(n), for n = step + 1
    "inverse root": (InverseSqrt(0.8, 4), {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 15: 0.4, 63: 0.2, 4 * 10**8 - 1: 8e-5}),
    "inverse root at once": (InverseSqrt(0.8, 1), {0: 0.8, 3: 0.4, 15: 0.2}),
    # 64^-0.5 = 1 / 8, and 4^-1.5 = 1 / 8
    "Noam": (Noam(64, 4), {0: 1 / 64, 1: 2 / 64, 2: 3 / 64, 3: 1 / 16, 15: 1 / 32, 63: 1 / 64, 99: 1 / 80}),
    "Noam, doubled": (Noam(64, 4, factor=2.0), {0: 1 / 32, 3: 1 / 8, 15: 1 / 16}),
    "one cycle, straight": (
        OneCycle(1.0, 10, rise=0.4, div=10, final_div=100, shape="linear"),
        {0: 0.1, 1: 0.325, 2: 0.55, 3: 0.775, 4: 1.0, 5: 0.835, 7: 0.505, 9: 0.175, 10: 0.01, 11: 0.01, LATE: 0.01},
    ),
    "one cycle, straight, in three phases": (
        OneCycle(1.0, 10, rise=0.4, div=10, final_div=100, phases=3, shape="linear"),
        {0: 0.1, 3: 0.775, 4: 1.0, 5: 0.775, 7: 0.325, 8: 0.1, 9: 0.055, 10: 0.01, 11: 0.01, LATE: 0.01},
    ),
    "one cycle": (
        OneCycle(1.0, 8, rise=0.5, div=5, final_div=10),
        {0: 0.2, 1: 0.2 + 0.4 * (1 - ROOT), 2: 0.6, 4: 1.0, 5: 0.1 + 0.45 * (1 + ROOT), 6: 0.55, 8: 0.1, 9: 0.1},
    ),
    "one cycle that starts at its peak": (
        OneCycle(1.0, 4, rise=0.0, final_div=5, shape="linear"),
        {0: 1.0, 1: 0.8, 3: 0.4, 4: 0.2, 5: 0.2},
    ),
    "one cycle in three phases, of which the last takes no time": (
        OneCycle(1.0, 4, rise=0.5, div=2, final_div=10, phases=3, shape="linear"),
        {0: 0.5, 1: 0.75, 2: 1.0, 3: 0.75, 4: 0.1, 5: 0.1},
    ),
    "momentum against one cycle": (
        OneCycle(1.0, 10, rise=0.4, phases=3, shape="linear").mirrored(0.8, 0.9),
        {0: 0.9, 1: 0.875, 2: 0.85, 4: 0.8, 6: 0.85, 8: 0.9, 9: 0.9, 10: 0.9, LATE: 0.9},
    ),
    "trapezoid": (
        Trapezoid(1.0, 3, 2, 4),
        {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 4: 1.0, 5: 1.0, 6: 0.75, 8: 0.25, 9: 0.0, 10: 0.0, LATE: 0.0},
    ),
    "trapezoid, cosine, no warm-up": (
        Trapezoid(1.0, 0, 2, 4, floor=0.2, shape="cosine"),
        {0: 1.0, 2: 1.0, 3: 0.2 + 0.4 * (1 + ROOT), 4: 0.6, 5: 0.2 + 0.4 * (1 - ROOT), 6: 0.2, 7: 0.2},
    ),
    "trapezoid, root, nothing stable": (
        Trapezoid(1.0, 1, 0, 4, floor=0.2, shape="1-sqrt"),
        {0: 0.5, 1: 1.0, 2: 0.6, 3: 0.2 + 0.8 * (1 - ROOT), 5: 0.2, 6: 0.2},
    ),
    "cycles scaled by their number": (
        Cyclical(0.1, 0.7, 3, scale=math.sqrt),
        {0: 0.1, 2: 0.5, 3: 0.7, 6: 0.1, 9: 0.1 + 0.6 * math.sqrt(2), 12: 0.1, 21: 1.3},
    ),
    "cycles scaled by the step": (
        Cyclical(0.1, 0.7, 3, scale=math.atan, by="iteration"),
        {0: 0.1, 1: 0.1 + 0.2 * math.pi / 4, 3: 0.1 + 0.6 * math.atan(3), 4: 0.1 + 0.4 * math.atan(4), 6: 0.1},
    ),
    "momentum against cycles": (
        Triangular2(0.1, 0.7, 2).mirrored(0.8, 0.9),
        {0: 0.9, 1: 0.85, 2: 0.8, 3: 0.85, 4: 0.9, 6: 0.85, 8: 0.9},
    ),
    "repeated": (Repeat(Linear(1.0, 0.0, 4)), {0: 1.0, 3: 0.25, 4: 1.0, 5: 0.75, 8: 1.0, 4 * LATE + 3: 0.25}),
    "repeated before its end": (Repeat(Linear(1.0, 0.0, 4), 2), {0: 1.0, 1: 0.75, 2: 1.0, 3: 0.75, 4: 1.0}),
    "repeated past its end": (Repeat(Linear(1.0, 0.0, 2), 3), {0: 1.0, 1: 0.5, 2: 0.0, 3: 1.0, 5: 0.0, 6: 1.0}),
    "repeated twice": (Repeat(Linear(1.0, 0.0, 4), times=2), {3: 0.25, 4: 1.0, 7: 0.25, 8: 0.0, 9: 0.0, LATE: 0.0}),
    "started later": (Linear(0.4, 0.0, 4).offset(2), {0: 0.4, 1: 0.4, 2: 0.4, 3: 0.3, 6: 0.0, LATE: 0.0}),
    "entered in its course": (Linear(0.4, 0.0, 4).offset(-3), {0: 0.1, 1: 0.0, 2: 0.0}),
    "product": (Linear(1.0, 0.0, 4) * Step(1.0, 2), {0: 1.0, 1: 0.75, 2: 0.25, 3: 0.125, 4: 0.0, LATE: 0.0}),
    "sum": (Step(0.8, 2) + Linear(0.0, 0.4, 4), {0: 0.8, 1: 0.9, 2: 0.6, 3: 0.7, 4: 0.6, 6: 0.5}),
    "raised": (0.1 + Step(0.8, 2), {0: 0.9, 1: 0.9, 2: 0.5, 4: 0.3, LATE: 0.1}),
    "stairs": (Linear(1.0, 0.0, 4).staircase(2), {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.5, 4: 0.0, LATE: 0.0}),
    "exponential stairs": (
        Exponential(0.8, math.log(2) / 3).staircase(3),
        {0: 0.8, 2: 0.8, 3: 0.4, 5: 0.4, 6: 0.2, 9: 0.1},
    ),
    "warm-up, cosine, floor": (
        Warmup(3, Cosine(0.4, 6, floor=0.1)),
        {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 5: 0.325, 6: 0.25, 9: 0.1, 10: 0.1, LATE: 0.1},
    ),
    "join of steps and epochs": (
        Join([(Constant(0.1), 3), Linear(0.4, 0.0, 2).in_epochs(2)]),
        {0: 0.1, 2: 0.1, 3: 0.4, 4: 0.3, 6: 0.1, 7: 0.0, 8: 0.0},
    ),
}
tables = pytest.mark.parametrize(("schedule", "table"), TABLES.values(), ids=TABLES.keys())
every_schedule = pytest.mark.parametrize("schedule", [schedule for schedule, _ in TABLES.values()], ids=TABLES.keys())
