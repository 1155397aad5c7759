"""A ladder of steps: one derivative from central differences at many steps.

Truncation and kinks spoil differences at long steps, and round-off spoils them at short steps. Each rung of the ladder
therefore gets an uncertainty from the rungs with shorter steps. They show how large truncation and noise are, and they
overrule a longer step that contradicts them, however small its round-off is. The slopes to both sides of a smooth place
approach each other as the step shrinks. If they stay apart, there is a kink, and the gap counts as uncertainty. The
analytic gradient is not used.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .numeric import Estimate, Function, Line, StepError, central
from .thresholds import CORRECT

_FIRST = 1e-3
_SHORTEST = 1e-16
_SHRINK = 10.0
# So many rungs without a digit end the ladder; a single one may be an accident.
_BLIND = 2
_DIGIT = 0.1
# Number of shorter rungs that a rung needs to be trusted, because two differences may agree by accident.
_WITNESSES = 2
# Noise is at most this multiple of the scatter of so many of the shortest steps.
_SCATTER, _TAIL = 4.0, 3
_ALIKE = 30.0  # largest ratio of two differences that are noise
# Truncation is at most this multiple of the difference from the next shorter step.
_TRUNCATION = 2.0
# Bound on the effect of nearer kinks, which no step resolves, in units of the visible gap.
_HIDDEN = 100.0
# Least ratio of the jumps at a step and at the step before, if they are due to a kink.
_FALLS = 0.1
# A kink is at x itself if the slopes to both sides have this precision, in units of half their gap, at a step this
# short, in units of the line's scale.
_SHARP, _CLOSE = 0.1, 1e-12
# A change that is visible in double precision, in units of eps of the function's value.
_VISIBLE = 1e3
# So many steps at which f rises by the same amount, within this factor, show a rise within the shortest of them.
_RISES, _EQUAL = 4, 2.0
# A slope has digits if its round-off is below this share of the largest slope.
_DIGITS = 0.01
_UNTRIED = Estimate(math.nan, math.inf, 0.0, crossed=True, excluded=True)


def climb(f: Function, line: Line, longest: float | None = None) -> Estimate:
    """Return the derivative at the step of least uncertainty.

    Args:
        f: the function.
        line: the line along which to differentiate.
        longest: the first step. None for 1e-3 times the line's scale, and also 1e-2 and 0.1 times if round-off is large
            there. Each further step is a tenth of the one before.

    Returns:
        An estimate with bounds on round-off, truncation and kinks. It is excluded if every step crosses kinks that
        winners report, or leaves the domain in which f is finite.
    """
    first = _FIRST * line.scale if longest is None else longest
    rungs = _down(f, line, first)
    rungs = rungs[: len(rungs) - _silent(f, line, rungs)]
    best = _surest(rungs)
    if longest is None and (best.excluded or best.round_off > CORRECT * abs(best.value)):
        rungs = [*_up(f, line, first), *rungs]
        best = _surest(rungs)
        if _rises_unseen(rungs):
            return replace(best, truncation=math.inf, unseen=True)
    if best.kink > best.round_off + best.truncation:
        return _at_a_kink(rungs, line.scale) or _near_kinks(f, rungs, best)
    return best


def _surest(rungs: Sequence[Estimate]) -> Estimate:
    """Return the rung of least uncertainty among those with enough shorter rungs."""
    # With too few rungs, the longest one has the most shorter rungs.
    believed = weigh(rungs)[: max(1, len(rungs) - _WITNESSES)]
    return min(believed, key=lambda rung: rung.uncertainty, default=_UNTRIED)


def _rises_unseen(rungs: Sequence[Estimate]) -> bool:
    """Return whether f rises within the shortest step only, by less than its round-off.

    The slope is then below the round-off at every step, and the rise is not 0 and the same at all of them, as that of a
    smooth function, which grows with the step, is not.
    """
    rises = [rung.value * rung.step for rung in rungs if rung.value]
    if len(rises) < _RISES or any(abs(rung.value) > rung.round_off for rung in rungs):
        return False
    sizes = [abs(rise) for rise in rises]
    return min(rises) * max(rises) > 0 and max(sizes) <= _EQUAL * min(sizes)


def _down(f: Function, line: Line, longest: float) -> list[Estimate]:
    """Return central differences at shorter and shorter steps, until round-off leaves no digit."""
    rungs: list[Estimate] = []
    reach, blind, h = 0.0, 0, longest
    while h > 0.5 * _SHORTEST * line.scale and blind < _BLIND:
        try:
            rung = central(f, line, h)
        except StepError:
            break
        except FloatingPointError:
            h /= _SHRINK
            continue
        if not rung.excluded:
            rungs.append(rung)
            reach = max(reach, abs(rung.value) + (0.0 if math.isnan(rung.gap) else abs(rung.gap) / 2))
            blind += rung.round_off >= _DIGIT * reach
        h /= _SHRINK
    return rungs


def _up(f: Function, line: Line, shortest: float) -> list[Estimate]:
    """Return central differences at two longer steps, the longest first."""
    rungs = []
    for h in (_SHRINK**2 * shortest, _SHRINK * shortest):
        try:
            rungs.append(central(f, line, h))
        except (StepError, FloatingPointError):
            continue
    return [rung for rung in rungs if not rung.excluded]


def _silent(f: Function, line: Line, rungs: Sequence[Estimate]) -> int:
    """Return how many of the shortest steps mean nothing, because rounding inside f hides them.

    If f changes at longer steps but not at short ones, there are two cases. Either f is constant here and has a kink
    nearby, or f is a step function, such as a function that computes in single precision. In the latter case, it does
    not change at short steps from other places either.
    """
    flat = next((i for i, rung in enumerate(reversed(rungs)) if rung.value or rung.gap), 0)
    if not flat or max(abs(rungs[-flat - 1].value), abs(rungs[-flat - 1].gap)) <= rungs[-flat - 1].round_off:
        return 0
    moving, still = rungs[-flat - 1], rungs[-flat]
    side = 1.0 if moving.value * moving.gap >= 0 else -1.0  # the side on which f changes more
    elsewhere = side * 3.7 * moving.step
    # As short as double precision allows, so that it does not meet a step of single precision by accident.
    size = float(np.abs(f.base.terms).sum()) / max(abs(moving.value), abs(moving.gap))
    near = min(0.02 * still.step, _VISIBLE * f.eps * (size + line.magnitude))
    try:
        with line.at(elsewhere):
            there = f.read()
        with line.at(elsewhere + near):
            beyond = f.read()
    except (FloatingPointError, StepError):
        return 0
    return flat if np.array_equal(there.terms, beyond.terms) else 0


def weigh(rungs: Sequence[Estimate]) -> list[Estimate]:
    """Return the rungs, the longest step first, with the uncertainties that follow from shorter rungs."""
    noise, spread = _steady(
        [rung.value for rung in rungs], [rung.round_off for rung in rungs], [rung.step for rung in rungs]
    )
    judged = []
    seen = last = 0.0  # jump of the slope at longer steps, until a step shows that the kink is farther away
    for k, rung in enumerate(rungs):
        jump, blur = _jump(rungs, noise, k)
        kink = seen
        if jump > blur:
            # For a smooth function, this jump falls with h^3.
            seen = jump if jump > _FALLS * last else 0.0
        elif jump + blur < seen / 2 and blur:
            seen = 0.0
        last, kink = jump, max(kink, seen)
        if kink and spread[k] < 10 * kink:
            judged.append(replace(rung, round_off=noise[k], truncation=0.0, kink=kink + spread[k]))
        else:
            judged.append(replace(rung, round_off=noise[k] + min(jump, blur), truncation=spread[k], kink=kink))
        if jump > blur and abs(rungs[k + 1].gap) < 4 * noise[k + 1]:
            seen = 0.0  # the kink is farther away than the next step
    return judged


def _jump(rungs: Sequence[Estimate], noise: Sequence[float], k: int) -> tuple[float, float]:
    """Return the jump of the slope within a rung's step, and the jump that noise makes of a smooth function.

    At a smooth place, the gap between the slopes to both sides is proportional to h. A line through the gaps at two
    steps therefore has the jump of a kink at h = 0.
    """
    if k + 1 == len(rungs) or math.isnan(rungs[k].gap + rungs[k + 1].gap):
        return 0.0, 0.0
    ratio = rungs[k].step / rungs[k + 1].step
    jump = abs(ratio * rungs[k + 1].gap - rungs[k].gap) / (ratio - 1)
    return jump, 4 * (ratio * noise[k + 1] + noise[k]) / (ratio - 1)


def _steady(values: list[float], round_off: list[float], steps: list[float]) -> tuple[list[float], list[float]]:
    """Return (noise, spread) of each value of a ladder: its rounding error, and its distance from shorter steps.

    The spread of the shortest step is infinite, because there is no shorter step to compare with.
    """
    count = len(values)
    apart = [abs(values[k] - values[k + 1]) for k in range(count - 1)]
    # What the shortest steps scatter by is noise, whatever round-off was thought to be. The noise in the function's
    # values does not depend on h; the shorter of two steps has more of it in its quotient.
    scatter = _scatter([gap * h for gap, h in zip(apart, steps[1:], strict=True)])
    noise = [max(off, _SCATTER * scatter / h) for off, h in zip(round_off, steps, strict=True)]
    spread = [math.inf] * count
    for k in reversed(range(count - 1)):
        # Truncation falls with h^2. If noise hides it at the shorter step, the longer one shows its size.
        above = apart[k - 1] * (steps[k] / steps[k - 1]) ** 2 if k else 0.0
        own = spread[k] = _TRUNCATION * apart[k] + min(above, noise[k + 1])
        # Shorter steps that contradict this one are right, within their own uncertainty.
        for j in range(k + 1, count):
            distance = abs(values[k] - values[j])
            if distance > noise[k] + own + noise[j]:
                spread[k] = max(spread[k], distance + noise[j] + (spread[j] if j + 1 < count else 0.0))
    return noise, spread


def _scatter(moves: Sequence[float]) -> float:
    """Return the largest of the last differences between function values, which are due to noise.

    Differences due to noise have similar sizes. Earlier ones, due to truncation, fall with the step and are left out.
    """
    largest = moves[-1] if moves else 0.0
    for move in reversed(moves[-_TAIL:-1]):
        if move > _ALIKE * largest > 0:
            break
        largest = max(largest, move)
    return largest


def _at_a_kink(rungs: Sequence[Estimate], scale: float) -> Estimate | None:
    """Return the mean of the slopes to both sides of a kink at x itself.

    Return None unless both slopes stay constant down to very short steps. Otherwise there may be nearer kinks, and the
    derivative between them may have any value.
    """
    both = [rung for rung in rungs if not math.isnan(rung.gap)]
    steps, noise = [rung.step for rung in both], [2 * rung.round_off for rung in both]
    sides = []
    for sign in (-1.0, 1.0):
        values = [rung.value + sign * rung.gap / 2 for rung in both]
        scatter, spread = _steady(values, noise, steps)
        k = min(range(max(1, len(both) - _WITNESSES)), key=lambda i: scatter[i] + spread[i])
        unsure = scatter[k] + spread[k]
        if any(abs(values[k] - v) > unsure + off for v, off in zip(values[k:], noise[k:], strict=True)):
            return None
        sides.append((values[k], unsure, steps[k]))
    (left, left_off, one), (right, right_off, other) = sides
    unsure, half = max(left_off, right_off), abs(right - left) / 2
    sharp = [rung.step for rung in both if rung.round_off < _SHARP * half]
    if unsure > half or not sharp or min(sharp) > 2 * _CLOSE * scale:
        return None
    return Estimate((left + right) / 2, unsure, max(one, other), truncation=0.0, gap=right - left, kink=half)


def _near_kinks(f: Function, rungs: Sequence[Estimate], best: Estimate) -> Estimate:
    """Return an estimate for kinks that are too near to detect above the round-off.

    If the gap is small compared with the derivative, the effect of nearer kinks is assumed to be at most ``_HIDDEN``
    times the gap. Otherwise the truncation is infinite, and ``kink`` covers the slopes to both sides at the shortest
    step with digits.
    """
    if _HIDDEN * best.kink < abs(best.value):
        return replace(best, kink=_HIDDEN * best.kink)
    f.kinked = True
    both = [rung for rung in rungs if not math.isnan(rung.gap)]
    reach = max(abs(rung.value) + abs(rung.gap) / 2 for rung in both)
    shortest = min((rung for rung in both if rung.round_off < _DIGITS * reach), key=lambda r: r.step, default=both[0])
    kink = abs(shortest.gap) / 2 + shortest.round_off
    return replace(best, value=shortest.value, step=shortest.step, kink=kink, truncation=math.inf)
