"""The base class of schedules, and the schedules that its operators and methods return."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NoReturn, Union

import numpy as np

from ..base import checks
from ..base.guide import Guided
from .times import HAIR, late, once, step_of


@dataclass(frozen=True, order=True)
class Event:
    """An event of a schedule.

    Attributes:
        step: step, counted from 0.
        kind: ``"boundary"``, ``"peak"``, ``"trough"``, ``"restart"`` or ``"end"``.
    """

    step: int
    kind: str


class Schedule(Guided):
    """Base class of schedules: frozen dataclasses with a value at any time t >= 0, measured in steps.

    Subclasses define ``at(t)``, where t may be between steps, as ``in_epochs`` needs. They may also define ``length``
    and ``marks(until)``, the times of events before ``until``.
    """

    @property
    def length(self) -> float:
        """Number of steps after which the value is constant; 0 if it always is, infinity if it never is."""
        return math.inf

    def at(self, t: float) -> float:
        """Return the value at a time, as a float.

        Args:
            t: time in steps, at least 0; it may be between two steps. The first step is at 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define at(t)")

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        """Return all events before a time.

        Args:
            until: time in steps.

        Returns:
            (time, kind) of all events with 0 <= time < until; see ``Event`` for the kinds.
        """
        return ()

    def events(self, steps: int) -> list[Event]:
        """Return all events of the first ``steps`` steps, in order.

        An event between two steps belongs to the second of them. A trough belongs to the last step before its restart.

        Args:
            steps: number of steps.
        """
        checks.count(type(self).__name__, "steps", steps, least=0)
        found = set()
        for time, kind in self.marks(steps + 1):
            step = step_of(time, kind)
            if 0 <= step < steps:
                found.add(Event(step, kind))
        return sorted(found)

    def preview(self, steps: int) -> np.ndarray:
        """Return the values of the first ``steps`` steps, a float64 array of shape (steps,).

        Args:
            steps: number of steps.
        """
        checks.count(type(self).__name__, "steps", steps, least=0)
        return np.array([self(step) for step in range(steps)], np.float64)

    def plot(self, path: Any = None, steps: int | None = None) -> Any:
        """Draw the first ``steps`` steps with their events. ``plots.schedules`` draws several schedules.

        Args:
            path: path of a file, an open binary file, or None to return the Matplotlib figure.
            steps: number of steps to draw. None for 1.1 times the schedule's length.

        Returns:
            None, or the Matplotlib figure if ``path`` is None.

        Raises:
            ValueError: if ``steps`` is None and the schedule has no end.
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
        """Return this schedule with its lengths read as epochs.

        Args:
            steps_per_epoch: number of steps in an epoch. If None, the ``Trainer`` (or ``fit``) that receives the
                schedule, for a learning rate or another hyper-parameter, inserts its own number.
            staircase: whether the value stays constant during each epoch, at the value of the epoch's start.

        Returns:
            A schedule.

        Raises:
            ValueError: if lengths of a part of this schedule are epochs of a run already.
        """
        if resolved(self, 1) is not self:
            raise ValueError(f"in_epochs: expected lengths that are steps so far; got some that are epochs in {self!r}")
        if steps_per_epoch is None:
            return InEpochsOfRun(self, staircase)
        checks.count("InEpochs", "steps_per_epoch", steps_per_epoch)
        return InEpochs(self.staircase(1), steps_per_epoch) if staircase else self._stretched(steps_per_epoch)

    def _stretched(self, factor: int) -> "Schedule":
        """Return this schedule with all lengths multiplied by ``factor``, except single steps that do not scale."""
        return InEpochs(self, factor)

    def staircase(self, every: float) -> "Staircase":
        """Return this schedule as a step function that is constant for ``every`` steps. See ``Staircase``.

        Args:
            every: number of steps of a stair, above 0.
        """
        return Staircase(self, every)

    def offset(self, steps: float) -> "Offset":
        """Return this schedule, shifted by ``steps`` steps. A positive shift starts it later. See ``Offset``.

        Args:
            steps: number of steps, which may be negative.
        """
        return Offset(self, steps)

    def __call__(self, step: float) -> float:
        if not step >= 0:
            raise ValueError(f"{type(self).__name__}: expected a step of at least 0; got {step}")
        if step == math.inf:
            raise ValueError(f"{type(self).__name__}: expected a finite step; got {step}")
        return self.at(float(step))  # NumPy's integers overflow, and its powers round differently

    def __mul__(self, factor: "Schedule | float") -> Union["Product", "Scaled"]:
        return Product(self, factor) if isinstance(factor, Schedule) else Scaled(self, factor)

    __rmul__ = __mul__

    def __add__(self, other: "Schedule | float") -> "Sum":
        return Sum(self, other if isinstance(other, Schedule) else Constant(other))

    __radd__ = __add__


def check_schedule(who: str, schedule: object) -> None:
    """Raise TypeError unless ``schedule`` is a Schedule."""
    if not isinstance(schedule, Schedule):
        raise TypeError(f"{who}: expected a schedule; got {schedule!r}")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    Args:
        value: the value, at least 0.
    """

    value: float

    def __post_init__(self) -> None:
        checks.non_negative("Constant", "value", self.value)

    @property
    def length(self) -> float:
        return 0.0

    def at(self, t: float) -> float:
        return float(self.value)


