"""Learning-rate schedules: frozen, pure functions of the step.

``schedule(step)`` takes a step counted from 0 and gives the rate of that step. It is defined for every step and
constant past its end. Nothing is remembered between calls: to resume at step k is to call it with k. Lengths
are in steps; ``schedule.in_epochs(steps_per_epoch)`` reads the same lengths as epochs.

``schedule.events(steps)`` lists what happens within the first ``steps`` steps, for snapshots and averages to hang on.
A cycle's last step is a ``"trough"``, the step after it a ``"restart"``.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import checks


@dataclass(frozen=True, order=True)
class Event:
    """Something that happens at a step: ``"boundary"``, ``"peak"``, ``"trough"``, ``"restart"`` or ``"end"``."""

    step: int
    kind: str


class Schedule:
    """A frozen dataclass that gives a rate for any time t >= 0, measured in steps.

    Subclasses define ``at(t)``, where t may fall between steps (``in_epochs`` needs that), and ``marks(until)``, the
    times below ``until`` at which something happens.
    """

    def at(self, t: float) -> float:
        """The rate at time t >= 0."""
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
            step = math.ceil(time * (1 - _HAIR)) - (1 if kind == "trough" else 0)
            if 0 <= step < steps:
                found.add(Event(step, kind))
        return sorted(found)

    def in_epochs(self, steps_per_epoch: int, staircase: bool = False) -> "Schedule":
        """This schedule with its lengths in epochs; ``staircase`` holds each epoch's first rate throughout it."""
        return InEpochs(self, steps_per_epoch, staircase)

    def __call__(self, step: float) -> float:
        if step < 0:
            raise ValueError(f"{type(self).__name__}: expected a step of at least 0; got {step}")
        return self.at(step)

    def __mul__(self, factor: float) -> "Scaled":
        return Scaled(self, factor)

    __rmul__ = __mul__


_HAIR = 1e-11  # rounding in sums and products of lengths stays below this share of a time


def _late(t: float) -> float:
    """t, a hair later: a boundary at 0.1 + 0.2 is reached at 0.3."""
    return t * (1 + _HAIR)


def _mix(low: float, high: float, share: float) -> float:
    """low + (high - low) * share, written so that shares 0 and 1 give low and high exactly."""
    return low * (1 - share) + high * share


def _periods(until: float, length: float, kind: str) -> list[tuple[float, str]]:
    return [(k * length, kind) for k in range(1, math.ceil(until / length))]


@dataclass(frozen=True)
class Constant(Schedule):
    """lr for ever."""

    lr: float

    def __post_init__(self) -> None:
        checks.non_negative("Constant", "lr", self.lr)

    def at(self, t: float) -> float:
        return float(self.lr)


@dataclass(frozen=True)
class Step(Schedule):
    """lr * factor^floor(t / every): CS231n's step decay."""

    lr: float
    every: float
    factor: float = 0.5

    def __post_init__(self) -> None:
        checks.non_negative("Step", "lr", self.lr)
        checks.positive("Step", "every", self.every)
        checks.share("Step", "factor", self.factor)

    def at(self, t: float) -> float:
        return float(self.lr) * self.factor ** math.floor(_late(t) / self.every)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return _periods(until, self.every, "boundary")


@dataclass(frozen=True)
class Piecewise(Schedule):
    """values[0] before boundaries[0], values[1] from there to before boundaries[1], ..., the last value after all."""

    boundaries: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        object.__setattr__(self, "values", tuple(self.values))
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"Piecewise: expected one more value than boundaries; got {len(self.values)} and {len(self.boundaries)}"
            )
        for boundary in self.boundaries:
            checks.positive("Piecewise", "each boundary", boundary)
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"Piecewise: expected increasing boundaries; got {self.boundaries}")
        for value in self.values:
            checks.non_negative("Piecewise", "each value", value)

    def at(self, t: float) -> float:
        return float(self.values[bisect.bisect_right(self.boundaries, _late(t))])

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return [(boundary, "boundary") for boundary in self.boundaries if boundary < until]


