"""Helpers of schedules: comparisons of times, interpolation, and checks of arguments."""

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence

from ..base import checks

HAIR = 1e-11  # relative rounding error of sums and products of lengths stays below this


def late(t: float) -> float:
    """Return t, increased by the rounding error of times: a boundary at 0.1 + 0.2 is reached at 0.3."""
    return t * (1 + HAIR)


def mix(low: float, high: float, share: float) -> float:
    """Return low + (high - low) * share, computed so that shares of 0 and 1, and equal ends, are exact."""
    return float(low) if low == high else low * (1 - share) + high * share


def piece(starts: Sequence[float], t: float) -> int:
    """Return the index of the last of ``starts`` that is not after t, or -1."""
    return bisect.bisect_right(starts, late(t)) - 1


def once(time: float, kind: str, until: float) -> list[tuple[float, str]]:
    """Return the mark of a single event, if 0 < time < until, as a list."""
    return [(time, kind)] if 0 < time < until else []


def check_range(who: str, low_name: str, low: float, high_name: str, high: float) -> None:
    """Raise an error unless both numbers are finite and 0 <= low <= high."""
    checks.non_negative(who, low_name, low)
    checks.non_negative(who, high_name, high)
    if low > high:
        raise ValueError(f"{who}: expected {low_name} of at most {high_name}; got {low} and {high}")


def listed(who: str, name: str, values: Iterable[float]) -> tuple[float, ...]:
    """Return the values as an immutable tuple; raise TypeError if they are not iterable."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{who}: expected {name} as a list of numbers; got {values!r}")
    return tuple(values)


def check_rising(who: str, name: str, times: Sequence[float]) -> None:
    """Raise ValueError unless the times strictly increase."""
    if any(a >= b for a, b in itertools.pairwise(times)):
        raise ValueError(f"{who}: expected increasing {name}; got {times}")


def step_of(time: float, kind: str) -> int:
    """Return the step that a mark belongs to."""
    return math.ceil(time * (1 - HAIR)) - (1 if kind == "trough" else 0)