@dataclass(frozen=True)
class Scaled(Schedule):
    """A schedule multiplied by a number; also written ``factor * schedule``.

    Args:
        schedule: the schedule.
        factor: the number, at least 0.
    """

    schedule: Schedule
    factor: float

    def __post_init__(self) -> None:
        check_schedule("Scaled", self.schedule)
        checks.non_negative("Scaled", "factor", self.factor)

    @property
    def length(self) -> float:
        return 0.0 if self.factor == 0 else self.schedule.length

    def at(self, t: float) -> float:
        return self.factor * self.schedule.at(t)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return self.schedule.marks(until)

    def _stretched(self, factor: int) -> Schedule:
        return Scaled(self.schedule.in_epochs(factor), self.factor)


@dataclass(frozen=True)
class Product(Schedule):
    """The product first(t) * second(t); also written ``first * second``. PyTorch's ChainedScheduler.

    Args:
        first, second: the schedules.
    """

    first: Schedule
    second: Schedule

    def __post_init__(self) -> None:
        check_schedule("Product", self.first)
        check_schedule("Product", self.second)

    @property
    def length(self) -> float:
        both = (self.first, self.second)
        # A factor that stays 0 from some time on keeps the product at 0.
        nothing = [part.length for part in both if part.length < math.inf and part.at(part.length) == 0]
        return min([max(part.length for part in both), *nothing])

    def at(self, t: float) -> float:
        return self.first.at(t) * self.second.at(t)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        yield from self.first.marks(until)
        yield from self.second.marks(until)

    def _stretched(self, factor: int) -> Schedule:
        return Product(self.first.in_epochs(factor), self.second.in_epochs(factor))


@dataclass(frozen=True)
class Sum(Schedule):
    """The sum first(t) + second(t); also written ``first + second``, or ``schedule + number``.

    Args:
        first, second: the schedules.
    """

    first: Schedule
    second: Schedule

    def __post_init__(self) -> None:
        check_schedule("Sum", self.first)
        check_schedule("Sum", self.second)

    @property
    def length(self) -> float:
        return max(self.first.length, self.second.length)

    def at(self, t: float) -> float:
        return self.first.at(t) + self.second.at(t)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        yield from self.first.marks(until)
        yield from self.second.marks(until)

    def _stretched(self, factor: int) -> Schedule:
        return Sum(self.first.in_epochs(factor), self.second.in_epochs(factor))


