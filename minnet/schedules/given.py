"""What a run makes of the schedules that it is given: functions become schedules, epochs of the run become steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NoReturn

from .. import checks
from .base import Schedule, check_schedule
from .pieces import Constant


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


@dataclass(frozen=True)
class InEpochsOfRun(Schedule):
    """A schedule whose lengths are epochs of whichever run it is given to; see ``Schedule.in_epochs``.

    Until then its first value alone is known.
    """

    schedule: Schedule
    in_stairs: bool = False

    def __post_init__(self) -> None:
        check_schedule("InEpochsOfRun", self.schedule)

    @property
    def length(self) -> float:
        return 0.0 if self.schedule.length == 0 else self._unknown()

    def at(self, t: float) -> float:
        return self.schedule.at(0.0) if t == 0 else self._unknown()

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        self._unknown()

    def _unknown(self) -> NoReturn:
        raise ValueError(
            "in_epochs: expected the number of steps in an epoch, as in in_epochs(100), where no Trainer or fit tells "
            f"it; got none for {self.schedule!r}"
        )


def resolved(value: Any, steps_per_epoch: int) -> Any:
    """``value`` with the steps of an epoch put into every ``schedule.in_epochs()`` inside it.

    It may be a schedule, a rule, a group, or a list or tuple of them, and is itself what is returned if there is
    nothing to resolve; anything else is.
    """
    if isinstance(value, InEpochsOfRun):
        return value.schedule.in_epochs(steps_per_epoch, value.in_stairs)
    if isinstance(value, tuple | list):
        parts = tuple(resolved(part, steps_per_epoch) for part in value)
        return value if all(new is old for new, old in zip(parts, value, strict=True)) else parts
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        found = {name: resolved(part, steps_per_epoch) for name, part in own.items()}
        changes = {name: part for name, part in found.items() if part is not own[name]}
        return replace(value, **changes) if changes else value
    return value
