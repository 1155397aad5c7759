"""A ladder of steps: what central differences at many steps say together about one derivative.

At long steps truncation and kinks spoil a difference, at short ones round-off does. Each rung of the ladder therefore
gets an uncertainty from the rungs below it, whose steps are shorter: they show how large truncation and noise are, and
they overrule a longer step that contradicts them, however small its round-off is. The slopes to both sides of a smooth
place approach each other as the step shrinks; where they stay apart there is a kink, and that gap is uncertain too. The
analytic gradient plays no part in any of this.
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
# Two rungs without any digit end the ladder: one alone may be an accident.
_BLIND = 2
_DIGIT = 0.1
# Rungs below that must have been looked at before one is believed: two differences may agree by accident.
_WITNESSES = 2
# Noise is at most that many times what so many of the shortest steps scatter by.
_SCATTER, _TAIL = 4.0, 3
_ALIKE = 30.0  # by how much two moves of noise may differ
# Truncation is at most that many times the distance to the next shorter step.
_TRUNCATION = 2.0
# Of a kink that no step resolves, what others nearer by may do to the derivative, in units of the gap that is seen.
_HIDDEN = 100.0
# What is left of the gaps at one step, in units of that at the step before, if it is a kink's.
_FALLS = 0.1
# A kink is at x itself if the slopes to both sides are known that well, in units of half of their gap, at a step that
# short, in units of the line's scale.
_SHARP, _CLOSE = 0.1, 1e-12
# A change of x that is seen in double precision, in units of eps of the function's value.
_VISIBLE = 1e3
# A slope has digits if round-off is below that, in units of the largest slope seen.
_DIGITS = 0.01
_UNTRIED = Estimate(math.nan, math.inf, 0.0, crossed=True, excluded=True)


def climb(f: Function, line: Line, longest: float | None = None) -> Estimate:
    """The derivative at the step of least uncertainty.

    Args:
        f: the function.
        line: the line along which to differentiate it.
        longest: the first step; None for 1e-3 times the line's scale, and 1e-2 and 0.1 of it if round-off is large
            there. Each of the others is a tenth of the one before.

    Returns:
        The estimate with bounds on round-off, truncation and kinks; an excluded one where every step crosses kinks that
        winners tell of, or leaves where f is finite.
    """
    first = _FIRST * line.scale if longest is None else longest
    rungs = _down(f, line, first)
    rungs = rungs[: len(rungs) - _silent(f, line, rungs)]
    best = _surest(rungs)
    if longest is None and (best.excluded or best.round_off > CORRECT * abs(best.value)):
        rungs = [*_up(f, line, first), *rungs]
        best = _surest(rungs)
    if best.kink > best.round_off + best.truncation:
        return _at_a_kink(rungs, line.scale) or _near_kinks(f, rungs, best)
    return best


def _surest(rungs: Sequence[Estimate]) -> Estimate:
    """The rung of least uncertainty of those that have shorter ones to bear them out."""
    # Without enough rungs, the longest one has the most witnesses.
    believed = weigh(rungs)[: max(1, len(rungs) - _WITNESSES)]
    return min(believed, key=lambda rung: rung.uncertainty, default=_UNTRIED)


def _down(f: Function, line: Line, longest: float) -> list[Estimate]:
    """Central differences at shorter and shorter steps, until round-off leaves no digit."""
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
    """Central differences at steps longer than that, from long to short."""
    rungs = []
    for h in (_SHRINK**2 * shortest, _SHRINK * shortest):
        try:
            rungs.append(central(f, line, h))
        except (StepError, FloatingPointError):
            continue
    return [rung for rung in rungs if not rung.excluded]


def _silent(f: Function, line: Line, rungs: Sequence[Estimate]) -> int:
    """How many of the shortest steps tell nothing, since f rounds them away.

    Where f does not change at all at short steps but does at longer ones, it is either constant here, with a kink not
    far away, or has steps of its own, as what computes in single precision has. In the latter case it does not change
    at short steps from any other place either.
    """
    flat = next((i for i, rung in enumerate(reversed(rungs)) if rung.value or rung.gap), 0)
    if not flat or max(abs(rungs[-flat - 1].value), abs(rungs[-flat - 1].gap)) <= rungs[-flat - 1].round_off:
        return 0
    moving, still = rungs[-flat - 1], rungs[-flat]
    side = 1.0 if moving.value * moving.gap >= 0 else -1.0  # where f changes more
    elsewhere = side * 3.7 * moving.step
    # As short as double precision allows: steps of single precision are not to be met by accident.
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
    """The same rungs, from long steps to short, with what the shorter ones say about the longer."""
    noise, spread = _steady(
        [rung.value for rung in rungs], [rung.round_off for rung in rungs], [rung.step for rung in rungs]
    )
    judged = []
    seen = last = 0.0  # the jump of the slope that longer steps saw, until a step shows that it lies farther away
    for k, rung in enumerate(rungs):
        jump, blur = _jump(rungs, noise, k)
        kink = seen
        if jump > blur:
            # What is left of a smooth function's gaps falls with h^3.
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
    """The jump of the slope within a rung's step, and what noise makes of a smooth function's.

    The gap between the slopes to both sides of a smooth place falls with h: what a straight line through the gaps at
    two steps leaves at 0 is a kink's.
    """
    if k + 1 == len(rungs) or math.isnan(rungs[k].gap + rungs[k + 1].gap):
        return 0.0, 0.0
    ratio = rungs[k].step / rungs[k + 1].step
    jump = abs(ratio * rungs[k + 1].gap - rungs[k].gap) / (ratio - 1)
    return jump, 4 * (ratio * noise[k + 1] + noise[k]) / (ratio - 1)


def _steady(values: list[float], round_off: list[float], steps: list[float]) -> tuple[list[float], list[float]]:
    """(noise, spread) of each of a ladder's values: what rounding does to it, and by how much shorter steps differ.

    The shortest value has nothing to be compared with: its spread is infinite.
    """
    count = len(values)
    apart = [abs(values[k] - values[k + 1]) for k in range(count - 1)]
    # What the shortest steps scatter by is noise, whatever round-off was thought to be. The noise in the function's
    # values does not depend on h; the shorter of two steps has more of it in its quotient.
    scatter = _scatter([gap * h for gap, h in zip(apart, steps[1:], strict=True)])
    noise = [max(off, _SCATTER * scatter / h) for off, h in zip(round_off, steps, strict=True)]
    spread = [math.inf] * count
    for k in reversed(range(count - 1)):
        # Truncation falls with h^2. Where noise hides it from the shorter step, the longer one shows how large it is.
        above = apart[k - 1] * (steps[k] / steps[k - 1]) ** 2 if k else 0.0
        own = spread[k] = _TRUNCATION * apart[k] + min(above, noise[k + 1])
        # Shorter steps that contradict this one are right, to within what they themselves are known to.
        for j in range(k + 1, count):
            distance = abs(values[k] - values[j])
            if distance > noise[k] + own + noise[j]:
                spread[k] = max(spread[k], distance + noise[j] + (spread[j] if j + 1 < count else 0.0))
    return noise, spread


def _scatter(moves: Sequence[float]) -> float:
    """The largest of the last of these differences between function values, at shorter and shorter steps.

    Those of noise are of one size. Those before, which truncation makes, fall with the step; they are left out.
    """
    largest = moves[-1] if moves else 0.0
    for move in reversed(moves[-_TAIL:-1]):
        if move > _ALIKE * largest > 0:
            break
        largest = max(largest, move)
    return largest


def _at_a_kink(rungs: Sequence[Estimate], scale: float) -> Estimate | None:
    """The middle of the slopes to both sides of a kink at x itself.

    None unless both slopes stay the same down to very short steps: otherwise there may be other kinks nearer by, and
    the derivative between them be anything.
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
    """What is known where kinks are nearer than round-off lets one see.

    If the gap is small beside the derivative, others nearby are taken to do no more than ``_HIDDEN`` times that. If
    not, the truncation is infinite, and the kink's share covers the slopes to both sides at the shortest step that
    still has digits.
    """
    if _HIDDEN * best.kink < abs(best.value):
        return replace(best, kink=_HIDDEN * best.kink)
    f.kinked = True
    both = [rung for rung in rungs if not math.isnan(rung.gap)]
    reach = max(abs(rung.value) + abs(rung.gap) / 2 for rung in both)
    shortest = min((rung for rung in both if rung.round_off < _DIGITS * reach), key=lambda r: r.step, default=both[0])
    kink = abs(shortest.gap) / 2 + shortest.round_off
    return replace(best, value=shortest.value, step=shortest.step, kink=kink, truncation=math.inf)
