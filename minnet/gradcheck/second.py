"""A second look, at shorter steps, where the gradients agree at the first one.

A function may have a slope that a step of 1e-5 does not see: a bump that is narrower, a kink that is nearer. A gradient
that lacks it then agrees. One direction through all coordinates tells whether there is anything of the kind, for a few
evaluations; only if there is, every coordinate is looked at.
"""

from collections.abc import Sequence

import numpy as np

from .. import streams
from .numeric import Coordinate, Direction, Estimate, Function, Line, StepError, central
from .thresholds import CORRECT

# The gap between the slopes to both sides is h f'': one of more than that times h |f'| / scale may be a kink's.
_CURVED = 100.0
_SHORTER = (1e-2, 1e-4, 1e-7)  # steps as shares of the first
_NARROWS = 10.0  # by how much a smooth function's gap falls from one of these to the next, at least


def doubted(f: Function, lines: Sequence[Line], analytic: np.ndarray, estimates: Sequence[Estimate]) -> list[int]:
    """The lines of which shorter steps tell otherwise than first ``estimates`` that agree with the analytic slopes."""
    if not lines:
        return []
    kinked = [i for i, line in enumerate(lines) if _seems_kinked(line, estimates[i])]
    found = {i for i in kinked if _differs(f, lines[i], float(analytic[i]), estimates[i], _SHORTER[0])}
    share = _contradicting(f, lines, analytic, estimates)
    if share is not None:
        found |= {i for i, line in enumerate(lines) if _differs(f, line, float(analytic[i]), estimates[i], share)}
    return sorted(found)


def _seems_kinked(line: Line, estimate: Estimate) -> bool:
    """Whether the slopes to both sides differ by more than they usually do where f is smooth."""
    curved = _CURVED * estimate.step / line.scale * abs(estimate.value)
    return abs(estimate.gap) > max(curved, 4 * estimate.round_off)


def _contradicting(
    f: Function, lines: Sequence[Line], analytic: np.ndarray, estimates: Sequence[Estimate]
) -> float | None:
    """The share of the first step at which one direction's slope is not the analytic one; None if it is at each."""
    largest = int(np.argmax(np.abs(analytic)))
    line: Line
    if isinstance(lines[largest], Coordinate):
        line, slope, size = _through(lines, analytic)  # type: ignore[arg-type]
    else:
        line, slope, size = lines[largest], float(analytic[largest]), float(abs(analytic[largest]))
    step = float(np.median([e.step / own.scale for e, own in zip(estimates, lines, strict=True)])) * line.scale
    # Rounding of where the elements are moved to.
    blur = 2 * f.eps * size * max(own.magnitude / own.scale for own in lines)
    gap = np.inf
    for share in _SHORTER:
        look = _attempt(f, line, share * step)
        if look.excluded:
            continue
        noise = look.round_off + blur / (share * step)
        if abs(look.value - slope) > noise + CORRECT * size or abs(look.gap) > gap / _NARROWS + 4 * noise:
            return share
        gap = abs(look.gap)
    return None


def _through(lines: Sequence[Coordinate], analytic: np.ndarray) -> tuple[Direction, float, float]:
    """(a random direction that moves every coordinate by about its scale, the slope along it, sum of all its parts)."""
    rng = streams.generator(0, "a direction for a second look")
    flat = lines[0].flat
    moves = rng.uniform(0.5, 1.5, len(lines)) * rng.choice((-1.0, 1.0), len(lines)) * [line.scale for line in lines]
    vector = np.zeros(flat.size)
    vector[[line.index for line in lines]] = moves
    parts = moves * analytic
    return Direction([flat], [vector], 0), float(parts.sum()), float(np.abs(parts).sum())


def _differs(f: Function, line: Line, analytic: float, first: Estimate, share: float) -> bool:
    """Whether a shorter step contradicts the analytic slope, or that x is not at a kink."""
    look = _attempt(f, line, share * first.step)
    if look.excluded:
        return False
    noise = first.round_off + look.round_off
    if abs(look.value - analytic) > noise + CORRECT * abs(analytic):
        return True
    return abs(look.gap) > abs(first.gap) / _NARROWS + 4 * noise


def _attempt(f: Function, line: Line, h: float) -> Estimate:
    """A central difference; an excluded one where f is not finite, or x has no digits for the step."""
    try:
        return central(f, line, h)
    except (FloatingPointError, StepError):
        return Estimate(np.nan, np.inf, h, excluded=True)
