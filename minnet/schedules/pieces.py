"""Schedules that are given by lists of values or points, and step decay."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..base import checks
from .schedule import Schedule
from .times import check_rising, late, listed, mix, piece


@dataclass(frozen=True)
class Step(Schedule):
    """Step decay, start * factor^floor(t / every), as in CS231n, PyTorch's StepLR and Keras with ``staircase=True``.

    Args:
        start: value at t = 0.
        every: number of steps between two changes.
        factor: factor of the value at each change.
    """

    start: float
    every: float
    factor: float = 0.5

    def __post_init__(self) -> None:
        checks.non_negative("Step", "start", self.start)
        checks.positive("Step", "every", self.every)
        checks.share("Step", "factor", self.factor)

    @property
    def length(self) -> float:
        return 0.0 if self.factor == 1 or self.start == 0 else math.inf

    def at(self, t: float) -> float:
        return float(self.start) * self.factor ** math.floor(late(t) / self.every)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        for k in range(1, math.ceil(until / self.every)):
            yield k * self.every, "boundary"


@dataclass(frozen=True)
class Piecewise(Schedule):
    """Piecewise constant: values[0] before boundaries[0], values[i] from boundaries[i - 1] on.

    This is PyTorch's MultiStepLR. In TensorFlow's PiecewiseConstantDecay, a boundary itself still has the value before
    it.

    Args:
        boundaries: increasing times in steps, above 0.
        values: values of at least 0, one more than boundaries.
    """

    boundaries: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "boundaries", listed("Piecewise", "boundaries", self.boundaries))
        object.__setattr__(self, "values", listed("Piecewise", "values", self.values))
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"Piecewise: expected one more value than boundaries; got {len(self.values)} and {len(self.boundaries)}"
            )
        for boundary in self.boundaries:
            checks.positive("Piecewise", "each boundary", boundary)
        check_rising("Piecewise", "boundaries", self.boundaries)
        for value in self.values:
            checks.non_negative("Piecewise", "each value", value)

    @property
    def length(self) -> float:
        return float(self.boundaries[-1]) if self.boundaries else 0.0

    def at(self, t: float) -> float:
        return float(self.values[piece(self.boundaries, t) + 1])

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return [(boundary, "boundary") for boundary in self.boundaries if boundary < until]


@dataclass(frozen=True)
class PiecewiseLinear(Schedule):
    """Linear interpolation of the points (times[i], values[i]), constant before the first and after the last point.

    This is ``numpy.interp`` of the step, which entries of DAWNBench use for their schedules.

    Args:
        times: increasing times in steps, of at least 0.
        values: values of at least 0, one for each time.
    """

    times: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", listed("PiecewiseLinear", "times", self.times))
        object.__setattr__(self, "values", listed("PiecewiseLinear", "values", self.values))
        if len(self.values) != len(self.times) or not self.times:
            raise ValueError(
                f"PiecewiseLinear: expected at least one time and as many values; "
                f"got {len(self.times)} times and {len(self.values)} values"
            )
        for time, value in zip(self.times, self.values, strict=True):
            checks.non_negative("PiecewiseLinear", "each time", time)
            checks.non_negative("PiecewiseLinear", "each value", value)
        check_rising("PiecewiseLinear", "times", self.times)

    @property
    def length(self) -> float:
        return 0.0 if len(set(self.values)) == 1 else float(self.times[-1])

    def at(self, t: float) -> float:
        i = piece(self.times, t)
        if i < 0 or i == len(self.times) - 1:
            return float(self.values[max(i, 0)])
        share = max(0.0, t - self.times[i]) / (self.times[i + 1] - self.times[i])
        return mix(self.values[i], self.values[i + 1], share)

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        for time in self.times:
            if 0 < time < until:
                yield time, "end" if time == self.times[-1] else "boundary"