@dataclass(frozen=True)
class Offset(Schedule):
    """A schedule shifted in time, schedule(max(0, t - steps)); also written ``schedule.offset(steps)``.

    A positive offset holds the first value until the schedule starts. A negative offset starts within the schedule: a
    run that continues one of 500 steps has ``schedule.offset(-500)``. To add to the values, write ``schedule + 0.01``.

    Args:
        schedule: the schedule.
        steps: number of steps, which may be negative.
    """

    schedule: Schedule
    steps: float

    def __post_init__(self) -> None:
        check_schedule("Offset", self.schedule)
        checks.number("Offset", "steps", self.steps)

    @property
    def length(self) -> float:
        return 0.0 if self.schedule.length == 0 else max(0.0, self.schedule.length + self.steps)

    def at(self, t: float) -> float:
        return self.schedule.at(max(0.0, t - self.steps))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        yield from once(self.steps, "boundary", until)
        for time, kind in self.schedule.marks(until - self.steps):
            if time * (1 - HAIR) + self.steps > -1:  # an event between two steps belongs to the second
                yield max(0.0, time + self.steps), kind

    def _stretched(self, factor: int) -> Schedule:
        return Offset(self.schedule.in_epochs(factor), self.steps * factor)


@dataclass(frozen=True)
class InEpochs(Schedule):
    """A schedule whose lengths are read as epochs of ``steps_per_epoch`` steps; see ``Schedule.in_epochs``.

    Args:
        schedule: the schedule.
        steps_per_epoch: number of steps in an epoch.
    """

    schedule: Schedule
    steps_per_epoch: int

    def __post_init__(self) -> None:
        check_schedule("InEpochs", self.schedule)
        checks.count("InEpochs", "steps_per_epoch", self.steps_per_epoch)

    @property
    def length(self) -> float:
        return self.schedule.length * self.steps_per_epoch

    def at(self, t: float) -> float:
        return self.schedule.at(t / self.steps_per_epoch)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        for epoch, kind in self.schedule.marks(until / self.steps_per_epoch):
            yield epoch * self.steps_per_epoch, kind


@dataclass(frozen=True)
class Staircase(Schedule):
    """A step function, schedule(every * floor(t / every)); also written ``schedule.staircase(every)``.

    Keras's ``staircase=True`` is ``Exponential(a, -log(rate) / decay_steps).staircase(decay_steps)``. An event of the
    schedule within a stair belongs to the start of the next stair. A stair at which the value changes is a
    ``"boundary"``.

    Args:
        schedule: the schedule.
        every: number of steps of a stair, above 0.
    """

    schedule: Schedule
    every: float

    def __post_init__(self) -> None:
        check_schedule("Staircase", self.schedule)
        checks.positive("Staircase", "every", self.every)

    @property
    def length(self) -> float:
        length = self.schedule.length
        return length if length == math.inf else self._next_stair(length)

    def _next_stair(self, t: float) -> float:
        return math.ceil(t / self.every * (1 - HAIR)) * self.every

    def at(self, t: float) -> float:
        return self.schedule.at(math.floor(late(t) / self.every) * self.every)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        for time, kind in self.schedule.marks(until):
            if (stair := self._next_stair(time)) < until and kind != "boundary":
                yield stair, kind
        for k in range(1, math.ceil(until / self.every)):
            if self.schedule.at(k * self.every) != self.schedule.at((k - 1) * self.every):
                yield k * self.every, "boundary"

    def _stretched(self, factor: int) -> Schedule:
        return Staircase(self.schedule.in_epochs(factor), self.every * factor)


@dataclass(frozen=True)
class InEpochsOfRun(Schedule):
    """A schedule whose lengths are epochs of the run that it is given to; see ``Schedule.in_epochs``.

    Before that, only its first value is known.
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
    """Insert the number of steps in an epoch into every ``schedule.in_epochs()`` inside ``value``.

    Args:
        value: a schedule, a rule, a group, or a list or tuple of them. Any other object is returned unchanged.
        steps_per_epoch: number of steps in an epoch.

    Returns:
        The value with resolved schedules, or ``value`` itself if there is nothing to resolve.
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
