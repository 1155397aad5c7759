"""A second look, with shorter steps, at coordinates whose gradients agree at the first step.

A step of 1e-5 does not detect a bump that is narrower or a kink that is nearer, and a gradient that ignores it seems to
agree. One direction through all coordinates shows in a few evaluations whether there is such a feature. Only then is
every coordinate checked again.
"""

from collections.abc import Sequence

import numpy as np

from ..base import streams
from .numeric import Coordinate, Direction, Estimate, Function, Line, StepError, central
from .thresholds import CORRECT

# The gap between both one-sided slopes is h f''. A gap above this multiple of h |f'| / scale may be due to a kink.
_CURVED = 100.0
_SHORTER = (1e-2, 1e-4, 1e-7)  # steps, as shares of the first step
_NARROWS = 10.0  # factor by which a smooth function's gap falls at least from one of these steps to the next


def doubted(f: Function, lines: Sequence[Line], analytic: np.ndarray, estimates: Sequence[Estimate]) -> list[int]:
    """Return the lines for which shorter steps contradict first estimates that agree with the analytic slopes."""
    if not lines:
        return []
    kinked = [i for i, line in enumerate(lines) if _seems_kinked(line, estimates[i])]
    found = {i for i in kinked if _differs(f, lines[i], float(analytic[i]), estimates[i], _SHORTER[0])}
    share = _contradicting(f, lines, analytic, estimates)
    if share is not None:
        found |= {i for i, line in enumerate(lines) if _differs(f, line, float(analytic[i]), estimates[i], share)}
    return sorted(found)


def _seems_kinked(line: Line, estimate: Estimate) -> bool:
    """Return whether the slopes to both sides differ by more than is usual for a smooth f."""
    curved = _CURVED * estimate.step / line.scale * abs(estimate.value)
    return abs(estimate.gap) > max(curved, 4 * estimate.round_off)


def _contradicting(
    f: Function, lines: Sequence[Line], analytic: np.ndarray, estimates: Sequence[Estimate]
) -> float | None:
    """Return the share of the first step at which a direction's slope contradicts the analytic slope, or None."""
    largest = int(np.argmax(np.abs(analytic)))
    line: Line
    if isinstance(lines[largest], Coordinate):
        line, slope, size = _through(lines, analytic)  # type: ignore[arg-type]
    else:
        line, slope, size = lines[largest], float(analytic[largest]), float(abs(analytic[largest]))
    step = float(np.median([e.step / own.scale for e, own in zip(estimates, lines, strict=True)])) * line.scale
    # Rounding of the moved elements.
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
    """Return (random direction that moves coordinates by about their scale, slope along it, sum of absolute parts)."""
    rng = streams.generator(0, "a direction for a second look")
    flat = lines[0].flat
    moves = rng.uniform(0.5, 1.5, len(lines)) * rng.choice((-1.0, 1.0), len(lines)) * [line.scale for line in lines]
    vector = np.zeros(flat.size)
    vector[[line.index for line in lines]] = moves
    parts = moves * analytic
    return Direction([flat], [vector], 0), float(parts.sum()), float(np.abs(parts).sum())


def _differs(f: Function, line: Line, analytic: float, first: Estimate, share: float) -> bool:
    """Return whether a shorter step contradicts the analytic slope, or shows that x is at a kink."""
    look = _attempt(f, line, share * first.step)
    if look.excluded:
        return False
    noise = first.round_off + look.round_off
    if abs(look.value - analytic) > noise + CORRECT * abs(analytic):
        return True
    return abs(look.gap) > abs(first.gap) / _NARROWS + 4 * noise


def _attempt(f: Function, line: Line, h: float) -> Estimate:
    """Return a central difference; an excluded one if f is not finite or the step vanishes in rounding."""
    try:
        return central(f, line, h)
    except (FloatingPointError, StepError):
        return Estimate(np.nan, np.inf, h, excluded=True)
