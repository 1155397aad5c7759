"""Up and down between two values: cyclical rates, and what is cycled against them."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from .. import checks
from .schedule import Schedule
from .times import check_range, mix


class Cyclic(Schedule):
    """A schedule that goes up and down, and says how high it stands."""

    def height(self, t: float) -> float:
        """0 at the bottom, 1 at the top, at time t."""
        raise NotImplementedError(f"{type(self).__name__} must define height(t)")

    @property
    def settles(self) -> float:
        """Steps after which the height is constant for ever."""
        return self.length

    def mirrored(self, low: float, high: float) -> "Mirrored":
        """What goes down from high to low as this goes up: momentum against a rate. Mirror first, compose after."""
        return Mirrored(self, low, high)


@dataclass(frozen=True)
class Mirrored(Schedule):
    """high - (high - low) * schedule.height(t): Smith's momentum against the rate (Smith 2018).

    Its events are those of the schedule that it mirrors: a peak is where this is lowest. With ``low=0.85, high=0.95``
    it is the momentum of PyTorch's OneCycleLR, with ``0.8, 0.9`` that of CyclicLR.
    """

    schedule: Cyclic
    low: float
    high: float

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Cyclic):
            raise TypeError(f"Mirrored: expected a schedule that knows its height; got {self.schedule!r}")
        check_range("Mirrored", "low", self.low, "high", self.high)

    @property
    def length(self) -> float:
        return 0.0 if self.low == self.high else self.schedule.settles

    def at(self, t: float) -> float:
        return mix(self.high, self.low, self.schedule.height(t))

    def marks(self, until: float) -> Iterable[tuple[float, str]]:
        return self.schedule.marks(until)


@dataclass(frozen=True)
class Triangular(Cyclic):
    """From low up to high in ``half_cycle`` steps, down again in as many, and so on. Smith 2017.

    cycle = floor(1 + t / (2 s)); x = |t / s - 2 cycle + 1|; low + (high - low) * max(0, 1 - x), s = half_cycle. In the
    paper's words low is base_lr, high max_lr and half_cycle stepsize. Where rise and fall differ in length, repeat
    one of them: ``Repeat(OneCycle(high, up + down, rise=up / (up + down), ...))``.
    """

    low: float
    high: float
    half_cycle: float

    def __post_init__(self) -> None:
        who = type(self).__name__
        checks.positive(who, "half_cycle", self.half_cycle)
        check_range(who, "low", self.low, "high", self.high)

    @property
    def length(self) -> float:
        return 0.0 if self.low == self.high else math.inf

    @property
    def settles(self) -> float:
        return math.inf

    def amplitude(self, cycle: int, t: float) -> float:
        """Factor on high - low in the given cycle (from 1) at time t."""
        return 1.0

    def height(self, t: float) -> float:
        cycle = math.floor(1 + t / (2 * self.half_cycle))
        x = abs(t / self.half_cycle - 2 * cycle + 1)
        return max(0.0, 1 - x) * self.amplitude(cycle, t)

    def at(self, t: float) -> float:
        return mix(self.low, self.high, self.height(t))

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
    """Triangular, with the amplitude times gamma^t, t in steps, also ``in_epochs(n)``. Smith 2017."""

    gamma: float = 0.99994

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.share("ExpRange", "gamma", self.gamma)

    def amplitude(self, cycle: int, t: float) -> float:
        return self.gamma**t

    def _stretched(self, factor: int) -> Schedule:  # gamma is of one iteration
        return replace(self, half_cycle=self.half_cycle * factor)


@dataclass(frozen=True)
class Cyclical(Triangular):
    """Triangular, with the amplitude times a function of one's own.

    ``by="cycle"`` calls scale(cycle) with the number of the cycle, from 1; ``by="iteration"`` calls scale(t) with the
    step, also ``in_epochs(n)``. These are ``scale_fn`` and ``scale_mode`` of PyTorch's CyclicLR and of the Keras
    callback. A schedule pickles if its function does: ``def`` it in a module. ValueError at a step where it gives NaN,
    infinity or less than 0.
    """

    scale: Callable[[float], float]
    by: str = "cycle"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.scale):
            raise TypeError(f"Cyclical: expected scale to be a function; got {self.scale!r}")
        if self.by not in ("cycle", "iteration"):
            raise ValueError(f"Cyclical: expected by to be 'cycle' or 'iteration'; got {self.by!r}")

    def amplitude(self, cycle: int, t: float) -> float:
        at = cycle if self.by == "cycle" else t
        return checks.non_negative("Cyclical", f"scale({at:g})", self.scale(at))

    def _stretched(self, factor: int) -> Schedule:  # scale sees steps, or numbers of cycles, in both
        return replace(self, half_cycle=self.half_cycle * factor)
