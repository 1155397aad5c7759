"""Schedules in sequence, each with its own time 0."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..base import checks
from .schedule import Schedule, check_schedule
from .times import late, once


@dataclass(frozen=True)
class Warmup(Schedule):
    """Linear warm-up to then(0) in ``steps`` steps, followed by the schedule ``then`` from its time 0.

    Step 0 has the value then(0) / (steps + 1), because a step of value 0 would have no effect.

    Args:
        steps: number of steps of the warm-up.
        then: the schedule after it.

    Source: Goyal et al. 2017, section 2.2.
    """

    steps: float
    then: Schedule

    def __post_init__(self) -> None:
        checks.non_negative("Warmup", "steps", self.steps)
        check_schedule("Warmup", self.then)

    @property
    def length(self) -> float:
        return self.steps + self.then.length

    def at(self, t: float) -> float:
        if late(t) < self.steps:
            return self.then.at(0) * (t + 1) / (self.steps + 1)
        return self.then.at(max(0.0, t - self.steps))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        yield from once(self.steps, "boundary", until)
        for time, kind in self.then.marks(until - self.steps):
            yield self.steps + time, kind

    def _stretched(self, factor: int) -> Schedule:  # the first step of the line stays one step, not one epoch
        return Warmup(self.steps * factor, self.then.in_epochs(factor))


@dataclass(frozen=True)
class Join(Schedule):
    """Schedules one after the other, each from its own time 0: ``Join([(first, 100), (second, 50), last])``.

    Args:
        parts: pairs (schedule, length in steps). The last part may be a schedule without a length. It continues past
            its length.
    """

    parts: Sequence["tuple[Schedule, float] | Schedule"]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Iterable):
            raise TypeError(f"Join: expected a list of schedules; got {self.parts!r}")
        parts = tuple(self.parts)
        if not parts:
            raise ValueError("Join: expected at least one schedule; got none")
        if isinstance(parts[-1], Schedule):
            parts = (*parts[:-1], (parts[-1], math.inf))
        for part in parts:
            if not isinstance(part, tuple) or len(part) != 2:
                raise TypeError(f"Join: expected (schedule, steps) for all but the last part; got {part!r}")
            schedule, steps = part
            check_schedule("Join", schedule)
            if steps != math.inf or part is not parts[-1]:
                checks.positive("Join", "steps of each part", steps)
        object.__setattr__(self, "parts", parts)

    def _starts(self) -> list[tuple[float, Schedule]]:
        starts, start = [], 0.0
        for schedule, steps in self.parts:  # type: ignore[misc]  # __post_init__ made every part a pair
            starts.append((start, schedule))
            start += steps
        return starts

    @property
    def length(self) -> float:
        start, schedule = self._starts()[-1]
        return start + schedule.length

    def at(self, t: float) -> float:
        start, schedule = [part for part in self._starts() if part[0] <= late(t)][-1]
        return schedule.at(max(0.0, t - start))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        start = 0.0
        for schedule, steps in self.parts:  # type: ignore[misc]
            if start >= until:
                return
            yield from once(start, "boundary", until)
            for time, kind in _marks_of_part(schedule, steps, until - start):
                yield start + time, kind
            start += steps

    def _stretched(self, factor: int) -> Schedule:
        return Join([(schedule.in_epochs(factor), steps * factor) for schedule, steps in self.parts])  # type: ignore[misc]


@dataclass(frozen=True)
class Repeat(Schedule):
    """Repeat the first ``steps`` steps of a schedule.

    Each repetition is a cycle. Its last step is a ``"trough"``, and the step after it is a ``"restart"``.
    ``Repeat(Cosine(0.1, 50))`` equals ``WarmRestarts(0.1, 50)``.

    Args:
        schedule: the schedule to repeat.
        steps: number of steps to repeat; None for the schedule's length.
        times: number of repetitions, of which the last continues past its end. None to repeat without end.
    """

    schedule: Schedule
    steps: float | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        check_schedule("Repeat", self.schedule)
        if self.steps is None:
            if not 0 < self.schedule.length < math.inf:
                raise ValueError(
                    f"Repeat: expected steps for a schedule without a length of its own; got {self.schedule!r}"
                )
            object.__setattr__(self, "steps", self.schedule.length)
        checks.positive("Repeat", "steps", self.steps)
        if self.times is not None:
            checks.count("Repeat", "times", self.times)

    @property
    def _period(self) -> float:
        assert self.steps is not None  # __post_init__ put the schedule's length here
        return self.steps

    @property
    def length(self) -> float:
        if self.schedule.length == 0:
            return 0.0
        return math.inf if self.times is None else (self.times - 1) * self._period + self.schedule.length

    def at(self, t: float) -> float:
        cycle = math.floor(late(t) / self._period)
        if self.times is not None:
            cycle = min(cycle, self.times - 1)
        return self.schedule.at(max(0.0, t - cycle * self._period))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        cycle = 0
        while (start := cycle * self._period) < until:
            last = self.times is not None and cycle == self.times - 1
            if cycle > 0:
                yield start, "trough"
                yield start, "restart"
            for time, kind in _marks_of_part(self.schedule, math.inf if last else self._period, until - start):
                yield start + time, kind
            if last:
                return
            cycle += 1

    def _stretched(self, factor: int) -> Schedule:
        return Repeat(self.schedule.in_epochs(factor), self._period * factor, self.times)


def _marks_of_part(schedule: Schedule, steps: float, until: float) -> Iterable[tuple[float, str]]:
    """Yield the marks of the first ``steps`` steps of a schedule.

    If a cycle ends with these steps, its trough is included, but its restart belongs to the next part.
    """
    for time, kind in schedule.marks(min(late(steps), until)):
        if kind == "trough" or late(time) < steps:
            yield time, kind
