"""What every schedule is: total, pure, frozen; how schedules combine."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from schedule_cases import LATE, TABLES, every_schedule

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
    Scaled,
    Schedule,
    Step,
    Trapezoid,
    Triangular,
    Triangular2,
    WarmRestarts,
    Warmup,
)

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
