"""What a run makes of the schedules that it is given: functions become schedules, epochs of the run become steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import checks
from .schedule import Constant, Schedule


@dataclass(frozen=True)
class Function(Schedule):
    """A function of the step as a schedule: whole steps reach it as Python's ints. Nothing is known of its course."""

    function: Callable[[Any], float]

    def at(self, t: float) -> float:
        return self.function(int(t) if t == int(t) else t)


def as_schedule(who: str, name: str, value: Any) -> Schedule:
    """A number, a schedule or a function of the step, as a schedule; TypeError or ValueError for anything else."""
    if isinstance(value, Schedule):
        return value
    if callable(value) and not isinstance(value, type):
        return Function(value)
    return Constant(checks.non_negative(who, name, value))
