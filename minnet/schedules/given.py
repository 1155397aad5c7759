"""Conversion of numbers and functions to schedules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..base import checks
from .schedule import Constant, Schedule


@dataclass(frozen=True)
class Function(Schedule):
    """A function of the step as a schedule. It receives whole steps as ints. Its length and events are unknown."""

    function: Callable[[Any], float]

    def at(self, t: float) -> float:
        return self.function(int(t) if t == int(t) else t)


def as_schedule(who: str, name: str, value: Any) -> Schedule:
    """Return a number, a schedule or a function of the step as a schedule; raise TypeError or ValueError otherwise."""
    if isinstance(value, Schedule):
        return value
    if callable(value) and not isinstance(value, type):
        return Function(value)
    return Constant(checks.non_negative(who, name, value))
