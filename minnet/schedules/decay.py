"""Schedules that decay by a formula, and warm-ups that are part of one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..base import checks
from .schedule import Schedule
from .shapes import cosine, linear
from .times import check_range, mix, once


@dataclass(frozen=True)
class Exponential(Schedule):
    """Exponential decay, start * exp(-rate * t), as in CS231n.

    For a factor f every k steps, use rate = -log(f) / k. Keras's ``staircase=True`` is ``Step(start, k, f)`` or
    ``.staircase(k)``.

    Args:
        start: value at t = 0.
        rate: rate of the decay per step, at least 0.
    """

    start: float
    rate: float

    def __post_init__(self) -> None:
        checks.non_negative("Exponential", "start", self.start)
        checks.non_negative("Exponential", "rate", self.rate)

    @property
    def length(self) -> float:
        return 0.0 if self.rate == 0 or self.start == 0 else math.inf

    def at(self, t: float) -> float:
        return self.start * math.exp(-self.rate * t)


@dataclass(frozen=True)
class InverseTime(Schedule):
    """start / (1 + rate * t), the 1/t decay of CS231n and the ``decay`` argument of Keras's early optimizers.

    Args:
        start: value at t = 0.
        rate: rate of the decay per step, at least 0.
    """

    start: float
    rate: float

    def __post_init__(self) -> None:
        checks.non_negative("InverseTime", "start", self.start)
        checks.non_negative("InverseTime", "rate", self.rate)

    @property
    def length(self) -> float:
        return 0.0 if self.rate == 0 or self.start == 0 else math.inf

    def at(self, t: float) -> float:
        return self.start / (1 + self.rate * t)


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """Linear warm-up and inverse square root decay: peak * min(n / warmup, sqrt(warmup / n)) with n = t + 1.

    n counts steps from 1, so no step has value 0, and n = warmup has the value ``peak``. This is Vaswani et al. 2017,
    eq. 3, in terms of its highest value, as in fairseq's ``inverse_sqrt``; see also ``Noam``.

    Args:
        peak: highest value.
        warmup: number of steps of the warm-up, above 0. With 1 there is no warm-up. 0 is an error, because all values
            tend to 0 as warmup does.
    """

    peak: float
    warmup: float

    def __post_init__(self) -> None:
        checks.non_negative(type(self).__name__, "peak", self.peak)
        checks.positive(type(self).__name__, "warmup", self.warmup)

    @property
    def length(self) -> float:
        return 0.0 if self.peak == 0 else math.inf

    def at(self, t: float) -> float:
        n = t + 1
        return self.peak * min(n / self.warmup, math.sqrt(self.warmup / n))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return once(self.warmup - 1, "peak", until)

    def _stretched(self, factor: int) -> Schedule:  # n counts steps, not epochs
        return InverseSqrt(self.peak, self.warmup * factor)


@dataclass(frozen=True)
class Noam(Schedule):
    """factor * width^-0.5 * min(n^-0.5, n * warmup^-1.5) with n = t + 1. Vaswani et al. 2017, eq. 3.

    The schedule equals ``InverseSqrt(factor / sqrt(width * warmup), warmup)``.

    Args:
        width: d_model in the paper.
        warmup: number of steps of the warm-up; n is step_num in the paper, which counts from 1. With 0, the minimum is
            n^-0.5, its limit.
        factor: factor of all values.
    """

    width: float
    warmup: float = 4000
    factor: float = 1.0

    def __post_init__(self) -> None:
        checks.positive("Noam", "width", self.width)
        checks.non_negative("Noam", "warmup", self.warmup)
        checks.positive("Noam", "factor", self.factor)

    def at(self, t: float) -> float:
        n = t + 1
        rise = n * self.warmup**-1.5 if self.warmup > 0 else math.inf
        return self.factor * self.width**-0.5 * min(n**-0.5, rise)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return once(self.warmup - 1, "peak", until)

    def _stretched(self, factor: int) -> Schedule:
        return Noam(self.width, self.warmup * factor, self.factor)


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from start at t = 0 to end at t = steps, and end after that.

    Args:
        start, end: first and last value, at least 0.
        steps: number of steps between them.
    """

    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        who = type(self).__name__
        checks.non_negative(who, "start", self.start)
        checks.non_negative(who, "end", self.end)
        checks.positive(who, "steps", self.steps)

    @property
    def length(self) -> float:
        return 0.0 if self.start == self.end else float(self.steps)

    def left(self, t: float) -> float:
        """Return the share of the way that is left: 1 at t = 0, and 0 from t = steps on.

        Args:
            t: time in steps, at least 0; it need not be whole.
        """
        return linear(min(t / self.steps, 1.0))

    def at(self, t: float) -> float:
        return mix(self.end, self.start, self.left(t))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return once(self.steps, "end", until)


@dataclass(frozen=True)
class Polynomial(Linear):
    """end + (start - end) * (1 - t / steps)^power until t = steps, and end after that.

    Args:
        start, end: first and last value, at least 0.
        steps: number of steps between them.
        power: exponent, above 0.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("Polynomial", "power", self.power)

    def at(self, t: float) -> float:
        return mix(self.end, self.start, self.left(t) ** self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """floor + (start - floor) * (1 + cos(pi * t / steps)) / 2 until t = steps, and floor after that.

    With a warm-up, ``Warmup(500, Cosine(0.1, 4500, floor=0.001))`` ends after 5000 steps.

    Args:
        start: value at t = 0.
        steps: number of steps of the decay.
        floor: last value.

    Source: Loshchilov and Hutter 2017.
    """

    start: float
    steps: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        checks.positive("Cosine", "steps", self.steps)
        check_range("Cosine", "floor", self.floor, "start", self.start)

    @property
    def length(self) -> float:
        return 0.0 if self.start == self.floor else float(self.steps)

    def at(self, t: float) -> float:
        return mix(self.floor, self.start, cosine(min(t / self.steps, 1.0)))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return once(self.steps, "end", until)
