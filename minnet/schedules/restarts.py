"""Cosine cycles whose length may grow and whose peak may decay."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..base import checks
from .schedule import Schedule
from .shapes import cosine
from .times import check_range, late, mix


@dataclass(frozen=True)
class WarmRestarts(Schedule):
    """Cosine decay with warm restarts (SGDR). Loshchilov and Hutter 2017, eq. 5.

    Cycle i, counted from 0, starts at floor + (start - floor) * decay^i. The floor itself is not reached, because the
    next cycle starts at that step.

    Args:
        start: value at the start; eta_max in the paper.
        period: number of steps of the first cycle; T_0 in the paper.
        lengthen: ratio of the lengths of a cycle and the one before it, at least 1; T_mult in the paper.
        decay: factor of the peak above the floor after each cycle.
        floor: lower bound of the values; eta_min in the paper.
    """

    start: float
    period: float
    lengthen: float = 1.0
    decay: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        checks.positive("WarmRestarts", "period", self.period)
        checks.share("WarmRestarts", "decay", self.decay)
        if checks.number("WarmRestarts", "lengthen", self.lengthen) < 1:
            raise ValueError(f"WarmRestarts: expected lengthen of at least 1; got {self.lengthen}")
        check_range("WarmRestarts", "floor", self.floor, "start", self.start)

    @property
    def length(self) -> float:
        return 0.0 if self.start == self.floor else math.inf

    def _cycle_start(self, cycle: int) -> float:
        if self.lengthen == 1:
            return self.period * cycle
        return self.period * (self.lengthen**cycle - 1) / (self.lengthen - 1)

    def _cycle(self, t: float) -> int:
        """Return the number of the cycle that contains t. The logarithm is a guess that rounding may move by one."""
        if self.lengthen == 1:
            cycle = int(t / self.period)
        else:
            cycle = int(math.log1p(t / self.period * (self.lengthen - 1)) / math.log(self.lengthen))
        while self._cycle_start(cycle + 1) <= late(t):
            cycle += 1
        while cycle > 0 and self._cycle_start(cycle) > late(t):
            cycle -= 1
        return cycle

    def at(self, t: float) -> float:
        cycle = self._cycle(t)
        part = max(0.0, t - self._cycle_start(cycle)) / (self.period * self.lengthen**cycle)
        top = mix(self.floor, self.start, self.decay**cycle)
        return mix(self.floor, top, cosine(part))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        cycle = 1
        while (start := self._cycle_start(cycle)) < until:
            yield start, "trough"
            yield start, "restart"
            cycle += 1