@dataclass(frozen=True)
class Exponential(Schedule):
    """lr * exp(-rate * t), as CS231n writes it; a factor f each step is rate = -log(f)."""

    lr: float
    rate: float

    def __post_init__(self) -> None:
        checks.non_negative("Exponential", "lr", self.lr)
        checks.non_negative("Exponential", "rate", self.rate)

    def at(self, t: float) -> float:
        return self.lr * math.exp(-self.rate * t)


@dataclass(frozen=True)
class InverseTime(Schedule):
    """lr / (1 + rate * t): CS231n's 1/t decay, and the ``decay`` argument of Keras's early optimizers."""

    lr: float
    rate: float

    def __post_init__(self) -> None:
        checks.non_negative("InverseTime", "lr", self.lr)
        checks.non_negative("InverseTime", "rate", self.rate)

    def at(self, t: float) -> float:
        return self.lr / (1 + self.rate * t)


@dataclass(frozen=True)
class Linear(Schedule):
    """From start at t = 0 along a straight line to end at t = steps, then end."""

    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        who = type(self).__name__
        checks.non_negative(who, "start", self.start)
        checks.non_negative(who, "end", self.end)
        checks.positive(who, "steps", self.steps)

    def left(self, t: float) -> float:
        """Share of the way from end back to start that is left at time t: 1 at t = 0, 0 from t = steps on."""
        return 1 - min(t / self.steps, 1.0)

    def at(self, t: float) -> float:
        return _mix(self.end, self.start, self.left(t))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return [(self.steps, "end")] if self.steps < until else []


