"""From numbers to verdicts: is a difference an error, or do round-off, truncation or a kink explain it?

Every coordinate is first compared at one step. Where the gradients disagree, where the slopes to both sides differ by
more than a smooth function's, and where a shorter step tells otherwise, the check looks closer: it climbs a ladder of
steps, which never sees the analytic gradient. What is then left unexplained decides.
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

H = 1e-5  # the first step; for Richardson's extrapolation a longer one
_H_RICHARDSON = 1e-3
# For what seems to be 0. At still longer steps a difference is sharper than the round-off in the analytic gradient.
_LONGER = 1e-3
_FLAT = 0.1  # a slope seen at long steps that is nothing beside the gradient, in units of that
_BLUNT = 1e-4  # a numerical gradient with more round-off than that cannot judge anything
_TINY = 1e-10  # CS231n: gradients below are asking for trouble
_CONFIRMED = 3  # errors that a closer look confirmed, after which the rest is left to the first comparison
HIDDEN_KINKS = "kinks nearer than round-off lets one see: fewer points, or another place"


@dataclass(frozen=True)
class Steps:
    """How derivatives are taken: ``h``, or None for 1e-5 (0.008 in float32) and a ladder where that disagrees;
    ``method``.
    """

    h: float | None = None
    method: str = "central"

    def first(self, f: Function, line: Line) -> Estimate:
        """The estimate that every coordinate gets."""
        if self.method == "richardson":
            return richardson(f, line, self.h or f.step(_H_RICHARDSON, 4) * line.scale)
        if self.h is not None:
            return central(f, line, self.h)
        return shrinking(f, line, f.step(H, 2) * line.scale)

    def closer(self, f: Function, line: Line, analytic: float) -> Estimate:
        """The best that can be had, with bounds on its errors.

        At a step of the caller's, halves of it bound its truncation, and where those do not explain the difference to
        the analytic derivative, a ladder of shorter ones.
        """
        if self.h is None:
            return climb(f, line)
        whole = self.first(f, line)
        if whole.excluded:
            return whole
        # Of c h^2 + d h^4, half the step leaves c h^2 / 4 + d h^4 / 16, and a quarter less still. One difference may be
        # small where c and d have opposite signs, but not both; the larger one is above half of the truncation.
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
    """The first estimate; an excluded one where f overflows or single precision does not resolve the step."""
    try:
        return steps.first(f, line)
    except (FloatingPointError, StepError):
        return Estimate(math.nan, math.inf, steps.h or 0.0, excluded=True)


def not_finite(name: str, gradient: np.ndarray, poisoned: bool) -> TensorCheck | None:
    """The verdict on a gradient with NaN or infinity in it; None if it has none. Looks at all of it in any mode.

    ``poisoned``: whether it was filled with NaN beforehand.
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
    """Compare the analytic derivative along each line with the numerical one; ``size`` is of the whole tensor."""
    analytic = np.asarray(analytic, np.float64)
    estimates = [steps.first(f, line) for line in lines]
    table = Table(analytic, estimates)
    # Noise is heard best where the function changes most: where it is nearly constant, rounding makes it exactly so.
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
    """The verdict, given first estimates. Those that disagree are looked at closer, the worst of them first, and those
    that are ``doubted``.
    """
    analytic = np.asarray(analytic, np.float64)
    table = Table(analytic, estimates)
    order = [int(i) for i in np.argsort(-table.excess) if table.excess[i] >= CORRECT]
    if steps.h is None and table.powerless.any() and (table.powerless | (table.size == 0)).all():
        # Nothing but round-off: see whether a longer step rises above it.
        for i in {int(np.argmax(np.abs(analytic))), int(np.argmax(np.abs(table.numeric)))}:
            estimates[i] = _longer(f, lines[i], estimates[i], float(analytic[i]))
        table = Table(analytic, estimates)
        order = [i for i in range(len(lines)) if table.excess[i] >= CORRECT]
    confirmed = 0
    unseen = [*order, *(i for i in doubted if i not in order)]
    while unseen:
        i = unseen.pop(0)
        look = steps.closer(f, lines[i], float(analytic[i]))
        # Where winners told of the kink, the side that backward takes is known, and was judged.
        hidden = look.kink > max(look.round_off, CORRECT * max(abs(look.value), abs(analytic[i])))
        if hidden and abs(analytic[i] - look.value) <= look.kink + look.round_off:
            look = replace(look, crossed=True, excluded=True)
        estimates[i] = replace(look, crossed=look.crossed or estimates[i].crossed)
        table = Table(analytic, estimates)
        confirmed += bool(table.excess[i] >= CORRECT)
        if table.excess[i] >= WRONG or confirmed == _CONFIRMED:
            break
    # What was not looked at closer may be explained as well: it decides nothing.
    table.excess[unseen] = 0.0
    return table.verdict(name, lines, steps, size, f.coarse, note)


def _longer(f: Function, line: Line, first: Estimate, analytic: float) -> Estimate:
    """The estimate where the first one is nothing but round-off, from steps that rise above it.

    Where f is flat at those and the gradient is not, f may have a slope that ends nearby: longer steps do not see it,
    and shorter ones have no digit. Then nothing is known.
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
        # Left out at a kink that no winner tells of.
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
        """The tensor's, from those of its lines."""
        if not self.estimates:
            return TensorCheck(name, "correct", 0.0, 0.0, 0.0, (), math.nan, math.nan, 0.0, 0.0, 0, size, note="empty")
        error = self._share(self.difference)
        word, more = self._word(steps, coarse)
        # Where nothing is unexplained, the plain error names the worst coordinate.
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

    def _word(self, steps: Steps, coarse: bool) -> tuple[str, str]:
        if self.excluded.all():
            return "kink", ""
        if self.hidden.any() and not (self.size > self.noise)[~self.excluded].any():
            return "kink", "but for what lies on kinks the gradient is 0, which tells nothing"
        excess, largest = float(self.excess.max()), float(self.size.max())
        if excess >= WRONG:
            return "wrong", ""
        # In single precision the best difference has an uncertainty of some 1e-3, which tells no more than wrong.
        least = WRONG * largest if coarse else max(_BLUNT, DOUBTFUL * largest)
        blunt = (self.uncertainty > least) & (self.size > 0)
        if blunt.any():
            i = int(np.argmax(self.uncertainty))
            if self.kink[i] > self.noise[i]:
                return "kink", HIDDEN_KINKS
            if self.noise[i] >= self.truncation[i]:
                return "round-off", ""
            if steps.h is None:
                return (
                    "truncation",
                    "no two steps agree: too steep here, or kinks too near; fewer points, another place",
                )
            return "truncation", ""
        if excess >= CORRECT:
            return "suspicious", ""
        # At a step of the caller's, what truncation alone explains is an error of that step.
        if steps.h is not None and (self._share(self.difference - self.noise) >= CORRECT).any():
            return "truncation", f"h = {steps.h:.0e} is too long"
        if self.powerless.any() and self.powerless[~self.excluded].all():
            return "correct", f"0 within round-off of {self.noise.max():.0e}"
        if coarse and largest:
            return "correct", f"single precision: errors below {self.uncertainty.max():.0e} are not seen"
        return "correct", ""
