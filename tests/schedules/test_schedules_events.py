"""The length of a schedule, and the events that it lists."""

import math
import re

import pytest
from schedule_cases import TABLES

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