@dataclass(frozen=True)
class Polynomial(Linear):
    """end + (start - end) * (1 - t / steps)^power up to t = steps, then end."""

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("Polynomial", "power", self.power)

    def at(self, t: float) -> float:
        return _mix(self.end, self.start, self.left(t) ** self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """floor + (lr - floor) * (1 + cos(pi * t / steps)) / 2 up to t = steps, then floor. Loshchilov and Hutter 2017."""

    lr: float
    steps: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        checks.positive("Cosine", "steps", self.steps)
        _check_range("Cosine", "floor", self.floor, "lr", self.lr)

    def at(self, t: float) -> float:
        if t >= self.steps:
            return float(self.floor)
        return _mix(self.floor, self.lr, (1 + math.cos(math.pi * t / self.steps)) / 2)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return [(self.steps, "end")] if self.steps < until else []


@dataclass(frozen=True)
class WarmRestarts(Schedule):
    """Cosine cycles that start anew from the top: SGDR, Loshchilov and Hutter 2017, eq. 5.

    The first cycle takes ``period`` steps (the paper's T_0), each later one ``lengthen`` (T_mult) times the one before;
    the top of cycle i (from 0) is floor + (lr - floor) * decay^i, with lr its eta_max and floor its eta_min. The floor
    itself would be reached at the very step at which the next cycle starts.
    """

    lr: float
    period: float
    lengthen: float = 1.0
    decay: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        checks.positive("WarmRestarts", "period", self.period)
        checks.share("WarmRestarts", "decay", self.decay)
        if checks.number("WarmRestarts", "lengthen", self.lengthen) < 1:
            raise ValueError(f"WarmRestarts: expected lengthen of at least 1; got {self.lengthen}")
        _check_range("WarmRestarts", "floor", self.floor, "lr", self.lr)

    def _cycle_start(self, cycle: int) -> float:
        if self.lengthen == 1:
            return self.period * cycle
        return self.period * (self.lengthen**cycle - 1) / (self.lengthen - 1)

    def _cycle(self, t: float) -> int:
        """Number of the cycle in which t falls; the logarithm is a guess that rounding may put one off."""
        if self.lengthen == 1:
            cycle = int(t / self.period)
        else:
            cycle = int(math.log1p(t / self.period * (self.lengthen - 1)) / math.log(self.lengthen))
        while self._cycle_start(cycle + 1) <= _late(t):
            cycle += 1
        while cycle > 0 and self._cycle_start(cycle) > _late(t):
            cycle -= 1
        return cycle

    def at(self, t: float) -> float:
        cycle = self._cycle(t)
        part = max(0.0, t - self._cycle_start(cycle)) / (self.period * self.lengthen**cycle)
        top = _mix(self.floor, self.lr, self.decay**cycle)
        return _mix(self.floor, top, (1 + math.cos(math.pi * part)) / 2)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        cycle = 1
        while (start := self._cycle_start(cycle)) < until:
            yield start, "trough"
            yield start, "restart"
            cycle += 1


@dataclass(frozen=True)
class Triangular(Schedule):
    """From low up to high in ``half_cycle`` steps, down again in as many, and so on. Smith 2017, section 3.2.

    cycle = floor(1 + t / (2 s)); x = |t / s - 2 cycle + 1|; low + (high - low) * max(0, 1 - x), s = half_cycle. In the
    paper's words low is base_lr, high max_lr and half_cycle stepsize.
    """

    low: float
    high: float
    half_cycle: float

    def __post_init__(self) -> None:
        who = type(self).__name__
        checks.positive(who, "half_cycle", self.half_cycle)
        _check_range(who, "low", self.low, "high", self.high)

    def amplitude(self, cycle: int, t: float) -> float:
        """Factor on high - low in the given cycle (from 1) at time t."""
        return 1.0

    def at(self, t: float) -> float:
        cycle = math.floor(1 + t / (2 * self.half_cycle))
        x = abs(t / self.half_cycle - 2 * cycle + 1)
        return _mix(self.low, self.high, max(0.0, 1 - x) * self.amplitude(cycle, t))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        for k in range(1, math.ceil(until / self.half_cycle)):
            time = k * self.half_cycle
            if k % 2:
                yield time, "peak"
            else:
                yield time, "trough"
                yield time, "restart"


@dataclass(frozen=True)
class Triangular2(Triangular):
    """Triangular, with the amplitude halved after each cycle. Smith 2017."""

    def amplitude(self, cycle: int, t: float) -> float:
        return 0.5 ** (cycle - 1)


@dataclass(frozen=True)
class ExpRange(Triangular):
    """Triangular, with the amplitude times gamma^t. Smith 2017."""

    gamma: float = 0.99994

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.share("ExpRange", "gamma", self.gamma)

    def amplitude(self, cycle: int, t: float) -> float:
        return self.gamma**t


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line towards then(0) for ``steps`` steps, then ``then``, counted from its own 0.

    Step 0 has rate then(0) / (steps + 1), not 0, so that no step is lost. Goyal et al. 2017, section 2.2.
    """

    steps: float
    then: Schedule

    def __post_init__(self) -> None:
        checks.non_negative("Warmup", "steps", self.steps)
        _check_schedule("Warmup", self.then)

    def at(self, t: float) -> float:
        if _late(t) < self.steps:
            return self.then.at(0) * (t + 1) / (self.steps + 1)
        return self.then.at(max(0.0, t - self.steps))

    def in_epochs(self, steps_per_epoch: int, staircase: bool = False) -> Schedule:
        # Of each part: the line's first step is one step from 0, not one epoch.
        if staircase:
            return InEpochs(self, steps_per_epoch, staircase)
        then = self.then.in_epochs(steps_per_epoch)
        return Warmup(self.steps * steps_per_epoch, then)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        if 0 < self.steps < until:
            yield self.steps, "boundary"
        for time, kind in self.then.marks(until - self.steps):
            yield self.steps + time, kind


@dataclass(frozen=True)
class Join(Schedule):
    """Schedules one after the other, each counted from its own 0: ``Join([(first, 100), (second, 50), last])``.

    Each part but the last comes with its length in steps; the last has none, or one past which it goes on.
    """

    parts: Sequence["tuple[Schedule, float] | Schedule"]

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        if not parts:
            raise ValueError("Join: expected at least one schedule; got none")
        if isinstance(parts[-1], Schedule):
            parts = (*parts[:-1], (parts[-1], math.inf))
        for part in parts:
            if not isinstance(part, tuple) or len(part) != 2:
                raise TypeError(f"Join: expected (schedule, steps) for all but the last part; got {part!r}")
            schedule, steps = part
            _check_schedule("Join", schedule)
            if steps != math.inf or part is not parts[-1]:
                checks.positive("Join", "steps of each part", steps)
        object.__setattr__(self, "parts", parts)

    def _starts(self) -> Iterable[tuple[float, Schedule]]:
        start = 0.0
        for schedule, steps in self.parts:  # type: ignore[misc]  # __post_init__ made every part a pair
            yield start, schedule
            start += steps

    def at(self, t: float) -> float:
        start, schedule = [part for part in self._starts() if part[0] <= _late(t)][-1]
        return schedule.at(max(0.0, t - start))

    def in_epochs(self, steps_per_epoch: int, staircase: bool = False) -> Schedule:
        if staircase:
            return InEpochs(self, steps_per_epoch, staircase)
        return Join([(schedule.in_epochs(steps_per_epoch), steps * steps_per_epoch) for schedule, steps in self.parts])  # type: ignore[misc]

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        start = 0.0
        for schedule, steps in self.parts:  # type: ignore[misc]
            if start >= until:
                return
            if start > 0:
                yield start, "boundary"
            # A cycle that ends with its part has its trough, though its restart belongs to the next part.
            for time, kind in schedule.marks(min(_late(steps), until - start)):
                if kind == "trough" or _late(time) < steps:
                    yield start + time, kind
            start += steps


@dataclass(frozen=True)
class Scaled(Schedule):
    """factor * schedule; also written ``factor * schedule``."""

    schedule: Schedule
    factor: float

    def __post_init__(self) -> None:
        _check_schedule("Scaled", self.schedule)
        checks.non_negative("Scaled", "factor", self.factor)

    def at(self, t: float) -> float:
        return self.factor * self.schedule.at(t)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return self.schedule.marks(until)

    def in_epochs(self, steps_per_epoch: int, staircase: bool = False) -> Schedule:
        return Scaled(self.schedule.in_epochs(steps_per_epoch, staircase), self.factor)


@dataclass(frozen=True)
class InEpochs(Schedule):
    """A schedule whose lengths are read as epochs of ``steps_per_epoch`` steps; see ``Schedule.in_epochs``."""

    schedule: Schedule
    steps_per_epoch: int
    staircase: bool = False

    def __post_init__(self) -> None:
        _check_schedule("InEpochs", self.schedule)
        checks.count("InEpochs", "steps_per_epoch", self.steps_per_epoch)

    def at(self, t: float) -> float:
        epoch = t / self.steps_per_epoch
        return self.schedule.at(math.floor(epoch) if self.staircase else epoch)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        for epoch, kind in self.schedule.marks(until / self.steps_per_epoch):
            yield (math.ceil(epoch * (1 - _HAIR)) if self.staircase else epoch) * self.steps_per_epoch, kind


def _check_schedule(who: str, schedule: object) -> None:
    if not isinstance(schedule, Schedule):
        raise TypeError(f"{who}: expected a schedule; got {schedule!r}")


def _check_range(who: str, low_name: str, low: float, high_name: str, high: float) -> None:
    checks.non_negative(who, low_name, low)
    checks.non_negative(who, high_name, high)
    if low > high:
        raise ValueError(f"{who}: expected {low_name} of at most {high_name}; got {low} and {high}")
