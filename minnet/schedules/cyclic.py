"""Cyclical schedules, which rise and fall between two values, and schedules that mirror them."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..base import checks
from .schedule import Schedule
from .times import check_range, mix


class Cyclic(Schedule):
    """Base class of schedules that rise and fall, with a ``height`` between 0 and 1."""

    def height(self, t: float) -> float:
        """Return the height at time t: 0 at the bottom, 1 at the top.

        Args:
            t: time in steps, at least 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define height(t)")

    @property
    def settles(self) -> float:
        """Number of steps after which the height is constant."""
        return self.length

    def mirrored(self, low: float, high: float) -> "Mirrored":
        """Return a schedule that falls from high to low while this one rises, such as momentum against a learning rate.

        Call it before composing this schedule with others.

        Args:
            low, high: values at the top and at the bottom of this schedule.
        """
        return Mirrored(self, low, high)


@dataclass(frozen=True)
class Mirrored(Schedule):
    """high - (high - low) * schedule.height(t), for momentum cycled against a learning rate (Smith 2018).

    Its events are those of the mirrored schedule, so its value is lowest at a ``"peak"``. With ``low=0.85,
    high=0.95`` it is the momentum of PyTorch's OneCycleLR, and with ``0.8, 0.9`` that of CyclicLR.

    Args:
        schedule: the schedule to mirror.
        low, high: values at the top and at the bottom of that schedule.
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
    """Linear cycles: rise from low to high in ``half_cycle`` steps, fall in as many, and repeat. Smith 2017.

    With s = half_cycle, cycle = floor(1 + t / (2 s)) and x = |t / s - 2 cycle + 1|, the value is
    low + (high - low) * max(0, 1 - x). For a rise and a fall of different lengths, repeat a OneCycle:
    ``Repeat(OneCycle(high, up + down, rise=up / (up + down), ...))``.

    Args:
        low, high: lowest and highest value; base_lr and max_lr in the paper.
        half_cycle: number of steps of a rise or a fall; stepsize in the paper.
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
        """Return the factor of high - low at time t, in the given cycle, counted from 1.

        Args:
            cycle: number of the cycle, counted from 1.
            t: time in steps.
        """
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
    """Triangular with an amplitude that halves after each cycle. Smith 2017.

    Args:
        low, high, half_cycle: as in ``Triangular``.
    """

    def amplitude(self, cycle: int, t: float) -> float:
        return 0.5 ** (cycle - 1)


@dataclass(frozen=True)
class ExpRange(Triangular):
    """Triangular with an amplitude multiplied by gamma^t. Smith 2017.

    Args:
        gamma: factor per step, also after ``in_epochs(n)``.
    """

    gamma: float = 0.99994

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.share("ExpRange", "gamma", self.gamma)

    def amplitude(self, cycle: int, t: float) -> float:
        return self.gamma**t

    def _stretched(self, factor: int) -> Schedule:  # gamma applies to one iteration
        return replace(self, half_cycle=self.half_cycle * factor)


@dataclass(frozen=True)
class Cyclical(Triangular):
    """Triangular with an amplitude multiplied by a given function.

    ``scale`` and ``by`` are ``scale_fn`` and ``scale_mode`` of PyTorch's CyclicLR and of the Keras callback. A schedule
    can be pickled if its function can, which must then be defined with ``def`` in a module. A step at which the
    function returns NaN, infinity or less than 0 raises ValueError.

    Args:
        scale: function of one number.
        by: ``"cycle"`` to call scale(cycle) with the number of the cycle, counted from 1; ``"iteration"`` to call
            scale(t) with the step, also after ``in_epochs(n)``.
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

    def _stretched(self, factor: int) -> Schedule:  # scale takes steps or numbers of cycles in either case
        return replace(self, half_cycle=self.half_cycle * factor)
