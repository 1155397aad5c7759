"""What schedules share: comparing times, mixing values, checking arguments."""

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence

from .. import checks

HAIR = 1e-11  # rounding in sums and products of lengths stays below this share of a time


def late(t: float) -> float:
    """t, a hair later: a boundary at 0.1 + 0.2 is reached at 0.3."""
    return t * (1 + HAIR)


def mix(low: float, high: float, share: float) -> float:
    """low + (high - low) * share, written so that shares 0 and 1 give low and high exactly, equal ends themselves."""
    return float(low) if low == high else low * (1 - share) + high * share


def piece(starts: Sequence[float], t: float) -> int:
    """Number of the last of ``starts`` that is not after t; -1 if all are."""
    return bisect.bisect_right(starts, late(t)) - 1


def once(time: float, kind: str, until: float) -> list[tuple[float, str]]:
    """The mark of something that happens once, if it does before ``until``. Nothing happens at time 0."""
    return [(time, kind)] if 0 < time < until else []


def check_range(who: str, low_name: str, low: float, high_name: str, high: float) -> None:
    """Both numbers finite and at least 0, and the first not above the second."""
    checks.non_negative(who, low_name, low)
    checks.non_negative(who, high_name, high)
    if low > high:
        raise ValueError(f"{who}: expected {low_name} of at most {high_name}; got {low} and {high}")


def listed(who: str, name: str, values: Iterable[float]) -> tuple[float, ...]:
    """The values as a tuple, which nobody can change later."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{who}: expected {name} as a list of numbers; got {values!r}")
    return tuple(values)


def check_rising(who: str, name: str, times: Sequence[float]) -> None:
    """ValueError unless each time is later than the one before."""
    if any(a >= b for a, b in itertools.pairwise(times)):
        raise ValueError(f"{who}: expected increasing {name}; got {times}")


def step_of(time: float, kind: str) -> int:
    """The step at which a mark shows."""
    return math.ceil(time * (1 - HAIR)) - (1 if kind == "trough" else 0)
