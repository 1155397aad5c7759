"""What a schedule is, and what the others share: comparing times, mixing values, checking arguments."""

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from .. import checks

if TYPE_CHECKING:
    from .arithmetic import Product, Scaled, Sum
    from .order import Offset
    from .time import Staircase


@dataclass(frozen=True, order=True)
class Event:
    """Something that happens at a step: ``"boundary"``, ``"peak"``, ``"trough"``, ``"restart"`` or ``"end"``."""

    step: int
    kind: str


class Schedule:
    """A frozen dataclass that gives a value for any time t >= 0, measured in steps.

    Subclasses define ``at(t)``, where t may fall between steps (``in_epochs`` needs that), ``marks(until)``, the
    times below ``until`` at which something happens, and ``length``. ``at`` alone is enough.
    """

    @property
    def length(self) -> float:
        """Steps after which the value is constant for ever: 0 if it always is, infinity if it never is."""
        return math.inf

    def at(self, t: float) -> float:
        """The value at time t >= 0."""
        raise NotImplementedError(f"{type(self).__name__} must define at(t)")

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        """(time, kind) of all that happens from 0 to ``until``, without it."""
        return ()

    def events(self, steps: int) -> list[Event]:
        """All events of the first ``steps`` steps, in order.

        A mark between two steps shows at the first step at or after it, a trough at the last step before its restart.
        """
        checks.count(type(self).__name__, "steps", steps, least=0)
        found = set()
        for time, kind in self.marks(steps + 1):
            step = _step_of(time, kind)
            if 0 <= step < steps:
                found.add(Event(step, kind))
        return sorted(found)

    def preview(self, steps: int) -> np.ndarray:
        """The values of the first ``steps`` steps, a float64 array of shape (steps,)."""
        checks.count(type(self).__name__, "steps", steps, least=0)
        return np.array([self(step) for step in range(steps)], np.float64)

    def plot(self, path: Any = None, steps: int | None = None) -> Any:
        """Draw the first ``steps`` steps, with their events. ``plots.schedules`` draws several schedules.

        Args:
            path: a file's path, an open binary file, or None, for which the Matplotlib figure is returned.
            steps: how many steps to draw; the schedule's length and a tenth if None. ValueError if it has no end.
        """
        from .. import plots

        if steps is None:
            if not 0 < self.length < math.inf:
                raise ValueError(
                    f"{type(self).__name__}.plot: expected steps=..., as the schedule has no end; got None"
                )
            steps = math.ceil(1.1 * self.length) + 1
        return plots.schedules(path, {type(self).__name__: self}, steps)

    def in_epochs(self, steps_per_epoch: int | None = None, staircase: bool = False) -> "Schedule":
        """This schedule with its lengths read as epochs.

        Args:
            steps_per_epoch: how many steps an epoch has. If None, the ``Trainer`` (or ``fit``) that the schedule is
                given to, for a rate or any other hyper-parameter, puts the number of its own epochs in.
            staircase: whether each epoch's first value is held throughout it.

        Raises:
            ValueError: if a part of this schedule is in epochs of a run already.
        """
        from .given import InEpochsOfRun, resolved
        from .time import InEpochs

        if resolved(self, 1) is not self:
            raise ValueError(f"in_epochs: expected lengths that are steps so far; got some that are epochs in {self!r}")
        if steps_per_epoch is None:
            return InEpochsOfRun(self, staircase)
        checks.count("InEpochs", "steps_per_epoch", steps_per_epoch)
        return InEpochs(self.staircase(1), steps_per_epoch) if staircase else self._stretched(steps_per_epoch)

    def _stretched(self, factor: int) -> "Schedule":
        """All lengths times ``factor``. Where a single step has a meaning of its own, it stays a single step."""
        from .time import InEpochs

        return InEpochs(self, factor)

    def staircase(self, every: float) -> "Staircase":
        """This schedule in stairs: each value is held for ``every`` steps. See ``Staircase``."""
        from .time import Staircase

        return Staircase(self, every)

    def offset(self, steps: float) -> "Offset":
        """This schedule, started ``steps`` steps later, or inside it if ``steps`` is negative. See ``Offset``."""
        from .order import Offset

        return Offset(self, steps)

    def __call__(self, step: float) -> float:
        if not step >= 0:
            raise ValueError(f"{type(self).__name__}: expected a step of at least 0; got {step}")
        if step == math.inf:
            raise ValueError(f"{type(self).__name__}: expected a finite step; got {step}")
        return self.at(float(step))  # NumPy's integers overflow, and its powers have other last bits

    def __mul__(self, factor: "Schedule | float") -> Union["Product", "Scaled"]:
        from .arithmetic import Product, Scaled

        return Product(self, factor) if isinstance(factor, Schedule) else Scaled(self, factor)

    __rmul__ = __mul__

    def __add__(self, other: "Schedule | float") -> "Sum":
        from .arithmetic import Sum
        from .pieces import Constant

        return Sum(self, other if isinstance(other, Schedule) else Constant(other))

    __radd__ = __add__


HAIR = 1e-11  # rounding in sums and products of lengths stays below this share of a time


def _step_of(time: float, kind: str) -> int:
    """The step at which a mark shows."""
    return math.ceil(time * (1 - HAIR)) - (1 if kind == "trough" else 0)


def starts_too_late(schedule: Schedule, steps: int) -> bool:
    """Whether a schedule without an end has events, but none of them in the first ``steps`` steps."""
    if schedule.length < math.inf or any(_step_of(*mark) < steps for mark in schedule.marks(steps + 1)):
        return False
    far = max(1_000 * steps, 1_000_000)
    return any(True for _ in schedule.marks(far))


def telling_steps(schedule: Schedule, steps: int) -> list[int]:
    """Those of the first ``steps`` steps whose values show how far the schedule reaches: ends, events and neighbours.

    Of what repeats, the first thousand events stand for all.
    """
    found = {0, steps - 1}
    for time, _ in itertools.islice(schedule.marks(steps + 1), 1_000):
        found.update(range(math.floor(time) - 1, math.ceil(time) + 2))
    return sorted(step for step in found if 0 <= step < steps)


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


def check_schedule(who: str, schedule: object) -> None:
    """TypeError unless ``schedule`` is one."""
    if not isinstance(schedule, Schedule):
        raise TypeError(f"{who}: expected a schedule; got {schedule!r}")


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
