"""The verdict: is a difference an error, or do round-off, truncation or a kink explain it?

Every coordinate is first compared at one step. The check looks closer where the gradients disagree, where the slopes to
both sides differ by more than those of a smooth function, and where a shorter step contradicts the first one. It then
uses a ladder of steps, which does not depend on the analytic gradient. The error that remains unexplained decides the
verdict. ``judge`` and ``settle`` compare, and ``Table.verdict`` has the rules.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .ladder import climb
from .listening import listen
from .numeric import Direction, Estimate, Function, Line, StepError, central, richardson, shrinking
from .result import TensorCheck
from .second import doubted
from .thresholds import CORRECT, DOUBTFUL, WRONG

H = 1e-5  # the first step; Richardson's extrapolation uses a longer one
_H_RICHARDSON = 1e-3
# Longest step for derivatives that seem to be 0. At longer steps, a difference is more precise than the round-off of
# the analytic gradient.
_LONGER = 1e-3
_FLAT = 0.1  # a slope at long steps below this share of the gradient counts as flat
_BLUNT = 1e-4  # a numerical gradient with a larger uncertainty cannot judge anything
_TINY = 1e-10  # smaller gradients are too small to trust, according to CS231n
_CONFIRMED = 3  # number of confirmed errors after which no further coordinate is looked at closer
UNSEEN = "all that f rises by is below its own round-off: leave out what is constant in f"
HIDDEN_KINKS = "kinks so near that rounding hides them: check fewer samples, or at another place"


@dataclass(frozen=True)
class Steps:
    """How derivatives are taken.

    Attributes:
        h: the caller's step; None for 1e-5 (0.008 in float32), and a ladder of steps where that disagrees.
        method: ``"central"``, ``"richardson"`` or ``"complex"``.
    """

    h: float | None = None
    method: str = "central"

    def first(self, f: Function, line: Line) -> Estimate:
        """Return the first estimate, which every coordinate gets."""
        if self.method == "richardson":
            return richardson(f, line, self.h or f.step(_H_RICHARDSON, 4) * line.scale)
        if self.h is not None:
            return central(f, line, self.h)
        return shrinking(f, line, f.step(H, 2) * line.scale)

    def closer(self, f: Function, line: Line, analytic: float) -> Estimate:
        """Return the best available estimate, with bounds on its errors.

        For a step of the caller, a half and a quarter of it give a bound on its truncation. If that does not explain
        the difference from the analytic derivative, a ladder of shorter steps does.
        """
        if self.h is None:
            return climb(f, line)
        whole = self.first(f, line)
        if whole.excluded:
            return whole
        # A truncation of c h^2 + d h^4 becomes c h^2 / 4 + d h^4 / 16 with half the step, and less with a quarter. If c
        # and d have opposite signs, one difference may be small, but not both. The larger one is above half of the
        # truncation.
        shorter = [_attempt(replace(self, h=self.h / k), f, line) for k in (2, 4)]
        gaps = [abs(whole.value - other.value) for other in shorter if not other.excluded]
        halved = replace(whole, truncation=2 * max(gaps, default=math.inf))
        if abs(halved.value - analytic) <= halved.uncertainty:
            return halved
        best = climb(f, line, self.h)
        if best.excluded:
            return halved
        distance = abs(whole.value - best.value)
        if best.kink > best.round_off + best.truncation:
            return replace(whole, value=best.value, kink=best.kink, truncation=best.uncertainty - best.kink)
        return replace(whole, truncation=distance + best.uncertainty if distance > best.uncertainty else distance)


def _attempt(steps: Steps, f: Function, line: Line) -> Estimate:
    """Return the first estimate, or an excluded one if f overflows or single precision does not resolve the step."""
    try:
        return steps.first(f, line)
    except (FloatingPointError, StepError):
        return Estimate(math.nan, math.inf, steps.h or 0.0, excluded=True)


def not_finite(name: str, gradient: np.ndarray, poisoned: bool) -> TensorCheck | None:
    """Return the verdict on a gradient with NaN or infinity; None if all of it is finite.

    ``poisoned``: whether the gradient was filled with NaN beforehand.
    """
    finite = np.isfinite(gradient)
    if finite.all():
        return None
    index = tuple(int(i) for i in np.unravel_index(np.argmin(finite), gradient.shape))
    value = float(gradient[index])
    note = "not written" if poisoned and math.isnan(value) else f"{value} in the analytic gradient at {list(index)}"
    note = note.replace("nan in", "NaN in")
    return TensorCheck(
        name, "wrong", math.inf, math.inf, math.inf, index, value, math.nan, 0.0, 0.0, 0, gradient.size, note=note
    )


def judge(
    f: Function, name: str, lines: Sequence[Line], analytic: np.ndarray, steps: Steps, size: int, note: str = ""
) -> TensorCheck:
    """Compare the analytic derivative along each line with a numerical one, and return the verdict on the tensor.

    Args:
        f: the function.
        name: name of the tensor.
        lines: coordinates or directions.
        analytic: analytic derivative along each line.
        steps: how to take numerical derivatives.
        size: number of elements of the whole tensor.
        note: a note to add to the verdict.
    """
    analytic = np.asarray(analytic, np.float64)
    estimates = [steps.first(f, line) for line in lines]
    table = Table(analytic, estimates)
    # Noise is measured where the function changes most. Where it hardly changes, rounding makes it constant.
    if (table.excess >= CORRECT).any() and listen(f, lines[int(np.argmax(np.abs(table.numeric)))]):
        estimates = [steps.first(f, line) for line in lines]
    table = Table(analytic, estimates)
    agree = [int(i) for i in np.flatnonzero((table.excess < CORRECT) & ~table.excluded)]
    unsure = doubted(f, [lines[i] for i in agree], analytic[agree], [estimates[i] for i in agree])
    return settle(f, name, lines, analytic, estimates, steps, size, note, [agree[i] for i in unsure])


def settle(
    f: Function,
    name: str,
    lines: Sequence[Line],
    analytic: np.ndarray,
    estimates: list[Estimate],
    steps: Steps,
    size: int,
    note: str = "",
    doubted: Sequence[int] = (),
) -> TensorCheck:
    """Return the verdict for given first estimates.

    Lines that disagree are looked at closer, the worst of them first, and then the lines ``doubted``.
    """
    analytic = np.asarray(analytic, np.float64)
    table = Table(analytic, estimates)
    order = [int(i) for i in np.argsort(-table.excess) if table.excess[i] >= CORRECT]
    if steps.h is None and table.powerless.any() and (table.powerless | (table.size == 0)).all():
        # All is round-off. A longer step may be above it.
        for i in {int(np.argmax(np.abs(analytic))), int(np.argmax(np.abs(table.numeric)))}:
            estimates[i] = _longer(f, lines[i], estimates[i], float(analytic[i]))
        table = Table(analytic, estimates)
        order = [i for i in range(len(lines)) if table.excess[i] >= CORRECT]
    confirmed = 0
    unseen = [*order, *(i for i in doubted if i not in order)]
    while unseen:
        i = unseen.pop(0)
        look = steps.closer(f, lines[i], float(analytic[i]))
        # If winners reported the kink, the side that backward uses is known and was judged.
        hidden = look.kink > max(look.round_off, CORRECT * max(abs(look.value), abs(analytic[i])))
        if hidden and abs(analytic[i] - look.value) <= look.kink + look.round_off:
            look = replace(look, crossed=True, excluded=True)
        estimates[i] = replace(look, crossed=look.crossed or estimates[i].crossed)
        table = Table(analytic, estimates)
        confirmed += bool(table.excess[i] >= CORRECT)
        if table.excess[i] >= WRONG or confirmed == _CONFIRMED:
            break
    # Lines that were not looked at closer may have an explanation, so they do not decide.
    table.excess[unseen] = 0.0
    return table.verdict(name, lines, steps, size, f.coarse, note)


def _longer(f: Function, line: Line, first: Estimate, analytic: float) -> Estimate:
    """Return an estimate from longer steps, for a first estimate that is only round-off.

    If f is flat at longer steps and the gradient is not 0, f may have a slope that ends nearby. Longer steps do not
    detect it, and shorter steps have no digits. The truncation is then infinite.
    """
    look = climb(f, line, None if f.coarse else _LONGER * line.scale)
    if look.uncertainty > first.uncertainty:
        return first
    flat = abs(look.value) < _FLAT * abs(analytic)
    if flat and abs(analytic - look.value) >= look.uncertainty + CORRECT * abs(analytic):
        return replace(first, truncation=math.inf)
    return look


class Table:
    """Analytic and numeric derivatives along the lines of one tensor."""

    def __init__(self, analytic: np.ndarray, estimates: list[Estimate]) -> None:
        self.analytic, self.estimates = analytic, estimates
        self.excluded = np.array([e.excluded for e in estimates], bool)
        self.numeric = np.where(self.excluded, analytic, [e.value for e in estimates])
        self.noise = np.where(self.excluded, 0.0, [e.round_off for e in estimates])
        self.kink = np.where(self.excluded, 0.0, [e.kink for e in estimates])
        self.truncation = np.where(self.excluded, 0.0, np.nan_to_num([e.truncation for e in estimates], posinf=1e300))
        # Lines that are left out at a kink that no winner reports.
        self.hidden = np.array([e.excluded and e.kink > 0 for e in estimates], bool)
        self.size = np.maximum(np.abs(analytic), np.abs(self.numeric))
        self.difference = np.abs(analytic - self.numeric)
        self.uncertainty = self.noise + self.truncation + self.kink
        self.excess = self._share(np.maximum(self.difference - self.uncertainty, 0.0))
        self.powerless = (self.size <= self.uncertainty) & (self.size > 0)

    def _share(self, difference: np.ndarray) -> np.ndarray:
        return difference / np.where(self.size == 0, 1.0, self.size)

    def verdict(
        self, name: str, lines: Sequence[Line], steps: Steps, size: int, coarse: bool, note: str
    ) -> TensorCheck:
        """Return the verdict on the tensor, from its lines."""
        if not self.estimates:
            return TensorCheck(name, "correct", 0.0, 0.0, 0.0, (), math.nan, math.nan, 0.0, 0.0, 0, size, note="empty")
        error = self._share(self.difference)
        word, more = self._decide(steps, coarse)
        # If all differences are explained, the plain error determines the worst coordinate.
        worst = int(np.argmax(self.excess if self.excess.any() else error))
        if self.excluded.all():
            worst = 0
        return TensorCheck(
            name=name,
            verdict=word,
            error=float(error.max()),
            absolute=float(self.difference.max()),
            excess=float(self.excess.max()),
            worst=lines[worst].where,
            analytic=float(self.analytic[worst]),
            numeric=float(self.estimates[worst].value),
            uncertainty=float(self.uncertainty[worst]),
            step=float(self.estimates[worst].step),
            checked=int(np.count_nonzero(~self.excluded)),
            size=size,
            crossed=sum(e.crossed for e in self.estimates),
            excluded=int(np.count_nonzero(self.excluded)),
            tiny=int(np.count_nonzero(self.powerless | ((self.size < _TINY) & (self.size > 0)))),
            note="; ".join(filter(None, (more, note))),
            directions=isinstance(lines[worst], Direction),
        )

    def _decide(self, steps: Steps, coarse: bool) -> tuple[str, str]:
        """Return the verdict and a note on it."""
        if self.excluded.all():
            return "kink", ""
        if self.hidden.any() and not (self.size > self.noise)[~self.excluded].any():
            return "kink", "the gradient is 0 except at kinks, so the check has nothing to compare"
        excess, largest = float(self.excess.max()), float(self.size.max())
        if excess >= WRONG:
            return "wrong", ""
        # In single precision, the best uncertainty is about 1e-3, which can show only that a gradient is wrong.
        least = WRONG * largest if coarse else max(_BLUNT, DOUBTFUL * largest)
        blunt = (self.uncertainty > least) & (self.size > 0)
        if blunt.any():
            i = int(np.argmax(self.uncertainty))
            if self.estimates[i].unseen:
                return "round-off", UNSEEN
            if self.kink[i] > self.noise[i]:
                return "kink", HIDDEN_KINKS
            if self.noise[i] >= self.truncation[i]:
                return "round-off", ""
            if steps.h is None:
                return (
                    "truncation",
                    "no two step lengths agree, because f is too steep or kinks are too near: check fewer samples, "
                    "or at another place",
                )
            return "truncation", ""
        if excess >= CORRECT:
            return "suspicious", ""
        # At a step of the caller, a difference that only truncation explains is an error of the step.
        if steps.h is not None and (self._share(self.difference - self.noise) >= CORRECT).any():
            return "truncation", f"h = {steps.h:.0e} is too long"
        if self.powerless.any() and self.powerless[~self.excluded].all():
            return "correct", f"0 within round-off of {self.noise.max():.0e}"
        if coarse and largest:
            return "correct", f"single precision: errors below {self.uncertainty.max():.0e} are not seen"
        return "correct", ""
