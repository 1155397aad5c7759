"""Schedules whose lengths are epochs."""

import math

import numpy as np
import pytest
from schedule_cases import every_schedule

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
