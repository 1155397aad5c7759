"""Cosine cycles that may lengthen and sink."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .. import checks
from .schedule import Schedule
from .shapes import cosine
from .times import check_range, late, mix


@dataclass(frozen=True)
class WarmRestarts(Schedule):
    """Cosine cycles that start anew from the top: SGDR, Loshchilov and Hutter 2017, eq. 5.

    The first cycle takes ``period`` steps (the paper's T_0), each later one ``lengthen`` (T_mult) times the one before;
    the top of cycle i (from 0) is floor + (start - floor) * decay^i, with start its eta_max and floor its eta_min. The
    floor itself would be reached at the very step at which the next cycle starts.
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
        """Number of the cycle in which t falls; the logarithm is a guess that rounding may put one off."""
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
