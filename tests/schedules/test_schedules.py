"""Schedules against tables of values worked out by hand, and against ``torch.optim.lr_scheduler``."""

import dataclasses
import math
import pickle
import re

import numpy as np
import pytest

import minnet as mn
from minnet.schedules import (
    Constant,
    Cosine,
    Cyclical,
    Event,
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
    Schedule,
    Staircase,
    Step,
    Sum,
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


@tables
def test_schedule_is_its_table_of_values(schedule, table):
    # Rates are sums of a few terms no larger than 1, each rounded a few times.
    for step, expected in table.items():
        assert schedule(step) == pytest.approx(expected, rel=4e-16, abs=4e-16), f"step {step}"


# In floating point 0.03 + (0.3 - 0.03) is not 0.3, nor is 0.3 + (0.03 - 0.3) 0.03: a careless mix of the ends shows.
EXACT = [
    (Step(0.3, 10), 30, 0.3 * 0.5**3),
    (Piecewise([7], [0.3, 0.03]), 7, 0.03),
    *((Linear(0.3, 0.03, 7), step, rate) for step, rate in {0: 0.3, 7: 0.03, 8: 0.03}.items()),
    *((Polynomial(0.3, 0.03, 7, 3.3), step, rate) for step, rate in {0: 0.3, 7: 0.03, 8: 0.03}.items()),
    *((Cosine(0.3, 7, 0.03), step, rate) for step, rate in {0: 0.3, 7: 0.03, 8: 0.03}.items()),
    *((WarmRestarts(0.3, 7, floor=0.03), step, 0.3) for step in (0, 7, 14, 7 * LATE)),
    *((WarmRestarts(0.3, 7, lengthen=3, floor=0.03), step, 0.3) for step in (0, 7, 28, 91)),
    *((Triangular(0.03, 0.3, 7), step, rate) for step, rate in {0: 0.03, 7: 0.3, 14: 0.03, 21: 0.3}.items()),
    *((Triangular2(0.03, 0.3, 7), step, rate) for step, rate in {0: 0.03, 7: 0.3, 14: 0.03, 28: 0.03}.items()),
    *((ExpRange(0.03, 0.3, 7), step, 0.03) for step in (0, 14, 28)),
    (Warmup(7, Cosine(0.3, 9)), 7, 0.3),
    (Join([(Cosine(0.3, 7), 7), Cosine(0.03, 9)]), 7, 0.03),
    *(
        (OneCycle(0.3, 49, rise=0.3), step, rate)
        for step, rate in {0: 0.3 / 25, 49: 0.3 / 25e4, 50: 0.3 / 25e4}.items()
    ),
    *((OneCycle(0.3, 50, rise=0.3, phases=phases), 15, 0.3) for phases in (2, 3)),
    (OneCycle(0.3, 50, rise=0.3, phases=3), 30, 0.3 / 25),
    *((OneCycle(0.3, 50, rise=0.3).mirrored(0.85, 0.95), step, v) for step, v in {0: 0.95, 15: 0.85, 50: 0.95}.items()),
    *((Trapezoid(0.3, 3, 4, 7, 0.03, "1-sqrt"), step, v) for step, v in {3: 0.3, 7: 0.3, 14: 0.03, 15: 0.03}.items()),
    *((Trapezoid(0.3, 0.1, 0.2, 0.7, 0.03).in_epochs(49), step, v) for step, v in {5: 0.3, 14: 0.3, 49: 0.03}.items()),
    *((InverseSqrt(0.3, 7), step, rate) for step, rate in {6: 0.3, 27: 0.15}.items()),
    *((PiecewiseLinear([7, 14], [0.3, 0.03]), step, rate) for step, rate in {0: 0.3, 7: 0.3, 14: 0.03}.items()),
    *((Repeat(Linear(0.3, 0.03, 0.1)).in_epochs(10), step, 0.3) for step in (0, 1, 2, 3, 6, 7, 9, 21)),
    *((Repeat(Linear(0.3, 0.03, 7), times=2), step, rate) for step, rate in {7: 0.3, 14: 0.03, 15: 0.03}.items()),
    *((Cosine(0.3, 7, 0.03).in_epochs(49), step, rate) for step, rate in {0: 0.3, 7 * 49: 0.03}.items()),
    *((WarmRestarts(0.3, 7).in_epochs(49), step, 0.3) for step in (0, 343, 686, 1029)),
    *((Step(0.3, 3).in_epochs(49), step, rate) for step, rate in {146: 0.3, 147: 0.15, 293: 0.15, 294: 0.075}.items()),
]


@pytest.mark.parametrize(("schedule", "step", "rate"), EXACT, ids=str)
def test_ends_and_boundaries_are_exact_to_the_bit(schedule, step, rate):
    assert schedule(step) == rate


# (period, lengthen, the first step of each cycle, those at which the cycle itself starts, not between two steps):
# 10, 10 + 12 = 22, 22 + 14.4 = 36.4, ...
RESTARTS = [
    (10, 2, [10, 30, 70, 150, 310], [10, 30, 70, 150, 310]),
    (10, 1.5, [10, 25, 48, 82], [10, 25]),
    (10, 1.2, [10, 22, 37, 54], [10, 22]),
    (10, 1.6, [10, 26, 52, 93], [10, 26]),
    (25, 1.4, [25, 60, 109, 178], [25, 60, 109]),
    (100, 1.3, [100, 230, 399, 619], [100, 230, 399]),
    (100, 1.1, [100, 210, 331, 465], [100, 210, 331]),
]


@pytest.mark.parametrize(("period", "lengthen", "restarts", "tops"), RESTARTS, ids=str)
def test_lengthening_cycles_restart_at_the_first_step_of_each_cycle(period, lengthen, restarts, tops):
    schedule = WarmRestarts(0.3, period, lengthen=lengthen, floor=0.1)
    rates = [schedule(step) for step in range(restarts[-1] + 1)]
    assert [step for step in range(1, len(rates)) if rates[step] > rates[step - 1]] == restarts
    assert [rates[step] for step in tops] == [0.3] * len(tops)
    events = schedule.events(len(rates))
    assert [event.step for event in events if event.kind == "restart"] == restarts
    assert [event.step for event in events if event.kind == "trough"] == [step - 1 for step in restarts]


def test_sgdr_in_epochs_is_the_papers_equation():
    # Loshchilov and Hutter 2017, eq. 5 with T_0 = 10, T_mult = 2: cycles start after 0, 10, 30, 70 epochs.
    schedule = WarmRestarts(0.05, 10, lengthen=2).in_epochs(391)
    for epoch, start, length in [(0, 0, 10), (3, 0, 10), (10, 10, 20), (20, 10, 20), (69, 30, 40), (100, 70, 80)]:
        expected = 0.5 * 0.05 * (1 + math.cos((epoch - start) / length * math.pi))
        assert schedule(391 * epoch) == pytest.approx(expected, rel=1e-12)


def test_noam_is_the_papers_equation_and_an_inverse_root():
    """Vaswani et al. 2017, eq. 3, for d_model 512 and 4000 warm-up steps: the rate tops at 7.0e-4, at step 4000."""
    schedule = Noam(512)
    for step_num in (1, 2, 1000, 3999, 4000, 4001, 100_000):
        expected = min(1 / math.sqrt(step_num), step_num / math.sqrt(4000) ** 3) / math.sqrt(512)
        assert schedule(step_num - 1) == pytest.approx(expected, rel=1e-14)
        assert InverseSqrt(1 / math.sqrt(512 * 4000), 4000)(step_num - 1) == pytest.approx(expected, rel=1e-14)
    rates = schedule.preview(8000)
    assert rates.argmax() == 3999
    assert rates.max() == pytest.approx(6.98771e-4, rel=1e-6)


def test_one_cycle_is_fastais_with_its_parameters():
    """fastai's fit_one_cycle: half waves from lr_max / 25 to lr_max at a quarter of the run, then to lr_max / 1e5."""

    def wave(start, end, share):
        return start + (1 + math.cos(math.pi * (1 - share))) * (end - start) / 2

    steps, peak = 80, 0.02
    ours = OneCycle(peak, steps, rise=0.25, final_div=1e5)
    momentum = ours.mirrored(0.85, 0.95)
    for step in range(steps):
        share = step / steps
        if share < 0.25:
            rate, mu = wave(peak / 25, peak, share / 0.25), wave(0.95, 0.85, share / 0.25)
        else:
            rate, mu = (wave(a, b, (share - 0.25) / 0.75) for a, b in ((peak, peak / 1e5), (0.85, 0.95)))
        assert ours(step) == pytest.approx(rate, rel=1e-13, abs=1e-17)
        assert momentum(step) == pytest.approx(mu, rel=1e-14)


def test_one_cycle_is_ulmfits_slanted_triangle_with_its_parameters():
    """Howard and Ruder 2018, eq. 3: T steps, cut_frac 0.1, ratio 32."""
    steps, cut_frac, ratio, peak = 200, 0.1, 32, 0.01
    ours = OneCycle(peak, steps, rise=cut_frac, div=ratio, final_div=ratio, shape="linear")
    cut = math.floor(steps * cut_frac)
    for t in range(steps):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        assert ours(t) == pytest.approx(peak * (1 + p * (ratio - 1)) / ratio, rel=1e-13)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_decays_of_a_trapezoid_are_the_published_ones(share):
    """Haegele et al. 2024: linear, 1 - sqrt, and half a cosine, over the last N_decay of N steps."""
    steps, decay, peak = 1000, 200, 0.3
    n = steps - decay + share * decay
    part = (n - (steps - decay)) / decay
    for shape, left in {
        "linear": 1 - part,
        "1-sqrt": 1 - part**0.5,
        "cosine": math.cos(math.pi / 2 * part) ** 2,
    }.items():
        assert Trapezoid(peak, 100, 700, decay, shape=shape)(n) == pytest.approx(peak * left, rel=1e-14, abs=1e-17)


@pytest.mark.parametrize("rate", [0.96, 0.5])
def test_stairs_are_those_of_keras(rate):
    """ExponentialDecay and PolynomialDecay's formulas with step // decay_steps, here for stairs of 7 steps."""
    ours = Exponential(0.1, -math.log(rate) / 7).staircase(7)
    fall = Polynomial(0.1, 0.01, 70, 2.0).staircase(7)
    for step in range(100):
        assert ours(step) == pytest.approx(0.1 * rate ** (step // 7), rel=1e-13)
        assert Step(0.1, 7, rate)(step) == pytest.approx(ours(step), rel=1e-13)
        assert fall(step) == pytest.approx(0.09 * (1 - min(step // 7 * 7, 70) / 70) ** 2 + 0.01, rel=1e-13)


def test_straight_lines_are_numpys():
    times, values = [3, 7, 8, 20], [0.1, 0.4, 0.3, 0.05]
    ours = PiecewiseLinear(times, values).preview(30)
    np.testing.assert_allclose(ours, np.interp(np.arange(30), times, values), rtol=1e-14)


# Total, pure, frozen -------------------------------------------------------------------------------------------


@every_schedule
def test_every_step_has_a_finite_rate_of_at_least_zero(schedule):
    for step in [*range(80), 10**6, LATE, 10**15, np.int64(12), np.uint32(12)]:
        rate = schedule(step)
        assert isinstance(rate, float)
        assert 0 <= rate < math.inf


WHOLE = [
    Constant(1),
    Step(1, 3, 1),
    Piecewise([2], [1, 2]),
    Exponential(1, 0),
    InverseTime(1, 1),
    Linear(1, 0, 2),
    Polynomial(1, 0, 2, 2),
    Cosine(1, 2),
    WarmRestarts(1, 2),
    Triangular(0, 1, 2),
    Triangular2(0, 1, 2),
    ExpRange(0, 1, 2, 1),
    Warmup(2, Constant(1)),
    Join([(Constant(1), 2), Constant(2)]),
    2 * Constant(1),
    Constant(1).in_epochs(2),
    PiecewiseLinear([0, 2], [0, 1]),
    InverseSqrt(1, 1),
    Noam(1, 1, 1),
    OneCycle(1, 2, 0, 1, 1),
    OneCycle(1, 4, 0.5, 2, 4, 3, "linear").mirrored(0, 1),
    Trapezoid(1, 1, 1, 1),
    Cyclical(0, 1, 2, int),
    Repeat(Linear(1, 0, 2)),
    Linear(1, 0, 2).offset(1),
    Constant(2) * Constant(1),
    Constant(2) + 1,
    Linear(1, 0, 2).staircase(2),
]


@pytest.mark.parametrize("schedule", WHOLE, ids=str)
def test_rates_are_floats_whatever_numbers_came_in(schedule):
    assert {type(schedule(step)) for step in range(8)} == {float}


@every_schedule
def test_a_schedule_remembers_nothing(schedule):
    twin = pickle.loads(pickle.dumps(schedule))
    assert twin == schedule
    assert hash(twin) == hash(schedule)
    forwards = [schedule(step) for step in range(50)]
    order = np.random.default_rng(0).permutation(50)
    shuffled = {step: schedule(step) for step in order}
    assert [shuffled[step] for step in range(50)] == forwards  # to the bit
    assert [twin(step) for step in range(50)] == forwards
    schedule.events(50)
    assert [schedule(step) for step in range(50)] == forwards


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in TABLES.values()], ids=TABLES.keys())
def test_a_schedule_is_frozen(schedule):
    name = dataclasses.fields(schedule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, name, 0.5)


def test_lists_given_to_a_schedule_are_not_kept():
    boundaries, values, parts = [10], [0.1, 0.2], [(Constant(0.1), 10), Constant(0.2)]
    piecewise, join = Piecewise(boundaries, values), Join(parts)
    boundaries[0], values[0], parts[0] = 1, 9.0, (Constant(9.0), 10)
    assert [piecewise(5), piecewise(10)] == [join(5), join(10)] == [0.1, 0.2]
    assert Piecewise(np.array([10]), np.array([0.1, 0.2])) == piecewise


@every_schedule
@pytest.mark.parametrize("step", [-1, -1e-9, math.nan])
def test_a_negative_step_is_refused(schedule, step):
    with pytest.raises(ValueError, match=rf"{type(schedule).__name__}: expected a step of at least 0; got {step}"):
        schedule(step)


# Combinators -----------------------------------------------------------------------------------------------------


def test_each_part_counts_from_its_own_start():
    first, second, third = Cosine(0.3, 5), Triangular2(0.1, 0.2, 3), InverseTime(0.2, 0.1)
    join = Join([(first, 4), (second, 9), third])
    expected = [first(k) for k in range(4)] + [second(k) for k in range(9)] + [third(k) for k in range(20)]
    assert [join(step) for step in range(33)] == expected


def test_warm_up_hands_over_at_the_first_rate_of_what_follows():
    after = Polynomial(0.6, 0.1, 9, power=2)
    warm = Warmup(5, after)
    assert [warm(5 + k) for k in range(20)] == [after(k) for k in range(20)]
    steps = np.diff([warm(step) for step in range(6)])
    np.testing.assert_allclose(steps, after(0) / 6, rtol=1e-14)  # straight, and the next step of it would be then(0)
    assert warm(0) > 0  # no step is lost


@pytest.mark.parametrize("inner", [Cosine(0.3, 5), Join([(Constant(0.1), 2), Step(0.2, 2)])], ids=repr)
def test_scaling_multiplies_rates_and_moves_no_event(inner):
    for scaled in (inner * 3, 3 * inner, np.float64(3) * inner, Scaled(inner, 3.0)):
        assert isinstance(scaled, Scaled)
        assert [scaled(step) for step in range(10)] == [3 * inner(step) for step in range(10)]
        assert scaled.events(10) == inner.events(10)


@dataclasses.dataclass(frozen=True)
class Sawtooth(Schedule):
    """A schedule of a user's own: one method is enough."""

    period: float

    def at(self, t):
        return 1 - (t % self.period) / self.period


def test_a_schedule_of_ones_own_composes_like_any_other():
    saw = Sawtooth(4)
    assert [saw(step) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 1.0]
    assert saw.events(100) == []
    mixed = Warmup(1, 2 * Join([(saw.in_epochs(2), 4), saw]))
    assert [mixed(step) for step in range(8)] == [1.0, 2.0, 1.75, 1.5, 1.25, 2.0, 1.5, 1.0]
    assert mixed.events(8) == [Event(1, "boundary"), Event(5, "boundary")]


def test_a_schedule_without_at_says_what_it_lacks():
    class Empty(Schedule):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty must define at\(t\)"):
        Empty()(0)


@pytest.mark.parametrize("floor", [0.0, 0.01])
def test_a_cosine_repeated_is_one_with_warm_restarts(floor):
    repeated, restarts = Repeat(Cosine(0.1, 7, floor)), WarmRestarts(0.1, 7, floor=floor)
    assert repeated.preview(50).tolist() == restarts.preview(50).tolist()
    assert repeated.events(50) == restarts.events(50)


def test_repeating_is_joining_a_schedule_with_itself():
    cycle = Warmup(3, Cosine(0.1, 5))
    repeated, joined = Repeat(cycle, times=3), Join([(cycle, 8), (cycle, 8), cycle])
    assert repeated.preview(40).tolist() == joined.preview(40).tolist()
    assert repeated.length == joined.length == 24


@pytest.mark.parametrize("k", [1, 4, 5, 13, 40])
@every_schedule
def test_a_negative_offset_is_the_schedule_from_a_later_step(schedule, k):
    later = schedule.offset(-k)
    assert later.preview(30).tolist() == [schedule(step + k) for step in range(30)]
    expected = [Event(event.step - k, event.kind) for event in schedule.events(30 + k) if event.step >= k]
    assert later.events(30) == expected


@every_schedule
def test_a_positive_offset_holds_the_first_value_until_the_schedule_starts(schedule):
    assert schedule.offset(6).preview(30).tolist() == [schedule(max(0, step - 6)) for step in range(30)]
    assert schedule.offset(0).preview(30).tolist() == schedule.preview(30).tolist()
    assert schedule.offset(0).events(30) == schedule.events(30)


@pytest.mark.parametrize("first", [Cosine(0.3, 5), Join([(Constant(0.1), 2), Step(0.2, 2)])], ids=repr)
@pytest.mark.parametrize("second", [Linear(1.0, 0.5, 8), WarmRestarts(1.0, 3)], ids=repr)
def test_products_and_sums_take_values_and_events_of_both(first, second):
    both = set(first.events(20)) | set(second.events(20))
    for mixed, expected in (
        (first * second, [first(step) * second(step) for step in range(20)]),
        (first + second, [first(step) + second(step) for step in range(20)]),
    ):
        assert mixed.preview(20).tolist() == expected
        assert mixed.events(20) == sorted(both)


def test_a_momentum_is_a_schedule_like_any_other():
    """CS231n anneals momentum from 0.5 up to 0.99; a bound on the norm comes down."""
    momentum = Join([(Linear(0.5, 0.99, 8), 8), Constant(0.99)])
    assert [momentum(step) for step in (0, 4, 8, LATE)] == pytest.approx([0.5, 0.745, 0.99, 0.99], rel=1e-15)
    assert Polynomial(0.5, 0.99, 10, 2.0)(5) == pytest.approx(0.99 - 0.49 / 4, rel=1e-15)
    assert Exponential(5.0, 0.1)(10) == pytest.approx(5 / math.e, rel=1e-15)


def test_a_preview_is_the_values_of_the_first_steps():
    preview = Cosine(0.1, 6).preview(8)
    assert preview.dtype == np.float64
    assert preview.tolist() == [Cosine(0.1, 6)(step) for step in range(8)]
    assert Cosine(0.1, 6).preview(0).shape == (0,)
    with pytest.raises(TypeError, match=r"Cosine: expected steps to be a whole number; got 2\.5"):
        Cosine(0.1, 6).preview(2.5)


# Length ----------------------------------------------------------------------------------------------------------

LENGTHS = [
    (Constant(0.1), 0),
    (Step(0.1, 5), math.inf),
    (Step(0.1, 5, 1.0), 0),
    (Piecewise([10, 25], [3, 2, 1]), 25),
    (Piecewise([], [3]), 0),
    (PiecewiseLinear([3, 9], [0.1, 0.2]), 9),
    (PiecewiseLinear([3, 9], [0.1, 0.1]), 0),
    (Exponential(0.1, 0.01), math.inf),
    (Exponential(0.1, 0.0), 0),
    (InverseTime(0.1, 0.01), math.inf),
    (InverseTime(0.0, 0.01), 0),
    (InverseSqrt(0.1, 4), math.inf),
    (InverseSqrt(0.0, 4), 0),
    (Noam(64), math.inf),
    (Linear(0.1, 0.0, 8), 8),
    (Linear(0.1, 0.1, 8), 0),
    (Polynomial(0.1, 0.0, 8, 2.0), 8),
    (Cosine(0.1, 12), 12),
    (Cosine(0.1, 12, 0.1), 0),
    (WarmRestarts(0.1, 4), math.inf),
    (WarmRestarts(0.1, 4, floor=0.1), 0),
    (Triangular(0.1, 0.7, 4), math.inf),
    (Triangular2(0.7, 0.7, 4), 0),
    (Triangular(0.1, 0.7, 4).mirrored(0.8, 0.9), math.inf),
    (OneCycle(0.1, 20), 20),
    (OneCycle(0.1, 20, phases=3), 20),
    (OneCycle(0.1, 20, phases=3).mirrored(0.8, 0.9), 12),
    (OneCycle(0.1, 20).mirrored(0.9, 0.9), 0),
    (OneCycle(0.0, 20), 0),
    (OneCycle(0.0, 20).mirrored(0.8, 0.9), 20),
    (Trapezoid(0.1, 3, 4, 5), 12),
    (Trapezoid(0.1, 3, 4, 5, 0.1), 3),
    (Trapezoid(0.0, 3, 4, 5), 0),
    (Warmup(5, Constant(0.1)), 5),
    (Warmup(0, Constant(0.1)), 0),
    (Warmup(5, Cosine(0.1, 8)), 13),
    (Warmup(5, Exponential(0.1, 0.1)), math.inf),
    (Join([(Cosine(0.1, 8), 6), (Constant(0.1), 3), Linear(0.1, 0.0, 4)]), 13),
    (Join([(WarmRestarts(0.1, 8), 6), Constant(0.05)]), 6),
    (Join([(Constant(0.05), 6), Step(0.1, 5)]), math.inf),
    (2 * Cosine(0.1, 8), 8),
    (0 * Exponential(0.1, 0.1), 0),
    (Linear(0.1, 0.2, 8) * Linear(0.1, 0.2, 5), 8),
    (Cosine(0.1, 8) * Exponential(1.0, 0.1), 8),
    (Cosine(0.1, 8, 0.01) * Exponential(1.0, 0.1), math.inf),
    (Cosine(0.1, 8) * Linear(0.1, 0.0, 5), 5),
    (Constant(0.0) * Exponential(1.0, 0.1), 0),
    (Cosine(0.1, 8) + 0.1, 8),
    (Cosine(0.1, 8) + Linear(0.1, 0.0, 11), 11),
    (Repeat(Cosine(0.1, 8)), math.inf),
    (Repeat(Cosine(0.1, 8), 5, times=3), 18),
    (Repeat(Constant(0.1), 5), 0),
    (Cosine(0.1, 8).offset(4), 12),
    (Cosine(0.1, 8).offset(-3), 5),
    (Cosine(0.1, 8).offset(-9), 0),
    (Constant(0.1).offset(4), 0),
    (Exponential(0.1, 0.1).offset(-4), math.inf),
    (Linear(0.1, 0.0, 8).staircase(3), 9),
    (Linear(0.1, 0.0, 9).staircase(3), 9),
    (Exponential(0.1, 0.1).staircase(3), math.inf),
    (Linear(0.1, 0.0, 4).in_epochs(5), 20),
    (Linear(0.1, 0.0, 3.5).in_epochs(5, staircase=True), 20),
    (Warmup(2, Cosine(0.1, 3)).in_epochs(5), 25),
    (Exponential(0.1, 0.1).in_epochs(5), math.inf),
]


@pytest.mark.parametrize(("schedule", "length"), LENGTHS, ids=str)
def test_length_is_how_long_a_schedule_moves(schedule, length):
    assert schedule.length == length
    # The same by looking: the first step after which no value differs from those that follow.
    values = schedule.preview(200).tolist()
    moving = [step for step in range(1, 200) if values[step] != values[step - 1]]
    if length == math.inf:
        assert max(moving) > 150
    else:
        assert max(moving, default=0) == length


# Events ----------------------------------------------------------------------------------------------------------


def listed(*entries):
    """Events from words such as "3 trough"."""
    return [Event(int(step), kind) for step, kind in (entry.split() for entry in entries)]


CYCLES = listed("3 trough", "4 restart", "11 trough", "12 restart", "27 trough", "28 restart")
EVENTS = {
    "constant": (Constant(0.1), 100, []),
    "exponential": (Exponential(0.1, 0.1), 100, []),
    "inverse time": (InverseTime(0.1, 0.1), 100, []),
    "step": (Step(0.8, 10), 31, listed("10 boundary", "20 boundary", "30 boundary")),
    "step, short": (Step(0.8, 10), 30, listed("10 boundary", "20 boundary")),
    "step between steps": (Step(0.8, 2.5), 9, listed("3 boundary", "5 boundary", "8 boundary")),
    "piecewise": (Piecewise([10, 25], [3, 2, 1]), 26, listed("10 boundary", "25 boundary")),
    "linear": (Linear(0.1, 0.0, 8), 100, listed("8 end")),
    "linear, short": (Linear(0.1, 0.0, 8), 8, []),
    "polynomial": (Polynomial(0.1, 0.0, 8, 2.0), 9, listed("8 end")),
    "cosine": (Cosine(0.1, 8), 9, listed("8 end")),
    "warm restarts": (WarmRestarts(1.0, 4, lengthen=2), 30, CYCLES),
    "warm restarts that end with a cycle": (WarmRestarts(1.0, 4, lengthen=2), 28, CYCLES[:-1]),
    "cycles of one step": (WarmRestarts(1.0, 1), 2, listed("0 trough", "1 restart", "1 trough")),
    "triangular": (
        Triangular(0.1, 0.7, 3),
        12,
        listed("3 peak", "5 trough", "6 restart", "9 peak", "11 trough"),
    ),
    "triangular2": (Triangular2(0.1, 0.7, 2), 5, listed("2 peak", "3 trough", "4 restart")),
    "exp range": (ExpRange(0.1, 0.7, 2), 5, listed("2 peak", "3 trough", "4 restart")),
    "warm-up": (Warmup(4, Cosine(0.1, 6)), 20, listed("4 boundary", "10 end")),
    "no warm-up": (Warmup(0, Cosine(0.1, 6)), 20, listed("6 end")),
    "warm-up of cycles": (Warmup(2, WarmRestarts(1.0, 4)), 8, listed("2 boundary", "5 trough", "6 restart")),
    "join": (
        Join([(Step(0.1, 2), 5), (Constant(0.1), 2), Cosine(0.1, 3)]),
        20,
        listed("2 boundary", "4 boundary", "5 boundary", "7 boundary", "10 end"),
    ),
    "join that cuts a schedule short": (Join([(Cosine(0.1, 9), 5), Constant(0.1)]), 20, listed("5 boundary")),
    # A part of two whole cycles has two troughs, though no restart follows the second.
    "join of cycles": (
        Join([(WarmRestarts(1.0, 4), 8), Constant(0.1)]),
        20,
        listed("3 trough", "4 restart", "7 trough", "8 boundary"),
    ),
    "join that cuts a cycle short": (
        Join([(WarmRestarts(1.0, 4), 7), Constant(0.1)]),
        20,
        listed("3 trough", "4 restart", "7 boundary"),
    ),
    "join of joins": (
        Join([(Join([(Constant(1), 2), (Constant(2), 2)]), 3), Join([(Constant(3), 2), Constant(4)])]),
        9,
        listed("2 boundary", "3 boundary", "5 boundary"),
    ),
    "warm-up of a join": (Warmup(6, Join([(Constant(1), 2), Constant(2)])), 9, listed("6 boundary", "8 boundary")),
    "epochs": (WarmRestarts(1.0, 2).in_epochs(5), 20, listed("9 trough", "10 restart", "19 trough")),
    "part of an epoch": (Piecewise([1.5], [1, 2]).in_epochs(5), 20, listed("8 boundary")),
    "straight lines": (PiecewiseLinear([0, 4, 7], [1, 2, 1]), 9, listed("4 boundary", "7 end")),
    "inverse root": (InverseSqrt(0.1, 4), 100, listed("3 peak")),
    "inverse root that starts at its peak": (InverseSqrt(0.1, 1), 100, []),
    "Noam": (Noam(64, 4), 100, listed("3 peak")),
    "one cycle": (OneCycle(1.0, 10), 11, listed("3 peak", "10 end")),
    "one cycle in three phases": (OneCycle(1.0, 10, phases=3), 11, listed("3 peak", "6 boundary", "10 end")),
    "one cycle that starts at its peak": (OneCycle(1.0, 10, rise=0), 11, listed("10 end")),
    "momentum against one cycle": (OneCycle(1.0, 10).mirrored(0.8, 0.9), 11, listed("3 peak", "10 end")),
    "trapezoid": (Trapezoid(1.0, 3, 2, 4), 10, listed("3 boundary", "5 boundary", "9 end")),
    "trapezoid without a plateau": (Trapezoid(1.0, 3, 0, 4), 10, listed("3 boundary", "7 end")),
    "own cycles": (Cyclical(0.1, 0.7, 2, math.sqrt), 5, listed("2 peak", "3 trough", "4 restart")),
    "repeated": (Repeat(Linear(1.0, 0.0, 4)), 9, listed("3 trough", "4 restart", "7 trough", "8 restart")),
    "repeated twice": (Repeat(Linear(1.0, 0.0, 4), times=2), 99, listed("3 trough", "4 restart", "8 end")),
    "repeated with its events": (
        Repeat(OneCycle(1.0, 10), 12, times=2),
        99,
        listed("3 peak", "10 end", "11 trough", "12 restart", "15 peak", "22 end"),
    ),
    "started later": (OneCycle(1.0, 10).offset(5), 99, listed("5 boundary", "8 peak", "15 end")),
    "entered in its course": (OneCycle(1.0, 10).offset(-3), 99, listed("0 peak", "7 end")),
    "entered late": (OneCycle(1.0, 10).offset(-4), 99, listed("6 end")),
    "entered at a restart": (WarmRestarts(1.0, 4).offset(-4), 6, listed("0 restart", "3 trough", "4 restart")),
    "product": (Step(1.0, 4) * Cosine(0.1, 6), 9, listed("4 boundary", "6 end", "8 boundary")),
    "product with one boundary in common": (Step(1.0, 4) * Step(2.0, 8), 9, listed("4 boundary", "8 boundary")),
    "sum": (Step(1.0, 4) + Cosine(0.1, 6), 9, listed("4 boundary", "6 end", "8 boundary")),
    "stairs": (Linear(1.0, 0.0, 7).staircase(4), 20, listed("4 boundary", "8 boundary", "8 end")),
    "staircase": (Piecewise([2], [1, 2]).in_epochs(5, staircase=True), 20, listed("10 boundary")),
    "staircase with a boundary inside an epoch": (
        Piecewise([1.5], [1, 2]).in_epochs(5, staircase=True),
        20,
        listed("10 boundary"),
    ),
}


@pytest.mark.parametrize(("schedule", "steps", "events"), EVENTS.values(), ids=EVENTS.keys())
def test_schedule_lists_its_events(schedule, steps, events):
    assert schedule.events(steps) == events


EVENTFUL = {
    **{name: schedule for name, (schedule, _) in TABLES.items()},
    **{f"{name} (events)": row[0] for name, row in EVENTS.items()},
}


@pytest.mark.parametrize("schedule", EVENTFUL.values(), ids=EVENTFUL.keys())
def test_a_shorter_run_has_the_same_events_up_to_its_end(schedule):
    whole = schedule.events(41)
    for steps in range(41):
        assert schedule.events(steps) == [event for event in whole if event.step < steps], f"{steps} steps"


FLIGHTS = [  # piecewise constant, so that each boundary is a step at which the rate changes, and the other way round
    (Step(1.0, 3), [3, 6, 9, 12, 15, 18]),
    (Step(1.0, 2.5), [3, 5, 8, 10, 13, 15, 18, 20]),
    (Piecewise([2, 3, 11], [1, 2, 3, 4]), [2, 3, 11]),
    (Join([(Constant(1), 4), (Step(0.5, 2), 3), Constant(2)]), [4, 6, 7]),
    (Piecewise([0.07, 0.14], [1, 2, 3]).in_epochs(100), [7, 14]),
    (Piecewise([1.1], [1, 2]).in_epochs(10), [11]),
    (Piecewise([0.5, 1.5], [1, 2, 3]).in_epochs(5, staircase=True), [5, 10]),
    (Step(1.0, 0.3).in_epochs(10), [3, 6, 9, 12, 15, 18]),
    (Step(1.0, 0.1).in_epochs(20), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
    (Join([(Constant(1), 0.1), (Constant(2), 0.2), Constant(3)]).in_epochs(10), [1, 3]),
    (Linear(1.0, 0.0, 12).staircase(5), [5, 10, 15]),
    (Exponential(1.0, 0.1).staircase(7), [7, 14]),
    (Linear(1.0, 0.0, 0.6).staircase(0.3).in_epochs(10), [3, 6]),
    (Step(1.0, 6) * Piecewise([9], [1, 3]), [6, 9, 12, 18]),
    (Step(1.0, 6) + Piecewise([9], [1, 3]), [6, 9, 12, 18]),
    (Step(1.0, 6).offset(-2), [4, 10, 16]),
]


@pytest.mark.parametrize(("schedule", "changes"), FLIGHTS, ids=str)
def test_boundaries_are_the_steps_at_which_a_rate_changes(schedule, changes):
    rates = [schedule(step) for step in range(21)]
    assert [step for step in range(1, 21) if rates[step] != rates[step - 1]] == changes
    assert [event.step for event in schedule.events(21) if event.kind == "boundary"] == changes


@pytest.mark.parametrize("steps", [-1, 2.5, "10", True], ids=repr)
def test_events_wants_a_whole_number_of_steps(steps):
    with pytest.raises((TypeError, ValueError), match=rf"Cosine: expected steps .*; got {re.escape(repr(steps))}"):
        Cosine(0.1, 10).events(steps)


# In epochs -------------------------------------------------------------------------------------------------------

# Lengths are multiplied by n, rates per unit of time divided by it.
STRETCHED = {
    "constant": lambda n: Constant(0.1),
    "step": lambda n: Step(0.8, 3 * n),
    "piecewise": lambda n: Piecewise([2 * n, 5 * n], [0.1, 0.2, 0.3]),
    "exponential": lambda n: Exponential(0.1, 0.3 / n),
    "inverse time": lambda n: InverseTime(0.1, 0.3 / n),
    "linear": lambda n: Linear(0.1, 0.02, 4 * n),
    "polynomial": lambda n: Polynomial(0.1, 0.02, 4 * n, 2.0),
    "cosine": lambda n: Cosine(0.1, 4 * n, 0.01),
    "warm restarts": lambda n: WarmRestarts(0.1, 2 * n, lengthen=2, decay=0.9, floor=0.01),
    "triangular": lambda n: Triangular(0.1, 0.7, 2 * n),
    "triangular2": lambda n: Triangular2(0.1, 0.7, 2 * n),
    "exp range": lambda n: ExpRange(0.1, 0.7, 2 * n, 0.99),  # per iteration
    "warm-up": lambda n: Warmup(3 * n, Constant(0.1)),
    "warm-up of a cosine": lambda n: Warmup(2 * n, Cosine(0.1, 4 * n)),
    "join": lambda n: Join([(Constant(0.1), 2 * n), (Cosine(0.1, 3 * n), 3 * n), WarmRestarts(0.2, 2 * n)]),
    "scaled": lambda n: 0.5 * Cosine(0.1, 4 * n),
    "straight lines": lambda n: PiecewiseLinear([n, 3 * n, 4 * n], [0.1, 0.4, 0.2]),
    "one cycle": lambda n: OneCycle(0.1, 8 * n),
    "one cycle in three phases": lambda n: OneCycle(0.1, 8 * n, rise=0.25, phases=3, shape="linear"),
    "momentum against one cycle": lambda n: OneCycle(0.1, 8 * n).mirrored(0.8, 0.9),
    "trapezoid": lambda n: Trapezoid(0.1, n, 2 * n, 3 * n, 0.01, "1-sqrt"),
    "inverse root": lambda n: InverseSqrt(0.1, 2 * n),
    "Noam": lambda n: Noam(16, 2 * n),
    "own cycles": lambda n: Cyclical(0.1, 0.7, 2 * n, math.sqrt),
    "own iterations": lambda n: Cyclical(0.1, 0.7, 2 * n, lambda t: 1 / (1 + t), by="iteration"),
    "repeated": lambda n: Repeat(Warmup(n, Linear(0.1, 0.0, 2 * n)), times=2),
    "started later": lambda n: Warmup(n, Linear(0.1, 0.0, 2 * n)).offset(n),
    "entered in its course": lambda n: Linear(0.1, 0.0, 4 * n).offset(-n),
    "product": lambda n: Warmup(n, Linear(0.1, 0.0, 2 * n)) * Step(1.0, n),
    "sum": lambda n: Warmup(n, Linear(0.1, 0.0, 2 * n)) + Step(1.0, n),
    "stairs": lambda n: Linear(0.1, 0.0, 4 * n).staircase(2 * n),
    "stairs of a warm-up": lambda n: Warmup(n, Linear(0.1, 0.0, 4 * n)).staircase(2 * n),
    "scaled join of a warm-up": lambda n: 2 * Join([(Warmup(n, Linear(0.1, 0.0, 2 * n)), 3 * n), Constant(0.01)]),
}


@pytest.mark.parametrize("stretch", STRETCHED.values(), ids=STRETCHED.keys())
@pytest.mark.parametrize("per_epoch", [1, 7, 49])
def test_in_epochs_is_the_schedule_with_its_lengths_in_epochs(stretch, per_epoch):
    in_epochs, in_steps = stretch(1).in_epochs(per_epoch), stretch(per_epoch)
    steps = 9 * per_epoch + 1
    ours, expected = ([schedule(step) for step in range(steps)] for schedule in (in_epochs, in_steps))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)
    assert in_epochs.events(steps) == in_steps.events(steps)


@pytest.mark.parametrize("stretch", STRETCHED.values(), ids=STRETCHED.keys())
def test_a_staircase_holds_each_epochs_first_rate(stretch):
    schedule = stretch(1)
    stairs = schedule.in_epochs(7, staircase=True)
    assert [stairs(step) for step in range(70)] == [schedule(step // 7) for step in range(70)]


def test_the_amplitude_of_cycles_in_epochs_falls_with_iterations():
    asked = []
    by_iteration = Cyclical(0.0, 1.0, 2, lambda t: asked.append(t) or 1 / (1 + t), by="iteration").in_epochs(100)
    exponential = ExpRange(0.0, 1.0, 2, 0.999).in_epochs(100)
    for step, height in ((50, 0.25), (200, 1.0), (300, 0.5), (600, 1.0)):
        assert exponential(step) == height * 0.999**step
        assert by_iteration(step) == height / (1 + step)
    assert asked == [50, 200, 300, 600]


def test_noam_without_a_warm_up_is_an_inverse_root_from_the_first_step():
    without = Noam(64, 0, factor=2.0)
    assert [without(step) for step in (0, 3, 24)] == [0.25, 0.125, 0.05]
    assert without.events(10) == []
    assert without.in_epochs(5)(3) == 0.125


@every_schedule
def test_there_is_no_step_at_infinity(schedule):
    with pytest.raises(ValueError, match=rf"{type(schedule).__name__}: expected a finite step; got inf"):
        schedule(math.inf)


@pytest.mark.parametrize("steps_per_epoch", [0, -1, 2.5, "5", True], ids=repr)
def test_an_epoch_is_a_whole_number_of_steps(steps_per_epoch):
    with pytest.raises((TypeError, ValueError), match=r"InEpochs: expected steps_per_epoch .*; got "):
        Cosine(0.1, 10).in_epochs(steps_per_epoch)


# PyTorch ---------------------------------------------------------------------------------------------------------

# (ours, the class in torch.optim.lr_scheduler, its arguments, steps); PyTorch multiplies a base rate of 0.1
PYTORCH = [
    (Step(0.1, 7, 0.3), "StepLR", {"step_size": 7, "gamma": 0.3}, 40),
    (Piecewise([5, 12], [0.1, 0.02, 0.004]), "MultiStepLR", {"milestones": [5, 12], "gamma": 0.2}, 40),
    (Exponential(0.1, -math.log(0.9)), "ExponentialLR", {"gamma": 0.9}, 40),
    (Linear(0.025, 0.1, 8), "LinearLR", {"start_factor": 0.25, "total_iters": 8}, 40),
    (Polynomial(0.1, 0.0, 10, 2.0), "PolynomialLR", {"total_iters": 10, "power": 2.0}, 40),
    (Cosine(0.1, 20, 0.01), "CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}, 21),  # theirs rises again after that
    (
        WarmRestarts(0.1, 5, lengthen=2, floor=0.01),
        "CosineAnnealingWarmRestarts",
        {"T_0": 5, "T_mult": 2, "eta_min": 0.01},
        40,
    ),
    (Piecewise([6], [0.02, 0.1]), "ConstantLR", {"factor": 0.2, "total_iters": 6}, 20),
    *(
        (ours, "CyclicLR", {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4, "mode": mode, **extra}, 40)
        for ours, mode, extra in [
            (Triangular(0.1, 0.7, 4), "triangular", {}),
            (Triangular2(0.1, 0.7, 4), "triangular2", {}),
            (ExpRange(0.1, 0.7, 4, 0.97), "exp_range", {"gamma": 0.97}),
            (Cyclical(0.1, 0.7, 4, math.sqrt), "triangular", {"scale_fn": math.sqrt, "scale_mode": "cycle"}),
            (
                Cyclical(0.1, 0.7, 4, math.atan, by="iteration"),
                "triangular",
                {"scale_fn": math.atan, "scale_mode": "iterations"},
            ),
            # 4 steps up, 6 down
            (
                Repeat(OneCycle(0.7, 10, rise=0.4, div=7, final_div=7, shape="linear")),
                "triangular",
                {"step_size_down": 6},
            ),
        ]
    ),
]


def pytorch_rates(torch, make, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.torch
@pytest.mark.parametrize(("ours", "name", "options", "steps"), PYTORCH, ids=str)
def test_rates_equal_those_of_pytorch(ours, name, options, steps):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    if name == "CyclicLR":
        options = {**options, "cycle_momentum": False}
    scheduler = getattr(torch.optim.lr_scheduler, name)
    theirs = pytorch_rates(torch, lambda optimizer: scheduler(optimizer, **options), steps)
    # PyTorch goes from each rate to the next, so its rounding adds up.
    np.testing.assert_allclose([ours(step) for step in range(steps)], theirs, rtol=0, atol=steps * 2e-16)


def pytorchs_one_cycle(peak, steps, pct_start, **options):
    """PyTorch has its peak one step before pct_start * steps, and its end on the last step."""
    return OneCycle(peak, steps - 1, rise=(pct_start * steps - 1) / (steps - 1), **options)


@pytest.mark.torch
@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("phases", [2, 3])
@pytest.mark.parametrize(("steps", "pct_start"), [(50, 0.3), (37, 0.3), (100, 0.25), (20, 0.45)])
def test_one_cycle_and_its_momentum_equal_pytorchs(steps, pct_start, phases, shape):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.4,
        total_steps=steps,
        pct_start=pct_start,
        anneal_strategy={"cosine": "cos", "linear": "linear"}[shape],
        three_phase=phases == 3,
    )
    theirs = []
    for _ in range(steps):
        theirs.append([optimizer.param_groups[0][name] for name in ("lr", "momentum")])
        optimizer.step()
        scheduler.step()
    ours = pytorchs_one_cycle(0.4, steps, pct_start, phases=phases, shape=shape)
    momentum = ours.mirrored(0.85, 0.95)
    np.testing.assert_allclose([[ours(t), momentum(t)] for t in range(steps)], theirs, rtol=0, atol=1e-15)


@pytest.mark.torch
def test_momentum_against_cycles_equals_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.7, step_size_up=5, mode="triangular2")
    ours = Triangular2(0.1, 0.7, 5).mirrored(0.8, 0.9)
    for step in range(40):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["momentum"], abs=1e-15)
        optimizer.step()
        scheduler.step()


@pytest.mark.torch
def test_a_product_equals_pytorchs_chain():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    library = torch.optim.lr_scheduler

    def chain(optimizer):
        parts = [library.LinearLR(optimizer, start_factor=0.25, total_iters=6), library.ExponentialLR(optimizer, 0.9)]
        return library.ChainedScheduler(parts)

    ours = Linear(0.25, 1.0, 6) * Exponential(0.1, -math.log(0.9))
    theirs = pytorch_rates(torch, chain, 20)
    np.testing.assert_allclose([ours(step) for step in range(20)], theirs, rtol=0, atol=4e-15)


@pytest.mark.torch
def test_joined_rates_equal_pytorchs_sequence():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity with it is not tested")
    library = torch.optim.lr_scheduler

    def sequence(optimizer):
        first = library.LinearLR(optimizer, start_factor=0.25, total_iters=6)
        second = library.StepLR(optimizer, step_size=4, gamma=0.5)
        return library.SequentialLR(optimizer, [first, second], milestones=[6])

    ours = Join([(Linear(0.025, 0.1, 6), 6), Step(0.1, 4)])
    theirs = pytorch_rates(torch, sequence, 20)
    np.testing.assert_allclose([ours(step) for step in range(20)], theirs, rtol=0, atol=1e-15)


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


def test_the_schedules_of_the_public_face_are_there():
    names = "Constant Step Piecewise Exponential InverseTime Linear Polynomial Cosine WarmRestarts Triangular"
    names += " Triangular2 ExpRange Warmup Join OneCycle Trapezoid InverseSqrt Noam PiecewiseLinear Cyclical Mirrored"
    names += " Repeat Offset Product Sum Scaled Staircase InEpochs"
    for name in names.split():
        assert issubclass(getattr(mn.schedules, name), Schedule)
