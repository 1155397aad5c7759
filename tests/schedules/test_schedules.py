"""Schedules against tables of values worked out by hand, and against published formulas."""

import math

import numpy as np
import pytest
from schedule_cases import LATE, tables

import minnet as mn
from minnet.schedules import (
    Cosine,
    Exponential,
    ExpRange,
    InverseSqrt,
    Join,
    Linear,
    Noam,
    OneCycle,
    Piecewise,
    PiecewiseLinear,
    Polynomial,
    Repeat,
    Schedule,
    Step,
    Trapezoid,
    Triangular,
    Triangular2,
    WarmRestarts,
    Warmup,
)


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


def test_the_schedules_of_the_public_face_are_there():
    names = "Constant Step Piecewise Exponential InverseTime Linear Polynomial Cosine WarmRestarts Triangular"
    names += " Triangular2 ExpRange Warmup Join OneCycle Trapezoid InverseSqrt Noam PiecewiseLinear Cyclical Mirrored"
    names += " Repeat Offset Product Sum Scaled Staircase InEpochs"
    for name in names.split():
        assert issubclass(getattr(mn.schedules, name), Schedule)
